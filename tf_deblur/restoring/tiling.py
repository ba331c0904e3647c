"""Cuts a picture, applies a function to the pieces, joins them: exactly, and in bounded memory.

A network without normalisation sees no farther than its radius, so a tile that is cut with
that margin gives the whole picture's own result inside it: nothing is blended. A cut falls
on multiples of the network's size multiple, where its grid stays the same, and a tile at the
picture's edge ends there, so that the network pads with its own zeros as it does for the whole.
"""

import dataclasses

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
    core: tuple
    margin: int

    def __iter__(self):
        """(what is kept, what is cut), as pairs of slices, row by row."""
        for rows in _spans(self.height, self.core[0], self.margin):
            for columns in _spans(self.width, self.core[1], self.margin):
                yield (rows[0], columns[0]), (rows[1], columns[1])

    def __len__(self):
        return -(-self.height // self.core[0]) * -(-self.width // self.core[1])

    @property
    def largest(self):
        """Pixels of the largest tile, margins included."""
        sides = zip((self.height, self.width), self.core)
        height, width = (min(side, core + 2 * self.margin) for side, core in sides)
        return height * width

    @property
    def pixels(self):
        """Pixels that all tiles have together, margins included: what has to be computed."""
        rows = sum(
            cut.stop - cut.start for _, cut in _spans(self.height, self.core[0], self.margin)
        )
        return rows * sum(
            cut.stop - cut.start for _, cut in _spans(self.width, self.core[1], self.margin)
        )


def _spans(length, core, margin):
    """(kept, cut) slices along one axis; the picture's ends end a cut too."""
    for start in range(0, length, core):
        stop = min(start + core, length)
        yield slice(start, stop), slice(max(start - margin, 0), min(stop + margin, length))


def plan(height, width, *, radius, multiple, most_pixels):
    """The cut that computes the fewest pixels with no tile above `most_pixels`.

    Full-width strips are tiles like others: they win wherever the memory allows them.

    Args:
      height, width: of the picture, in pixels, multiples of `multiple`.
      radius: how far a restored pixel sees, in pixels.
      multiple: what cuts fall on multiples of.
      most_pixels: of a tile, margins included.

    Returns:
      The `Tiles`.

    Raises:
      ValueError: `most_pixels` is too few for any tile.
    """
    margin = -(-radius // multiple) * multiple
    best = None
    for columns in range(1, width // multiple + 1):
        core_width = _up(-(-width // columns), multiple)
        room = most_pixels // min(width, core_width + 2 * margin)  # rows of a tile
        core_height = height if room >= height else (room - 2 * margin) // multiple * multiple
        if core_height < multiple:
            continue
        rows = -(-height // core_height)  # as even as the number of rows lets them be
        core_height = _up(-(-height // rows), multiple)
        tiles = Tiles(height, width, (core_height, core_width), margin)
        if best is None or tiles.pixels < best.pixels:
            best = tiles
        elif tiles.pixels > 4 * best.pixels:
            break  # narrower ones are nothing but margin
    if best is None:
        raise ValueError(f"{most_pixels} pixels: too few for a tile with a margin of {margin}")
    return best


def apply(function, image, tiles, progress=None):
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
