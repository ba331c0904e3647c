"""Keeps the input where a restored picture cannot be right: never worse without a word.

Taking blur away moves light by no more than the blur's extent. So both pictures, averaged
over 48 pixels, the largest blur of the training, agree within a few levels; contrast in a
block grows, but not without limit. A network that fails (other weights, a shifted output,
numbers that are none) breaks one of the two.

The limits are set by training pairs of all extents, so that of what the shipped weights
restore there at most 2 blocks in 1,000 are kept; docs/notes/restoring.md has the figures, and
benchmarks/guard.py measures such pairs.
"""

import numpy as np

from tf_deblur.opencv import cv2
from tf_deblur.pictures import arrays

CELL = 16  # pixels; averages are taken over 3 × 3 cells
BLOCK = 64  # pixels; what is kept or given back as one
LIGHT = 32 / 255  # how far the averages may differ
CONTRAST = 32 / 255  # how far the deviation may exceed twice the blurred one's


def check(blurred: np.ndarray, restored: np.ndarray) -> tuple[np.ndarray, float]:
    """Gives the blurred picture back in the blocks where the restored one fails.

    The blocks lie on a fixed grid, so that the result does not depend on tiles. Over the width
    of the blocks round them it goes over into the restored picture, so that no square shows.

    Args:
      blurred, restored: (height, width, 3) of one type, uint8, uint16 or float in [0, 1].

    Returns:
      (picture, share): the restored one with such blocks replaced, and their share. With
      none of them it is `restored` itself.
    """
    bad = find_failing_blocks(blurred, restored)
    if not bad.any():
        return restored, 0.0
    corners = np.zeros(np.add(bad.shape, 1), np.float32)  # how much is kept there, of the blocks'
    for row, column in np.argwhere(bad):
        corners[row : row + 2, column : column + 2] = 1
    kept = restored.copy()
    for row, column in np.argwhere(cv2.dilate(bad.astype(np.uint8), np.ones((3, 3), np.uint8))):
        block = np.s_[row * BLOCK : (row + 1) * BLOCK, column * BLOCK : (column + 1) * BLOCK]
        kept[block] = blurred[block]
        if not bad[row, column]:
            weight = _interpolate(
                corners[row : row + 2, column : column + 2], kept[block].shape[:2]
            )
            kept[block] = arrays.blend(blurred[block], restored[block], 1 - weight)
    return kept, float(bad.mean())


def _interpolate(corners, size):
    """What lies between a block's four corners, bilinear: (height, width, 1) of `size`."""
    down, across = ((np.arange(length, dtype=np.float32) + 0.5) / BLOCK for length in size)
    top, bottom = (left + (right - left) * across for left, right in corners)
    return (top + (bottom - top) * down[:, None])[..., None]


def find_failing_blocks(blurred: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Which blocks fail: (rows, columns) of bool, the last ones perhaps smaller."""
    light, contrast = measure(blurred, restored)
    return ~((light <= LIGHT) & (contrast <= CONTRAST))  # what is no number fails


def measure(blurred: np.ndarray, restored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the limits are set to, in each block, of 1 for white: (rows, columns) each.

    How far averages over 3 × 3 cells differ, at most, and by how much the deviation exceeds
    twice the blurred one's.
    """
    (light_b, square_b), (light_r, square_r) = _average_cells(blurred), _average_cells(restored)
    apart = np.abs(_average_widely(light_b) - _average_widely(light_r)).max(-1)
    for axis in (0, 1):
        apart = np.maximum.reduceat(apart, _find_starts(apart.shape[axis]), axis=axis)
    excess = _compute_deviation(light_r, square_r) - 2 * _compute_deviation(light_b, square_b)
    return apart, excess.max(-1)


def _average_cells(image):
    """Means of a picture and of its square over cells: (rows, columns, 3) float32 each."""
    scale = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1.0
    height, width = image.shape[:2]
    rows = []
    for top in range(0, height, CELL):  # a row of cells at a time: no copy of a large picture
        strip = image[top : top + CELL].astype(np.float32) / scale
        columns = np.arange(0, width, CELL)
        counts = np.diff(np.append(columns, width))[:, None] * len(strip)
        both = (np.add.reduceat(x.sum(0), columns, axis=0) / counts for x in (strip, strip**2))
        rows.append(list(both))
    return tuple(np.stack(means).astype(np.float32) for means in zip(*rows))


def _average_widely(cells):
    return cv2.blur(cells, (3, 3), borderType=cv2.BORDER_REPLICATE)


def _find_starts(cells):
    """Where each block begins on a line of cells."""
    return np.arange(0, cells, BLOCK // CELL)


def _compute_deviation(light, square):
    """Standard deviation in each block: (rows, columns, 3)."""
    rows, columns = map(_find_starts, light.shape[:2])

    def total(cells):
        return np.add.reduceat(np.add.reduceat(cells, rows, axis=0), columns, axis=1)

    count = total(np.ones((*light.shape[:2], 1), np.float32))
    return np.sqrt(np.maximum(total(square) / count - (total(light) / count) ** 2, 0))
