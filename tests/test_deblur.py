import numpy as np

import tf_deblur
from tf_deblur import images


def test_photographs_are_restored_beside_themselves_and_bad_files_named(
    run, small_workdir, picture, tmp_path
):
    restore = tf_deblur.load(small_workdir)
    photos = {"a photo.png": picture(45, 77), "deep.png": picture(40, 40).astype(np.uint16) * 257}
    for name, photo in photos.items():
        images.write(tmp_path / name, photo)
    images.write(tmp_path / "lossy.jpg", photos["a photo.png"])
    (tmp_path / "text.jpg").write_text("not a picture")
    done = run("deblur", "--model", small_workdir, *photos, "text.jpg", "lossy.jpg", "missing.png")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: text.jpg: not a whole picture that we can read; use PNG or JPEG",
        "error: missing.png: no such file",
    ]
    first, *lines, last = done.stdout.splitlines()
    assert str(small_workdir) in first and restore.device in first and last == "3 of 5 restored"
    for line, name in zip(lines, [*photos, "lossy.jpg"], strict=True):
        assert line.startswith(f"{name} -> {name.replace('.', '_restored.')} (")
    for name, photo in photos.items():
        result = images.read(tmp_path / name.replace(".", "_restored."))
        assert result.dtype == photo.dtype
        np.testing.assert_array_equal(result, restore(photo))
        np.testing.assert_array_equal(images.read(tmp_path / name), photo)
    assert images.read(tmp_path / "lossy_restored.jpg").shape == (45, 77, 3)
    assert len(list(tmp_path.iterdir())) == 7


def test_no_photograph_of_the_run_is_overwritten(run, exported, picture, tmp_path):
    model = f"--model={exported / 'compact'}"
    for name in ("photo.png", "photo_restored.png", "other/photo.png"):
        images.write(tmp_path / name, picture(24, 24))
    done = run("deblur", model, "photo.png", "photo_restored.png")
    assert done.returncode == 1 and "photo.png: its result would replace" in done.stderr
    np.testing.assert_array_equal(images.read(tmp_path / "photo_restored.png"), picture(24, 24))
    assert (tmp_path / "photo_restored_restored.png").exists()

    done = run("deblur", model, "--output=out", "photo.png", "./photo.png", "other/photo.png")
    assert done.returncode == 1 and done.stdout.endswith("1 of 2 restored\n")
    assert done.stderr.startswith("error: other/photo.png: its result would replace")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_restored.png"]


def test_an_earlier_result_is_replaced_without_a_word_on_standard_error(
    run, exported, picture, tmp_path
):
    images.write(tmp_path / "photo.png", picture(24, 24))
    images.write(tmp_path / "photo_restored.png", picture(8, 8))
    done = run("deblur", "--model", exported / "compact.tflite", "photo.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert images.read(tmp_path / "photo_restored.png").shape == (24, 24, 3)


def test_a_wrong_command_line_is_one_line(run):
    for arguments, status, message in [
        ([], 1, "no photograph named"),
        (["--model=nothing", "photo.png"], 1, "nothing: no such model"),
        (["--precision=float8", "photo.png"], 2, "float8"),
    ]:
        done = run("deblur", *arguments)
        assert done.returncode == status and message in done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert done.stdout == ""
