"""What people copy from examples/ does what the command does."""

import pathlib
import subprocess
import sys

import numpy as np

from tf_deblur.pictures import photographs

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"


def test_restore_gives_the_commands_picture(picture, tmp_path):
    photographs.write(tmp_path / "photo.png", picture(40, 56))
    line = [sys.executable, EXAMPLES / "restore.py", "photo.png", "restored.png"]
    subprocess.run(line, cwd=tmp_path, check=True, timeout=60)
    line = [sys.executable, "-m", "tf_deblur.deblur", "--nocheck", "photo.png"]
    subprocess.run(line, cwd=tmp_path, check=True, timeout=60)
    restored, expected = map(photographs.read, sorted(tmp_path.glob("*restored.png")))
    np.testing.assert_array_equal(restored, expected)
