"""A collection by Apache Beam's local runner is what the command makes of each file."""

import numpy as np
import pytest

import tf_deblur
from tf_deblur.pictures import photographs

pytest.importorskip("apache_beam", reason="needs the extra [beam]")


@pytest.mark.parametrize("mode", ["in_memory", "multi_processing"])
def test_a_collection_by_beam_is_restored_as_one_by_one(run, exported, picture, tmp_path, mode):
    photos = {f"{n}.png": picture(40 + n, 56, seed=n) for n in range(3)}
    for name, photo in photos.items():
        photographs.write(tmp_path / "in" / name, photo)
    (tmp_path / "in/text.png").write_text("not a picture")
    options = f"--beam_options=--direct_running_mode={mode},--direct_num_workers=2"
    model = exported / "compact"
    flags = [f"--model={model}", "--beam_runner=DirectRunner", options, "--output=out"]
    done = run("deblur", *flags, f"{tmp_path}/in/*.png")
    assert done.returncode == 1 and "3 restored, 1 failed" in done.stdout, done.stderr
    assert "text.png: not a whole picture" in done.stderr
    made = {path.name: photographs.read(path) for path in (tmp_path / "out").iterdir()}
    restore = tf_deblur.load(model)
    assert made.keys() == {name.replace(".", "_restored.") for name in photos}
    for name, photo in photos.items():
        from tf_deblur.restoring import pipeline

        expected, _ = pipeline.restore_checked(restore, photo)
        np.testing.assert_array_equal(made[name.replace(".", "_restored.")], expected)


def test_equal_names_of_different_folders_have_a_result_each(run, exported, picture, tmp_path):
    for name in ("2023/a.png", "2024/a.png", "2024/a.webp", "2024/b.png"):
        photographs.write(tmp_path / name, picture(24, 24))
    flags = [f"--model={exported / 'compact'}", "--beam_runner=DirectRunner", "--output=out"]
    done = run("deblur", *flags, f"{tmp_path}/202?/*", f"{tmp_path}/none*")
    assert done.returncode == 1 and "4 restored, 1 failed" in done.stdout, done.stderr
    assert "none*: no file is named so" in done.stderr
    made = {path.name for path in (tmp_path / "out").iterdir()}
    names = ("2023_a_restored.png", "2024_a_restored.png", "a_restored.webp", "b_restored.png")
    assert made == set(names)
