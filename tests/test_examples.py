"""What people copy from examples/ does what the command does."""

import pathlib
import re
import shutil

import numpy as np
from commands import python

from tf_deblur.pictures import photographs

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def test_restore_gives_the_commands_picture(run, picture, tmp_path):
    photographs.write(tmp_path / "photo.png", picture(40, 56))
    done = python(EXAMPLES / "restore.py", "photo.png", "restored.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert run("deblur", "--nocheck", "photo.png").returncode == 0
    restored, expected = map(photographs.read, sorted(tmp_path.glob("*restored.png")))
    np.testing.assert_array_equal(restored, expected)


def test_the_page_for_python_runs_from_top_to_bottom(tmp_path):
    page = (EXAMPLES.parent / "docs/python.md").read_text()
    shutil.copy(EXAMPLES / "photographs/otters.jpg", tmp_path / "photo.jpg")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    done = python("-c", code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    names = ["restored.png", "by_pillow.png", "by_opencv.png"]
    first, *others = [photographs.read(tmp_path / name) for name in names]
    for other in others:
        np.testing.assert_array_equal(other, first)
