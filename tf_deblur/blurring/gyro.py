"""Recordings of a shaking camera, as Lai et al. 2016 made them with a phone: gyro.txt.

A line is one sample, `ax ay az wx wy wz t`: acceleration in g, angular velocity in rad/s,
time in s; x points down the picture, y right. In a folder of its own an info.txt beside it,
`t0 exposure t1 t2`, says when the picture was taken: t1, after `exposure` seconds.
"""

import math
import pathlib

import numpy as np

from tf_deblur.errors import UserError, explain_unwritable
from tf_deblur.files import whole

NAME, INFO = "gyro.txt", "info.txt"
LATE, LONGER = 0.08, 0.01  # seconds by which t1, and the exposure's end, differ from what is said
GRAVITY = 9.81
EXPOSURE = 0.1  # seconds, of a motion that is written


def read(path: str | pathlib.Path) -> np.ndarray:
    """How the camera turned while a picture was taken; accelerations are not used.

    Args:
      path: a gyro.txt, of which the exposure is kept if an info.txt tells it; or a file of
        any other name, which is all exposure.

    Returns:
      (moments, 6), a motion that begins at zero (see `tf_deblur.blurring.motion`). The study plays
      back half of it.

    Raises:
      UserError: a missing file, a line that is not seven numbers, times that do not
        grow, or fewer than two samples in the exposure.

    Source: Lai et al. 2016; LATE, LONGER and the half are what reproduces a picture of theirs.
    """
    path = pathlib.Path(path)
    samples = np.array(_numbers(path, "ax ay az wx wy wz t"))
    for line, lapse in enumerate(np.diff(samples[:, 6]), 2):
        if lapse <= 0:
            raise UserError(f"{path}: line {line}: its time is not after the line before")
    places = np.arange(3 * len(samples) - 2) / 3
    dense = np.column_stack([np.interp(places, places[::3], column) for column in samples.T])
    time = dense[:, 6]
    turned = np.cumsum(dense[:, 3:6] * np.diff(time, prepend=time[0])[:, None], axis=0)
    begin, end = _exposure(path)
    turned = turned[(time >= begin) & (time < end)][1:]
    if len(turned) < 2:
        raise UserError(f"{path}: fewer than two samples in the exposure")
    return np.pad((turned[0] - turned)[:, [1, 0, 2]], [(0, 0), (0, 3)])


def _exposure(path):
    """When it begins and ends, in seconds."""
    info = path.with_name(INFO)
    if path.name != NAME or not info.exists():
        return -math.inf, math.inf
    _, exposure, taken, _ = _numbers(info, "t0 exposure t1 t2")[0]
    return taken - LATE - exposure, taken - LATE + LONGER


def _numbers(path, names):
    """A text file's lines of numbers, as many as there are names."""
    try:
        text = path.read_text(errors="replace")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    rows = []
    for line, words in enumerate(map(str.split, text.splitlines()), 1):
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            rows.append([])
        if len(rows[-1]) != len(names.split()) or not all(map(math.isfinite, rows[-1])):
            raise UserError(f"{path}: line {line}: must be {len(names.split())} numbers: {names}")
    if not rows:
        raise UserError(f"{path}: is empty; a line must be {len(names.split())} numbers: {names}")
    return rows


def write(path: str | pathlib.Path, motion: np.ndarray) -> None:
    """Writes what a phone would record of a motion, gravity left out, the scene 1 m away.

    `read` gives its rotations back. UserError if the file cannot be written.
    """
    time = np.linspace(0, EXPOSURE, len(motion))
    speed = np.gradient(motion[:, [4, 3, 5]], time, axis=0)
    pull = np.gradient(speed, time, axis=0) / GRAVITY
    turn = -np.gradient(motion[:, [1, 0, 2]], time, axis=0)
    rows = [" ".join(f"{value:.6f}" for value in row) for row in np.c_[pull, turn, time]]
    with explain_unwritable(path), whole(pathlib.Path(path)) as part:
        part.write_text("\n".join(rows) + "\n")
