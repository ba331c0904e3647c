import os

import numpy as np

from tf_deblur.blurring import motion
from tf_deblur.pictures import arrays, photographs


def test_photographs_are_blurred_beside_themselves_and_bad_files_named(run, picture, tmp_path):
    photos = {"a photo.png": picture(72, 96), "deep.tif": picture(64, 64).astype(np.uint16) * 257}
    for name, photo in photos.items():
        photographs.write(tmp_path / name, photo)
    (tmp_path / "text.jpg").write_text("not a picture")
    done = run("blur", *photos, "text.jpg", "missing.png", "--extent=6")

    assert done.returncode == 1
    unreadable, missing = done.stderr.splitlines()
    assert unreadable.startswith("error: text.jpg: not a whole picture that we can read; use PNG")
    assert missing == "error: missing.png: no such file"
    *lines, last = done.stdout.splitlines()
    assert last == "2 of 4 blurred"
    for line, (name, photo) in zip(lines, photos.items(), strict=True):
        stem, (height, width) = name[:-4], photo.shape[:2]
        assert line.startswith(f"{name} -> {stem}_blurred.png ({width}x{height}, ")
        blurred = photographs.read(tmp_path / f"{stem}_blurred.png")
        assert blurred.dtype == photo.dtype and blurred.shape == photo.shape
        error = np.abs(arrays.to_float(blurred) - arrays.to_float(photo)).mean()
        assert 0.02 < error < 0.3
        np.testing.assert_array_equal(photographs.read(tmp_path / name), photo)
    assert len(list(tmp_path.iterdir())) == 5


def test_the_seed_and_the_name_decide_the_blur(run, picture, tmp_path):
    for name in ("one", "two"):
        photographs.write(tmp_path / f"{name}.png", picture(48, 64))
    for arguments in (["--output=first"], ["--output=again"], ["--output=other", "--seed=1"]):
        done = run("blur", "one.png", "two.png", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
    blurred = {
        path.relative_to(tmp_path).as_posix(): photographs.read(path)
        for path in tmp_path.glob("*/*_blurred.png")
    }
    same = np.array_equal(blurred["first/one_blurred.png"], blurred["again/one_blurred.png"])
    assert same and len(blurred) == 6
    for name in ("other/one_blurred.png", "first/two_blurred.png"):
        assert (blurred[name] != blurred["first/one_blurred.png"]).any()


def test_a_written_motion_can_be_played_back_and_drawn(run, picture, tmp_path):
    photographs.write(tmp_path / "photo.png", picture(90, 120))
    done = run("blur", "photo.png", "--write_gyro", "--kernel", "--extent=9", "--moving")
    assert (done.returncode, done.stderr) == (0, "")
    kernels = photographs.read(tmp_path / "photo_kernel.png")
    assert (kernels == kernels[..., :1]).all() and kernels.max() == 255
    assert kernels.shape[1] == 2 * kernels.shape[0]  # of the camera, and of the moving region
    assert len(np.loadtxt(tmp_path / "photo_gyro.txt")) == motion.FINE

    done = run("blur", "photo.png", "--gyro=photo_gyro.txt", "--output=back", "--kernel")
    assert (done.returncode, done.stderr) == (0, "")
    kernels = photographs.read(tmp_path / "back/photo_kernel.png")
    assert kernels.shape[1] == kernels.shape[0] > 0
    assert (photographs.read(tmp_path / "back/photo_blurred.png") != picture(90, 120)).mean() > 0.5


def test_light_or_encoded_values_are_averaged_and_noise_is_added(run, tmp_path):
    halves = np.zeros((60, 60, 3), np.uint8)
    halves[:, 30:] = 255
    photographs.write(tmp_path / "halves.png", halves)
    mean = {}
    for name, arguments in {
        "light": ["--noise=0"],
        "encoded": ["--noise=0", "--nolinear"],
        "noisy": ["--nolinear", "--noise=0.1"],
    }.items():
        done = run("blur", "halves.png", f"--output={name}", "--extent=30", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        mean[name] = photographs.read(tmp_path / name / "halves_blurred.png").astype(float)
    assert mean["light"].mean() > mean["encoded"].mean() + 5
    assert 0.04 < np.std(mean["noisy"] - mean["encoded"]) / 255 < 0.1  # clipped at both ends


def test_no_file_of_the_run_is_overwritten(run, picture, tmp_path):
    for name in ("photo.png", "photo.jpg", "other.png", "other_blurred.png"):
        photographs.write(tmp_path / name, picture(24, 24))
    done = run("blur", "photo.png", "photo.jpg", "other.png", "other_blurred.png")
    assert done.returncode == 1 and done.stdout.endswith("3 of 4 blurred\n")
    taken = "its result would replace another file named here; give it another --output"
    assert done.stderr == f"error: other.png: {taken}\n"
    for name in ("photo_blurred.png", "photo_jpg_blurred.png"):
        assert f"-> {name} (" in done.stdout and (tmp_path / name).exists()
    np.testing.assert_array_equal(photographs.read(tmp_path / "other_blurred.png"), picture(24, 24))

    assert run("blur", "photo.png", "--write_gyro").returncode == 0
    recorded = (tmp_path / "photo_gyro.txt").read_text()
    assert run("blur", "photo.png", "--gyro=photo_gyro.txt").returncode == 0
    done = run("blur", "photo.png", "--gyro=photo_gyro.txt", "--write_gyro")
    assert done.returncode == 1 and "photo.png: its result would replace" in done.stderr
    assert (tmp_path / "photo_gyro.txt").read_text() == recorded


def test_a_folder_means_its_photographs_and_a_name_that_is_not_utf8_is_one_line(
    run, picture, tmp_path
):
    for name in ("a.png", "a_blurred.png", "b_restored.png"):
        photographs.write(tmp_path / "in" / name, picture(24, 24))
    data = (tmp_path / "in/a.png").read_bytes()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.png")).write_bytes(data)
    done = run("blur", "in", "--output=out")
    assert done.returncode == 1 and "2 of 4 blurred, 1 skipped\n" in done.stdout
    assert done.stderr.count("\n") == 1 and "its name is not UTF-8; rename it" in done.stderr
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == ["a_blurred.png", "b_restored_blurred.png"]
    done = run("blur", "out")
    assert (done.returncode, done.stdout) == (0, "0 of 2 blurred, 2 skipped\n")


def test_a_wrong_command_line_is_one_line(run, picture, tmp_path):
    photographs.write(tmp_path / "photo.png", picture(24, 24))
    (tmp_path / "gyro.txt").write_text("1 2 3 4 5 6 7\n1 2 3\n")
    for arguments, status, message in [
        ([], 1, "no photograph named"),
        ([""], 1, "is empty"),
        (["photo.png", "--gyro=gyro.txt"], 1, "gyro.txt: line 2: must be 7 numbers: ax ay az"),
        (["photo.png", "--gyro=none.txt"], 1, "none.txt: cannot be read"),
        (["photo.png", "--extent=-1"], 2, "extent"),
    ]:
        done = run("blur", *arguments)
        assert done.returncode == status and message in done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert done.stdout == ""
