"""The command that restores photographs, run as a user runs it."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import Command, python

import tf_deblur
from tf_deblur.pictures import photographs


def test_photographs_are_restored_beside_themselves_and_bad_files_named(
    run, small_workdir, picture, tmp_path
):
    restore = tf_deblur.load(small_workdir)
    photos = {"a photo.png": picture(45, 77), "größe.png": picture(40, 40).astype(np.uint16) * 257}
    for name, photo in photos.items():
        photographs.write(tmp_path / name, photo)
    photographs.write(tmp_path / "lossy.jpg", photos["a photo.png"])
    photographs.write(tmp_path / "-dash.png", picture(1, 1))
    photographs.write(tmp_path / "wide.png", picture(1, 2000))
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes((tmp_path / "a photo.png").read_bytes()[:900])
    good = [*photos, "lossy.jpg", "-dash.png", "wide.png"]
    bad = ["text.jpg", "empty.png", "cut.png", "missing.png"]
    flags = ["--model", small_workdir, "--nocheck", "--"]
    done = run("deblur", *flags, *good[:2], *bad, *good[2:])

    assert done.returncode == 1
    errors = done.stderr.splitlines()
    assert [line.split(":")[1].strip() for line in errors] == bad
    assert all("not a whole picture" in line for line in errors[:3])
    assert errors[3] == "error: missing.png: no such file"
    first, _, *lines, last = done.stdout.splitlines()
    assert str(small_workdir) in first and restore.device in first
    assert last.startswith("5 of 9 restored, in ")
    for line, name in zip(lines, good, strict=True):
        assert line.startswith(f"{name} -> {name.replace('.', '_restored.')} (")
    for name, photo in photos.items():
        result = photographs.read(tmp_path / name.replace(".", "_restored."))
        assert result.dtype == photo.dtype
        np.testing.assert_array_equal(result, restore(photo))
        np.testing.assert_array_equal(photographs.read(tmp_path / name), photo)
    assert photographs.read(tmp_path / "lossy_restored.jpg").shape == (45, 77, 3)
    assert photographs.read(tmp_path / "wide_restored.png").shape == (1, 2000, 3)
    assert len(list(tmp_path.iterdir())) == 8 + len(good)


def test_a_list_names_files_results_keep_times_and_a_report_tells_all(
    run, small_workdir, picture, tmp_path
):
    for name in ("größe.png", "done.png", "done_restored.png"):
        photographs.write(tmp_path / name, picture(24, 40))
    taken = 1_500_000_000_123_456_789  # nanoseconds
    os.utime(tmp_path / "größe.png", ns=(taken, taken))
    (tmp_path / "list.txt").write_text("größe.png\nmissing.png\r\ndone.png\n")
    flags = ["--files_from=list.txt", "--keep_time", "--report=report.jsonl", "--skip_existing"]
    done = run("deblur", "--model", small_workdir, "--nocheck", *flags)
    assert (done.returncode, done.stderr) == (1, "error: missing.png: no such file\n")
    assert (tmp_path / "größe_restored.png").stat().st_mtime_ns == taken
    assert (tmp_path / "done_restored.png").stat().st_mtime_ns != taken
    records = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    good, missing, there = records
    assert isinstance(good.pop("seconds"), float)
    empty = {"seconds": None, "share_kept": None, "error": None}
    assert good == {
        **{"source": "größe.png", "target": "größe_restored.png", "status": "restored"},
        **{"share_kept": 0.0, "error": None},
    }
    assert missing == {
        **{"source": "missing.png", "target": "missing_restored.png", "status": "failed"},
        **empty,
        "error": "missing.png: no such file",
    }
    assert there == {
        **{"source": "done.png", "target": "done_restored.png", "status": "skipped"},
        **empty,
    }


@pytest.mark.parametrize("flag", ["--report=done.png", "--report=no/such/report.jsonl"])
def test_a_report_replaces_no_photograph_and_its_folder_must_be_there(
    flag, run, small_workdir, picture, tmp_path
):
    photographs.write(tmp_path / "done.png", picture(24, 24))
    before = (tmp_path / "done.png").read_bytes()
    done = run("deblur", "--model", small_workdir, flag, "done.png")
    assert done.returncode == 1 and re.fullmatch("error: .*report=?.*\n", done.stderr)
    assert (tmp_path / "done.png").read_bytes() == before


def test_a_name_that_is_not_utf8_is_one_line_and_the_others_go_on(run, picture, tmp_path):
    photographs.write(tmp_path / "good.png", picture(24, 24))
    data = (tmp_path / "good.png").read_bytes()
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(data)
    (tmp_path / "list").write_bytes(b"caf\xe9.png\0good.png\0")
    done = run("deblur", "--files_from=list", "--report=report.jsonl", "--quiet")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "its name is not UTF-8; rename it" in done.stderr
    lines = (tmp_path / "report.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["failed", "restored"]


def test_folders_patterns_and_links_that_lead_back(run, small_workdir, picture, tmp_path):
    names = ["holiday/b.png", "holiday/a.png", "holiday/deep/c.webp", "holiday/a_restored.png"]
    for name in [*names, "one.png", "two.png"]:
        photographs.write(tmp_path / name, picture(24, 24))
    (tmp_path / "holiday/notes.txt").write_text("no picture")
    (tmp_path / "holiday/deep/back").symlink_to("..")
    model = f"--model={small_workdir}"
    (tmp_path / "nothing here").mkdir()
    done = run("deblur", model, "--output=flat", "nothing here", "holiday", "*.png", "*.gif")
    assert done.returncode == 1 and done.stderr.splitlines() == [
        "error: nothing here: no pictures in it (folders in it: --recursive)",
        "error: *.gif: no file is named so",
    ]
    made = {str(p.relative_to(tmp_path / "flat")) for p in (tmp_path / "flat").rglob("*.*")}
    assert made == {f"{name}_restored.png" for name in ("a", "b", "one", "two")}
    done = run("deblur", model, "--output=deep", "--recursive", "--format=jpg", "holiday")
    assert done.returncode == 0, done.stderr
    made = {str(p.relative_to(tmp_path / "deep")) for p in (tmp_path / "deep").rglob("*.*")}
    assert made == {"a_restored.jpg", "b_restored.jpg", "deep/c_restored.jpg"}


def test_no_photograph_of_the_run_is_overwritten_unless_asked(
    run, small_workdir, picture, tmp_path
):
    model = f"--model={small_workdir}"
    for name in ("photo.png", "photo_restored.png", "other/photo.png"):
        photographs.write(tmp_path / name, picture(24, 24))
    done = run("deblur", model, "photo.png", "photo_restored.png")
    assert done.returncode == 1 and "photo.png: its result would replace" in done.stderr
    np.testing.assert_array_equal(
        photographs.read(tmp_path / "photo_restored.png"), picture(24, 24)
    )
    assert (tmp_path / "photo_restored_restored.png").exists()

    done = run("deblur", model, "--output=out", "photo.png", "./photo.png", "other/photo.png")
    assert done.returncode == 0 and "2 of 2 restored" in done.stdout
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {f"{tmp_path.name}_photo_restored.png", "other_photo_restored.png"}

    for name in ("a.png", "a.webp", "b_compare.png", "b.png"):
        photographs.write(tmp_path / "two" / name, picture(24, 24))
    done = run("deblur", model, "--overwrite", "--format=webp", "two/a.png", "two/a.webp")
    assert done.returncode == 0 and "2 of 2 restored" in done.stdout
    np.testing.assert_array_equal(photographs.read(tmp_path / "two/a.png"), picture(24, 24))
    assert (tmp_path / "two/a_restored.webp").exists()
    done = run("deblur", model, "--compare", "two/b.png", "two/b_compare.png")
    assert done.returncode == 1 and "two/b.png: its result would replace" in done.stderr

    done = run("deblur", model, "--nocheck", "--overwrite", "other/photo.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["photo.png"]
    assert not np.array_equal(photographs.read(tmp_path / "other/photo.png"), picture(24, 24))


def test_what_is_restored_already_is_replaced_or_skipped(run, exported, picture, tmp_path):
    photographs.write(tmp_path / "photo.png", picture(24, 24))
    photographs.write(tmp_path / "photo_restored.png", picture(8, 8))
    arguments = ["--model", exported / "compact-tflite/compact-float32.tflite", "photo.png"]
    done = run("deblur", "--skip_existing", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert photographs.read(tmp_path / "photo_restored.png").shape == (8, 8, 3)
    done = run("deblur", "--quiet", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert photographs.read(tmp_path / "photo_restored.png").shape == (24, 24, 3)


def test_strength_blends_and_compare_shows_both(run, small_workdir, picture, tmp_path):
    photo = picture(24, 40)
    photographs.write(tmp_path / "photo.png", photo)
    flags = ["--model", small_workdir, "--nocheck", "--precision=float32"]
    done = run("deblur", *flags, "--strength=0.5", "--compare", "photo.png")
    assert (done.returncode, done.stderr) == (0, "")
    full = tf_deblur.load(small_workdir, precision="float32")(photo)
    half = photographs.read(tmp_path / "photo_restored.png")
    np.testing.assert_allclose(half, (photo / 2 + full / 2), atol=0.51)
    beside = photographs.read(tmp_path / "photo_compare.png")
    np.testing.assert_array_equal(beside[-24:], np.hstack([photo, half]))
    words = beside[:-24].max(-1)  # above each half
    assert words.shape == (20, 80) and min(words[:, :40].max(), words[:, 40:].max()) > 200
    assert (words[:, :40] != words[:, 40:]).any()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
def test_what_was_overwritten_is_restored_again_only_when_asked(
    run, small_workdir, picture, tmp_path, suffix
):
    path, kept = tmp_path / f"photo{suffix}", tmp_path / f"photo_unrestored{suffix}"
    photographs.write(path, picture(24, 40))
    original = path.read_bytes()
    line = ["deblur", "--model", small_workdir, "--nocheck", "--overwrite", "--backup", "."]
    done = run(*line)
    assert (done.returncode, done.stderr) == (0, "")
    assert kept.read_bytes() == original != (restored := path.read_bytes())
    done = run(*line)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"photo{suffix}: restored already; --again restores it once more" in done.stdout
    assert "0 of 2 restored, 2 skipped" in done.stdout and path.read_bytes() == restored
    done = run(*line, "--again")
    assert (done.returncode, done.stderr) == (0, "") and path.read_bytes() != restored
    assert kept.read_bytes() == original
    assert "--overwrite, which is not said" in run("deblur", "--backup", path).stderr


@pytest.mark.parametrize("quiet", [False, True])
def test_a_gpu_that_runs_out_is_told_unless_quiet(exported, picture, tmp_path, quiet):
    photographs.write(tmp_path / "photo.png", picture(400, 600))
    script = """
import tensorflow as tf
from tf_deblur import deblur
from tf_deblur.restoring import saved_model_backend
run, times = saved_model_backend.SavedModelEngine.run, []
def run_out(self, batch):
    times.append(batch)
    if len(times) == 1:
        raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
    return run(self, batch)
saved_model_backend.SavedModelEngine.run = run_out
deblur.cli()
"""
    arguments = [f"--model={exported / 'compact'}", *["--quiet"] * quiet, "photo.png"]
    done = python("-c", script, *arguments, cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "photo_restored.png").exists(), done.stderr
    assert ("out of memory; from here on" in done.stdout) == (not quiet)
    assert "out of memory" not in done.stderr and bool(done.stdout) == (not quiet)


def test_standard_input_becomes_standard_output(small_workdir, picture, tmp_path):
    data = photographs.encode(".webp", picture(24, 40))
    line = ["-m", "tf_deblur.deblur", "--model", small_workdir, "-"]
    done = python(*line, stdin=data, cwd=tmp_path, text=False)
    assert done.returncode == 0
    photograph = photographs.open_photograph(done.stdout, "output")
    assert photograph.pixels.shape == (24, 40, 3) and photograph.suffix == ".webp"
    assert b"restoring with" in done.stderr and b"error" not in done.stderr


def test_a_result_that_cannot_be_right_is_not_kept(run, small_workdir, picture, tmp_path):
    photo = np.full((128, 128, 3), 40, np.uint8)
    photographs.write(tmp_path / "dark.png", photo)
    result = tf_deblur.load(small_workdir)(photo)  # random weights
    assert np.abs(result.astype(int) - photo).mean() > 20
    done = run("deblur", "--model", small_workdir, "dark.png")
    assert done.returncode == 0 and "100.0% kept as it was" in done.stdout
    np.testing.assert_array_equal(photographs.read(tmp_path / "dark_restored.png"), photo)


def test_a_wrong_command_line_is_one_line(run, tmp_path):
    (tmp_path / "nothing here").mkdir()
    for arguments, status, message in [
        ([], 1, "no photograph named"),
        (["--model=nothing", "photo.png"], 1, "nothing: no such model"),
        (["--overwrite", "--skip_existing", "photo.png"], 1, "has its result already"),
        (["--overwrite", "--output=out", "photo.png"], 1, "--overwrite and --output"),
        (["-", "photo.png"], 1, "goes alone"),
        (["", "--overwrite"], 1, "is empty"),
        (["photo.png", "--output="], 2, "--output=: is empty"),
        (["--beam_runner=DirectRunner", "--threads=2", "--compare"], 1, "--compare, --threads"),
        (["--strength=2", "photo.png"], 2, "strength"),
    ]:
        done = run("deblur", *arguments)
        assert done.returncode == status and message in done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_a_second_run_that_skips_is_silent_about_its_results(run, small_workdir, picture, tmp_path):
    for name in ("a.png", "b.png", "own_compare.png"):
        photographs.write(tmp_path / name, picture(24, 24))
    model = f"--model={small_workdir}"
    for arguments in (["--compare", "*.png"], ["--skip_existing", "*.png"], ["--compare", "."]):
        done = run("deblur", model, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        results = {f"{stem}{end}.png" for stem in ("a", "b") for end in ("_restored", "_compare")}
        own = {f"own_compare{end}.png" for end in ("", "_restored", "_compare")}
        made = {path.name for path in tmp_path.iterdir()}
        assert made == {"a.png", "b.png", *results, *own}
    assert "3 of 9 restored, 6 skipped" in done.stdout


def test_two_formats_of_one_name_have_a_result_each_named_or_not(
    run, small_workdir, picture, tmp_path
):
    for name in ("a.jpg", "a.png", "a.gif"):
        photographs.write(tmp_path / "made.png", picture(24, 24))
        (tmp_path / name).write_bytes((tmp_path / "made.png").read_bytes())
    (tmp_path / "made.png").unlink()
    flags = [f"--model={small_workdir}", "--format=jpg", "--skip_existing"]
    for names in (["a.png"], ["a.gif"], ["a.jpg", "a.png", "a.gif"], ["."]):
        done = run("deblur", *flags, *names)
        assert (done.returncode, done.stderr) == (0, "")
    made = {path.name for path in tmp_path.glob("*_restored.*")}
    assert made == {"a_restored.jpg", "a_png_restored.jpg", "a_gif_restored.jpg"}
    assert "0 of 6 restored, 6 skipped" in done.stdout


def test_an_original_that_is_replaced_keeps_mode_links_and_other_names(
    run, small_workdir, picture, tmp_path
):
    flags = [f"--model={small_workdir}", "--nocheck", "--overwrite"]
    photographs.write(tmp_path / "far/photo.png", picture(24, 24))
    (tmp_path / "far/photo.png").chmod(0o600)
    (tmp_path / "link.png").symlink_to("far/photo.png")
    os.link(tmp_path / "far/photo.png", tmp_path / "hard.png")
    done = run("deblur", *flags, "link.png")
    assert (done.returncode, done.stderr) == (0, "") and "1 other hard link to it" in done.stdout
    assert (tmp_path / "link.png").is_symlink()
    assert (tmp_path / "far/photo.png").stat().st_mode & 0o777 == 0o600
    assert not np.array_equal(photographs.read(tmp_path / "link.png"), picture(24, 24))
    np.testing.assert_array_equal(photographs.read(tmp_path / "hard.png"), picture(24, 24))


def test_a_name_too_long_for_its_ending_is_cut_and_told_apart(
    run, small_workdir, picture, tmp_path
):
    names = [f"{'ä' * 125}{letter}.png" for letter in "ab"]  # 255 bytes
    for name in names:
        photographs.write(tmp_path / name, picture(24, 24))
    for named in (names, ["."]):
        done = run("deblur", f"--model={small_workdir}", "--skip_existing", *named)
        assert (done.returncode, done.stderr) == (0, "")
        assert len(list(tmp_path.glob("ä*_restored.png"))) == 2
        assert len(list(tmp_path.iterdir())) == 4


def test_a_reader_that_leaves_early_does_not_stop_the_work(small_workdir, picture, tmp_path):
    for number in range(3):
        photographs.write(tmp_path / f"{number}.png", picture(24, 24))
    line = [sys.executable, "-m", "tf_deblur.deblur", "--model", small_workdir, "."]
    process = subprocess.Popen(
        line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait(60) == 0
    assert len(list(tmp_path.glob("*_restored.png"))) == 3


def begin(folder, *arguments):
    return Command("-m", "tf_deblur.deblur", *arguments, cwd=folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_ends_and_leaves_nothing_half_written(
    small_workdir, picture, tmp_path, number
):
    photographs.write(tmp_path / "in/0.png", picture(20, 20))
    photographs.write(tmp_path / "in/1.png", np.zeros((4000, 4000, 3), np.uint8))  # one long tile
    process = begin(tmp_path, "--model", small_workdir, "--output=out", "in")
    process.wait_for_line("in/0.png ->")
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert process.said()[1] == "error: interrupted\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0_restored.png"]


def test_killed_at_any_moment_no_final_name_is_half_written(small_workdir, picture, tmp_path):
    for number in range(30):
        photographs.write(tmp_path / f"in/{number:02d}.png", picture(120, 160))
    arguments = ["--model", small_workdir, "--output=out", "--skip_existing", "in"]
    rng = np.random.default_rng(0)
    for _ in range(4):
        process = begin(tmp_path, *arguments)
        process.wait_for_line("restoring with")
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.wait()
        for path in (tmp_path / "out").glob("[!.]*") if (tmp_path / "out").exists() else ():
            assert photographs.read(path).shape == (120, 160, 3)
    process = begin(tmp_path, *arguments)
    assert process.wait(300) == 0
    assert len([*(tmp_path / "out").glob("[!.]*")]) == 30
