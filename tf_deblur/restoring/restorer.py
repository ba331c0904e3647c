"""Blurred pictures in, restored pictures out, whatever the network is kept in and runs on."""

import functools
import math
import sys
import time
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from tf_deblur import memory
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import arrays
from tf_deblur.restoring import blending, tiling

GIGABYTE = 1e9
LARGEST_TILE = 16_000_000  # pixels; larger ones gain nothing, and are long to wait for
BAND = 16  # rows that are rounded at a time: few enough to stay in the processor's cache
PICTURE_BYTES = 48  # of a pixel of a picture whose tiles are blended, beside them
MOST = 2.0  # of floats on average: those above are of another range, and not a lamp's
TOLD = 0.5 / 255  # how far blended tiles may differ before it is said


class Restorer:
    """A blurred image in, a restored one out.

    Attributes:
      name: what the user called the network.
      channels: of a picture.
      precision: "float32" or "bfloat16", or a `.tflite` file's variant.
      device: where it runs, in words.
      weights_sha256: of the file of weights that it was made from; None if that is not known.
      say: called with a line for the user, on standard error unless a command sets another.
    """

    def __init__(self, name, channels, precision, device, weights_sha256=None):
        self.name, self.channels = str(name), channels
        self.precision, self.device, self.weights_sha256 = precision, device, weights_sha256
        self.say = functools.partial(tqdm.write, file=sys.stderr)

    def __call__(self, image: np.ndarray, progress: Callable | None = None) -> np.ndarray:
        """Restores one picture of any height and width.

        Args:
          image: (height, width, 3) of red, green and blue; uint8, uint16, or floats in [0, 1].
          progress: called with the number of pixels done after each tile, if given; with a
            negative one, which takes back all of them, where a GPU ran out and it begins anew.

        Returns:
          The restored picture, of the same shape and type.

        Raises:
          ValueError: another shape or type, or floats of another range.
          UserError: the memory is too little for any tile.
        """
        if not isinstance(image, np.ndarray):
            kind = type(image).__name__
            raise ValueError(
                f"{kind}: use an array, as of tf_deblur.pictures.photographs.read(path), or "
                "numpy.asarray of a PIL image in RGB"
            )
        if image.ndim != 3 or image.shape[-1] != self.channels or not image.size:
            raise ValueError(f"shape {image.shape}; use (height, width, {self.channels})")
        if np.issubdtype(image.dtype, np.floating) and np.nanmean(np.minimum(image, 255)) > MOST:
            raise ValueError("floats far above 1; use floats in [0, 1], or uint8")
        return self.restore(image, progress or (lambda pixels: None))

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def restore(self, image: np.ndarray, progress: Callable) -> np.ndarray:
        """As a call, of an image whose shape is right."""
        raise NotImplementedError

    def measure_seconds_a_pixel(self) -> float:
        """0 where nothing is run that nobody asked for."""
        return 0.0

    def measure_costs(self, height: int, width: int) -> dict:
        """{"parameters", "multiply_adds" a pixel, "memory" in bytes for a picture}, if known."""
        return {}

    def describe_tiles(self) -> str:
        """Where and in which tiles pictures are restored, in words."""
        raise NotImplementedError


class TiledRestorer(Restorer):
    """An engine on pictures of any size, tile by tile; exactly, where its radius is known.

    Attributes:
      engine: the `Engine`.
      memory: bytes that running may take; tiles are as large as it allows.
    """

    def __init__(self, name, engine):
        super().__init__(
            *(name, engine.facts.channels, engine.precision, engine.device),
            engine.facts.weights_sha256,
        )
        self.engine = engine
        self.memory = min(
            memory.measure_free() / 2 + engine.facts.held_bytes, engine.facts.most_memory
        )
        self._told = TOLD  # how far tiles differed, as far as it was said

    def restore(self, image: np.ndarray, progress: Callable) -> np.ndarray:
        height, width = image.shape[:2]
        padded, done = self.pad(image), 0

        def count(pixels):
            nonlocal done
            done += pixels
            progress(pixels)

        while True:
            tiles = self.plan_tiles(*padded.shape[:2])
            try:
                return self._join(padded, tiles, count)[:height, :width]
            except self.engine.ran_out:
                count(-done)
                self.memory = self._needs(tiles.largest / 2) + self._beside(*padded.shape[:2])
                self.say(f"{self.device}: out of memory; from here on {self.describe_tiles()}")

    def _join(self, image, tiles, progress):
        if not isinstance(tiles, blending.BlendedTiles):
            return tiling.apply(self._restore_tile, image, tiles, progress)
        joined, apart = blending.apply(self._restore_tile, image, tiles, progress)
        if apart > self._told:
            self._told = apart
            height, width = tiles.tile
            self.say(
                f"{self.name} sees whole tiles: {len(tiles)} of {width}x{height} are blended, and "
                f"differ by {255 * apart:.1f} levels of 255 where they overlap"
            )
        return arrays.from_float(joined, image.dtype)

    def _restore_tile(self, tile):
        if tile.dtype == np.uint8 and self.engine.takes_bytes:
            return self.engine.run(tile[None])[0]
        return apply_to_floats(self.engine.run, tile)

    def plan_tiles(
        self, height: int, width: int
    ) -> tiling.Tiles | tiling.EqualTiles | blending.BlendedTiles:
        """The tiles in which a picture of this size is restored."""
        facts = self.engine.facts
        height, width = self._pad_sides(height, width)
        if facts.radius is None:
            return self._plan_blended_tiles(height, width)
        multiple, margin = facts.size_multiple, self._margin()
        if facts.fixed_size:
            return self._plan_equal_tiles(height, width)
        try:
            limits = {"radius": facts.radius, "multiple": multiple}
            return tiling.plan(height, width, **limits, most_pixels=int(self._largest()))
        except ValueError as error:
            raise self._too_little((2 * margin + multiple) ** 2) from error

    def _plan_equal_tiles(self, height, width):
        size, margin = self.engine.facts.fixed_size, self._margin()
        try:
            tiles = tiling.EqualTiles(height, width, size, margin)
        except ValueError as error:
            least = "at least" if min(size) > 2 * margin else "exactly"
            raise BadPicture(
                f"{self.name} takes pictures of {least} {size[1]}x{size[0]} pixels; one that is "
                "exported with --sizes=any takes all"
            ) from error
        if self._needs(tiles.largest) > self.memory:
            raise self._too_little(tiles.largest)
        return tiles

    def _plan_blended_tiles(self, height, width):
        facts = self.engine.facts
        size = facts.fixed_size
        beside = self._beside(height, width)
        most = self._largest(beside)
        size = size or blending.choose_tile(height, width, most, facts.size_multiple)
        pixels = math.prod(size) or facts.size_multiple**2
        if self._needs(pixels) + beside > self.memory:
            raise self._too_little(pixels, beside)
        return blending.BlendedTiles(height, width, size, facts.size_multiple)

    def _beside(self, height, width):
        """Bytes of a picture whose tiles are blended, beside them."""
        return height * width * PICTURE_BYTES if self.engine.facts.radius is None else 0

    def _margin(self):
        return tiling.compute_margin(self.engine.facts.radius, self.engine.facts.size_multiple)

    def _largest(self, beside=0):
        facts = self.engine.facts
        free = max(self.memory - facts.held_bytes - beside, 0)
        return min(free / facts.pixel_bytes, LARGEST_TILE, facts.tile_pixels)

    def _needs(self, pixels):
        """Bytes, for a tile of so many."""
        return self.engine.facts.held_bytes + pixels * self.engine.facts.pixel_bytes

    def _too_little(self, pixels, beside=0):
        """The UserError for a memory in which no tile of so many pixels can be restored."""
        needed = math.ceil((self._needs(pixels) + beside) / GIGABYTE * 1000) / 1000
        return UserError(
            f"{self.memory / GIGABYTE:.3f} GB of memory are too few for a tile; "
            f"{self.name} wants at least {needed:.3f}, see --memory_gb"
        )

    def measure_seconds_a_pixel(self) -> float:
        """How long restoring takes, measured on a small tile, once everything is warm."""
        size = self.engine.facts.fixed_size
        if self.engine.facts.radius is None:
            size = size or self._pad_sides(256, 256)
            return self._time_tile(*size) / math.prod(size) / (1 - blending.OVERLAP) ** 2
        if not size:
            return self._time_tile(256, 256) / 256**2
        margins = 2 * self._margin()
        # a tile that is all margins takes pictures of its own size alone
        return self._time_tile(*size) / math.prod(s - margins if s > margins else s for s in size)

    def measure_costs(self, height: int, width: int) -> dict:
        tiles = self.plan_tiles(height, width)
        return {
            "parameters": self.engine.facts.parameters,
            "multiply_adds": self.engine.count_multiply_adds(),
            "memory": self._needs(tiles.largest) + self._beside(height, width),
        }

    def _time_tile(self, height, width):
        tile = np.zeros((1, height, width, self.channels), np.float32)
        self.engine.run(tile)
        begin = time.monotonic()
        self.engine.run(tile)
        return time.monotonic() - begin

    def pad(self, image: np.ndarray) -> np.ndarray:
        """Mirrors a picture at its lower and right border up to the size multiple."""
        sides = zip(image.shape, self._pad_sides(*image.shape[:2]))
        more = [(0, padded - side) for side, padded in sides]
        if not any(after for _, after in more):
            return image
        return np.pad(image, [*more, (0, 0)], mode="reflect")

    def _pad_sides(self, *sides):
        """Up to the size multiple, and to the smallest one that the network takes."""
        facts, multiple = self.engine.facts, self.engine.facts.size_multiple
        return tuple(max(side + -side % multiple, low) for side, low in zip(sides, facts.smallest))

    def __str__(self):
        return f"{self.name} on {self.device} in {self.precision} ({self.engine.why})"

    def describe_tiles(self) -> str:
        """How pictures are cut: radius and largest tile, in words."""
        largest = f"at most {self._largest() / 1e6:.1f} megapixels"
        if size := self.engine.facts.fixed_size:
            largest = f"{size[1]}x{size[0]}"
        radius = self.engine.facts.radius
        if radius is None:
            return f"sees a whole tile; tiles of {largest}, blended where they overlap"
        return f"radius {radius} pixels, tiles of {largest}"


def apply_to_floats(run: Callable, tile: np.ndarray) -> np.ndarray:
    """A network's `run` on a picture of any type, whose type the result has."""
    restored, result = run(arrays.to_float(tile)[None])[0], np.empty_like(tile)
    for top in range(0, len(tile), BAND):
        rows = slice(top, top + BAND)
        band, finite = restored[rows], np.isfinite(restored[rows])
        if not finite.all():
            # what is no number becomes the farther end of the range, so that a check sees it
            band = np.where(finite, band, arrays.to_float(tile[rows]) < 0.5)
        result[rows] = arrays.from_float(np.clip(band, 0, 1), tile.dtype)
    return result
