"""The small commands in docs/figures/: curves of trainings, gains by strength of the blur."""

import json
import pathlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from commands import python

FIGURES = pathlib.Path(__file__).parents[1] / "docs/figures"


@pytest.fixture
def run(tmp_path):
    """run("curves.py", "folder", …) in an empty folder."""

    def start(script, *arguments):
        return python(FIGURES / script, *arguments, cwd=tmp_path)

    return start


def write_run(folder, batch_size, *sittings):
    """A training's folder; a sitting is [(step, PSNR or None where none was validated), …]."""
    for number, steps in enumerate(sittings):
        writer = tf.summary.create_file_writer(str(folder / "logs"), filename_suffix=f".{number}")
        with writer.as_default():
            for step, psnr in steps:
                tf.summary.write("content", tf.constant(0.5), step)
                tf.summary.write("sizes", tf.constant([1.0, 2.0]), step)
                tf.summary.write("words", tf.constant("psnr" * 99), step)
                if psnr:
                    tf.summary.write("psnr", tf.constant(psnr), step)
                    tf.summary.write("blurred_psnr", tf.constant(24.5), step)
        writer.close()
    (folder / "flags.flags").write_text(f"--steps=9\n--batch_size={batch_size}\n--seed=0\n")


def test_curves_are_of_patches_seen_from_what_tensorflow_wrote(run, tmp_path):
    # killed after step 300, gone on with from 200: the later sitting tells what the run is
    write_run(
        tmp_path / "runs/long",
        16,
        [(1, None), (200, 25.0), (300, 20.0)],
        [(300, 26.25), (70000, 25.5)],
    )
    write_run(tmp_path / "runs/short", 4, [(0, 24.5), (150, 25.25)])
    done = run("curves.py", "runs/long", "runs/short", "--output=plots/both.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "runs/long: 25.500 dB after 1,120,000 patches, best 26.250 after 4,800 (blurred 24.500)",
        "runs/short: 25.250 dB after 600 patches, best 25.250 after 600 (blurred 24.500)",
        "plots/both.png",
    ]
    assert cv2.imread(str(tmp_path / "plots/both.png")).shape == (480, 840, 3)


def test_the_plot_shows_each_validation_once_and_each_input(monkeypatch):
    monkeypatch.syspath_prepend(FIGURES)
    import curves

    points = {"a": [(4, 25.0, 24.5), (8, 26.0, 24.5)], "b": [(6, 25.5, 24.5)], "c": [(9, 30, 29)]}
    (axes,) = curves.draw(points).axes
    lines = [line.get_xydata() for line in axes.lines]
    np.testing.assert_array_equal(lines[0], [(4, 25), (8, 26)])
    np.testing.assert_array_equal(lines[1], [(6, 25.5)])
    assert sorted(line[0, 1] for line in lines[3:]) == [24.5, 29]


def test_curves_of_what_is_no_training_are_one_line(run, tmp_path):
    write_run(tmp_path / "unvalidated", 4, [(1, None)])
    write_run(tmp_path / "good", 4, [(1, 25.0)])
    write_run(tmp_path / "damaged", 4, [(1, 25.0)])
    (file,) = (tmp_path / "damaged/logs").iterdir()
    file.write_bytes(file.read_bytes()[:12] + b"\xff" * (len(file.read_bytes()) - 12))
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        ([], "no trainings"),
        (["nowhere"], "nowhere: no such folder"),
        (["empty"], "empty/flags.flags: no --batch_size in it"),
        (["good", "unvalidated"], "unvalidated: no validation in its logs"),
        (["damaged"], f"{file.relative_to(tmp_path)}: damaged"),
        (["good", "--output=curves.xyz"], "curves.xyz: cannot be written"),
    ]:
        done = run("curves.py", *arguments)
        assert done.returncode == 1 and message in done.stderr, done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    # a kill cuts the last record short; what is before it counts
    (file,) = (tmp_path / "good/logs").iterdir()
    with file.open("ab") as log:
        log.write(file.read_bytes()[:20])
    assert run("curves.py", "good").returncode == 0


def write_scores(path, *pictures):
    """A result.json: of each picture {method: PSNR}, or a problem."""
    frames = [
        {"scores": {"none": {method: {"psnr": psnr} for method, psnr in picture.items()}}}
        if isinstance(picture, dict)
        else {"problem": picture}
        for picture in pictures
    ]
    path.write_text(json.dumps({"frames": frames}))


def test_gains_are_binned_by_the_blurred_pictures_psnr(run, tmp_path):
    write_scores(tmp_path / "a.json", {"blurred": 21.5, "x": 23.5, "y": 21}, "a bad picture")
    more = [{"blurred": before, "x": after} for before, after in [(20, 21), (22, 21.5), (40, 40)]]
    write_scores(tmp_path / "b.json", *more, {"blurred": "Infinity", "x": 50})
    done = run("by_strength.py", "a.json", "b.json")
    assert (done.returncode, done.stderr) == (0, "")
    head = "PSNR of the blurred | pictures | gain, mean | made worse | least gain |"
    assert done.stdout.splitlines() == [
        f"| x, {head}",
        "|---|---:|---:|---:|---:|",
        "| below 22 dB | 2 | +1.50 ± 0.50 dB | 0 | +1.00 dB |",
        "| 22 to 26 | 1 | -0.50 ± 0.00 dB | 1 | -0.50 dB |",
        "| from 34 | 1 | +0.00 ± 0.00 dB | 0 | +0.00 dB |",
        "| all | 4 | +0.62 ± 0.96 dB | 1 | -0.50 dB |",
        "",
        f"| y, {head}",
        "|---|---:|---:|---:|---:|",
        "| below 22 dB | 1 | -0.50 ± 0.00 dB | 1 | -0.50 dB |",
        "| all | 1 | -0.50 ± 0.00 dB | 1 | -0.50 dB |",
    ]


def test_what_holds_no_scores_is_one_line(run, tmp_path):
    (tmp_path / "words.json").write_text("words")
    (tmp_path / "kohler.json").write_text('{"frames": [{"scores": {"kohler": {}}}]}')
    for arguments, message in [
        ([], "no scores"),
        (["nowhere.json"], "nowhere.json: cannot be read"),
        (["words.json"], "words.json: holds no PSNR of pictures as they lie"),
        (["kohler.json"], "kohler.json: holds no PSNR of pictures as they lie"),
    ]:
        done = run("by_strength.py", *arguments)
        assert done.returncode == 1 and message in done.stderr, done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
