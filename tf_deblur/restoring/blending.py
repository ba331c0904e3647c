"""Overlapping tiles of one size, blended: for networks that see a whole tile, however large.

No margin makes such tiles exact. Where two overlap, one fades out while the other fades in, and
how far they differ there is told.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from tf_deblur import memory
from tf_deblur.pictures import arrays

OVERLAP = 1 / 8  # of a tile's side; at least half of it, where tiles begin at multiples


@dataclasses.dataclass(frozen=True)
class BlendedTiles:
    """How a picture is cut.

    Attributes:
      height, width: of the picture, in pixels.
      tile: (height, width) of each tile, in pixels, at most those of the picture.
      multiple: what tiles begin at multiples of, where enough overlap is left.
    """

    height: int
    width: int
    tile: tuple[int, int]
    multiple: int

    def __iter__(self):
        """What is cut, as pairs of slices, row by row."""
        sides = zip((self.height, self.width), self.tile)
        rows, columns = ([*_spread(*side, self.multiple)] for side in sides)
        for down in rows:
            for across in columns:
                yield slice(down, down + self.tile[0]), slice(across, across + self.tile[1])

    def __len__(self):
        return sum(1 for _ in self)

    @property
    def largest(self) -> int:
        """Pixels of a tile."""
        return math.prod(self.tile)


def _spread(length, side, multiple):
    """Where tiles begin along one axis, as evenly as they can; the last one ends with it."""
    if length == side:
        yield 0
        return
    overlap = min(math.ceil(side * OVERLAP), side - 1)
    count = math.ceil((length - overlap) / (side - overlap))
    step = (length - side) / (count - 1)
    if math.ceil(step / multiple) * multiple > side - overlap / 2:
        multiple = 1  # else nothing would be left to blend
    for index in range(count - 1):
        yield min(round(step * index / multiple) * multiple, length - side)
    yield length - side


def choose_tile(height: int, width: int, most_pixels: float, multiple: int) -> tuple[int, int]:
    """The largest tile of at most `most_pixels`, as square as the picture lets it be.

    Its sides are multiples of `multiple`; 0 where it would be smaller than one.
    """
    short, long = sorted((height, width))
    first = min(short, _down(math.sqrt(most_pixels), multiple))
    second = min(long, _down(most_pixels / max(first, 1), multiple))
    first = min(short, _down(most_pixels / max(second, 1), multiple))
    return (first, second) if height <= width else (second, first)


def _down(length, multiple):
    return int(length // multiple) * multiple


def apply(
    function: Callable, image: np.ndarray, tiles: BlendedTiles, progress: Callable
) -> tuple[np.ndarray, float]:
    """Applies a function to a picture tile by tile.

    Args:
      function: (h, w, c) float32 -> the same.
      image: (height, width, c), as `arrays.to_float` takes it.
      tiles: the `BlendedTiles`.
      progress: called with the number of pixels done after each tile.

    Returns:
      ((height, width, c) float32, how far tiles differ where they overlap, root mean square).
    """
    total, weights = (np.zeros((*image.shape[:2], n), np.float32) for n in (image.shape[2], 1))
    squares, count, done = 0.0, 0, 0
    pixels, all_tiles = math.prod(image.shape[:2]), len(tiles)
    for number, cut in enumerate(tiles, 1):
        restored = function(arrays.to_float(image[cut]))
        weight = _fade(cut, image.shape, tiles)
        there = weights[cut][..., 0] > 0
        apart = restored[there] - total[cut][there] / weights[cut][there]
        squares, count = squares + float((apart**2).sum(dtype=np.float64)), count + apart.size
        total[cut] += weight * restored
        weights[cut] += weight
        memory.trim()  # over many tiles what is free in between grew by a sixth
        progress(pixels * number // all_tiles - done)
        done = pixels * number // all_tiles
    total /= weights
    return total, math.sqrt(squares / count) if count else 0.0


def _fade(cut, shape, tiles):
    """A tile's weights: 1 inside, less towards its sides, but for those of the picture."""
    lines = []
    for span, length, side in zip(cut, shape, tiles.tile):
        ramp = math.ceil(side * OVERLAP)
        near = np.minimum((np.arange(side) + 0.5) / ramp, 1)
        line = np.ones(side) if span.start == 0 else near
        lines.append(line if span.stop == length else line * near[::-1])
    return np.outer(*lines)[..., None].astype(np.float32)
