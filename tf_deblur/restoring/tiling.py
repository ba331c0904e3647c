"""Cuts a picture, applies a function to the pieces, joins them: exactly, and in bounded memory.

A network without normalisation sees no farther than its radius, so a tile that is cut with
that margin gives the whole picture's own result inside it: nothing is blended. A cut falls
on multiples of the network's size multiple, where its grid stays the same, and a tile at the
picture's edge ends there, so that the network pads with its own zeros as it does for the whole.
"""

import dataclasses
import math
from collections.abc import Callable
from types import ModuleType

import numpy as np


@dataclasses.dataclass(frozen=True)
class Tiles:
    """How a picture is cut: the core is what is kept of a tile, the margin what it sees beyond.

    Attributes:
      height, width: of the picture, in pixels, both multiples of the size multiple.
      core: (height, width) of the part of each tile that is kept, in pixels.
      margin: pixels added to each side of a core, where the picture goes on.
    """

    height: int
    width: int
    core: tuple[int, int]
    margin: int

    def __iter__(self):
        """(what is kept, what is cut), as pairs of slices, row by row."""
        sides = zip((self.height, self.width), self.core)
        rows, columns = ([*_cut(side, core, self.margin)] for side, core in sides)
        for kept_rows, cut_rows in rows:
            for kept_columns, cut_columns in columns:
                yield (kept_rows, kept_columns), (cut_rows, cut_columns)

    def __len__(self):
        return -(-self.height // self.core[0]) * -(-self.width // self.core[1])

    @property
    def largest(self) -> int:
        """Pixels of the largest tile, margins included."""
        sides = zip((self.height, self.width), self.core)
        height, width = (min(side, core + 2 * self.margin) for side, core in sides)
        return height * width

    @property
    def pixels(self) -> int:
        """Pixels that all tiles have together, margins included: what has to be computed."""
        sides = zip((self.height, self.width), self.core)
        return math.prod(int(_count_computed(side, core, self.margin)) for side, core in sides)


def _cut(length, core, margin):
    for index in range(-(-length // core)):
        kept, cut = find_span(index, length, core, margin)
        yield slice(*map(int, kept)), slice(*map(int, cut))


def find_span(index: int, length: int, core: int, margin: int, xp: ModuleType = np) -> tuple:
    """((start, stop) kept, (start, stop) cut) of a core along one axis; the picture ends both."""
    start = index * core
    stop = xp.minimum(start + core, length)
    return (start, stop), (xp.maximum(start - margin, 0), xp.minimum(stop + margin, length))


def choose_core(
    height: int,
    width: int,
    columns: np.ndarray,
    *,
    margin: int,
    multiple: int,
    most_pixels: int,
    xp: ModuleType = np,
) -> tuple:
    """The core with which the fewest pixels are computed and no tile is above `most_pixels`.

    Full-width strips are tiles like others: they win wherever the memory allows them.

    Args:
      height, width: of the picture, in pixels, multiples of `multiple`.
      columns: (k,) int64, the numbers of columns to choose from: 1 … width / multiple are all.
      margin: pixels added to each side of a core, a multiple of `multiple`.
      multiple: what cuts fall on multiples of.
      most_pixels: of a tile, margins included.
      xp: NumPy, or TensorFlow where the sizes are tensors; they are int64 then.

    Returns:
      (height, width) of the core. A height of 0: no tile is so small.
    """
    widths = _up(-(-width // columns), multiple)
    room = most_pixels // xp.minimum(widths + 2 * margin, width)  # rows of a tile
    heights = xp.where(room >= height, height, (room - 2 * margin) // multiple * multiple)
    heights = xp.maximum(heights, 0)
    rows = -(-height // xp.maximum(heights, multiple))
    heights = xp.where(heights > 0, _up(-(-height // rows), multiple), 0)  # as even as they can be
    pixels = _count_computed(height, xp.maximum(heights, multiple), margin, xp)
    pixels = pixels * _count_computed(width, widths, margin, xp)
    best = xp.argmin(xp.where(heights > 0, pixels, np.iinfo(np.int64).max))
    return heights[best], widths[best]


def _count_computed(length, core, margin, xp=np):
    """Pixels along one axis that all tiles have together, margins included.

    The sum over all tiles of min((i + 1) core + margin, length) - max(i core - margin, 0).
    """
    count = -(-length // core)
    first = xp.minimum(margin // core + 1, count)  # of those that begin inside the picture
    starts = core * (count - 1 + first) * (count - first) // 2 - margin * (count - first)
    short = xp.minimum(xp.maximum(length - margin - 1, 0) // core, count)  # how many end in it
    stops = count * length - short * (length - margin) + core * short * (short + 1) // 2
    return stops - starts


@dataclasses.dataclass(frozen=True)
class EqualTiles:
    """How a picture is cut into tiles of one size, the last ones shifted inward to its edges.

    Attributes:
      height, width: of the picture, in pixels, both multiples of the size multiple.
      tile: (height, width) of each tile, in pixels, such multiples too.
      margin: pixels at a tile's sides that are not kept, where the picture goes on.

    Raises:
      ValueError: the picture is smaller than a tile, or a tile smaller than its margins.
    """

    height: int
    width: int
    tile: tuple[int, int]
    margin: int

    def __post_init__(self):
        for length, side in zip((self.height, self.width), self.tile):
            if length < side or (length > side and side <= 2 * self.margin):
                raise ValueError(f"{length} pixels in tiles of {side}, margins {self.margin}")

    def __iter__(self):
        """As of `Tiles`: (what is kept, what is cut), as pairs of slices, row by row."""
        sides = zip((self.height, self.width), self.tile)
        rows, columns = ([*_shift(length, side, self.margin)] for length, side in sides)
        for kept_rows, cut_rows in rows:
            for kept_columns, cut_columns in columns:
                yield (kept_rows, kept_columns), (cut_rows, cut_columns)

    def __len__(self):
        return sum(1 for _ in self)

    @property
    def largest(self) -> int:
        """Pixels of a tile."""
        return math.prod(self.tile)


def _shift(length, side, margin):
    kept = 0
    while kept < length:
        start = min(max(kept - margin, 0), length - side)
        stop = length if start + side == length else start + side - margin
        yield slice(kept, stop), slice(start, start + side)
        kept = stop


def compute_margin(radius: int, multiple: int) -> int:
    """Pixels that are cut beyond a core: the radius, up to where a cut may fall."""
    return _up(radius, multiple)


def plan(height: int, width: int, *, radius: int, multiple: int, most_pixels: int) -> Tiles:
    """The `Tiles` of a picture, by `choose_core`.

    Args:
      height, width: of the picture, in pixels, multiples of `multiple`.
      radius: how far a restored pixel sees, in pixels.
      multiple: what cuts fall on multiples of.
      most_pixels: of a tile, margins included.

    Raises:
      ValueError: `most_pixels` is too few for any tile.
    """
    margin = compute_margin(radius, multiple)
    columns = np.arange(1, width // multiple + 1, dtype=np.int64)
    core = choose_core(
        *(height, width, columns), margin=margin, multiple=multiple, most_pixels=most_pixels
    )
    tall, wide = map(int, core)
    if not tall:
        raise ValueError(f"{most_pixels} pixels: too few for a tile with a margin of {margin}")
    return Tiles(height, width, (tall, wide), margin)


def apply(
    function: Callable,
    image: np.ndarray,
    tiles: Tiles | EqualTiles,
    progress: Callable | None = None,
) -> np.ndarray:
    """Applies a function to a picture tile by tile.

    Args:
      function: (h, w, c) -> the same shape and type; what it does to a pixel depends on
        no pixel beyond the radius that `tiles` were planned with.
      image: (height, width, c) of any type.
      tiles: the `Tiles`.
      progress: called with the number of pixels kept after each tile, if given.

    Returns:
      (height, width, c) of the same type.
    """
    joined = np.empty_like(image)
    for kept, cut in tiles:
        result = function(image[cut])
        inside = tuple(slice(k.start - c.start, k.stop - c.start) for k, c in zip(kept, cut))
        joined[kept] = result[inside]
        if progress:
            progress((kept[0].stop - kept[0].start) * (kept[1].stop - kept[1].start))
    return joined


def _up(length, multiple):
    return -(-length // multiple) * multiple
