"""Blurred pictures in, restored pictures out, whatever the network is kept in and runs on."""

import functools
import json
import math
import sys
import time

import numpy as np
from tqdm import tqdm

from tf_deblur import devices, memory
from tf_deblur.errors import UserError
from tf_deblur.pictures import arrays
from tf_deblur.restoring import tiling

FACTS = ("size_multiple", "radius", "channels", "pixel_bytes")
GIGABYTE = 1e9
LARGEST_TILE = 16_000_000  # pixels; larger ones gain nothing, and are long to wait for


class Restorer:
    """Blurred images in, sharp images out; a backend supplies `run` and its facts, nothing more.

    Attributes:
      name: what the user called it.
      size_multiple: what heights and widths given to `run` are multiples of, in pixels.
      radius: how far a restored pixel sees, in pixels to each side.
      channels: of a picture.
      pixel_bytes: memory that running takes for each pixel of a tile.
      most_pixels: of a tile, as its graph cuts them itself: larger ones would be cut twice.
      memory: bytes that running may take; tiles are as large as it allows.
      precision: "float32" or "bfloat16", or a `.tflite` file's variant; `why` says why that one.
      device: where it runs, in words.
      weights_sha256: of the file of weights that it was made from; None if that is not known.
      say: called with a line for the user, on standard error unless a command sets another.
    """

    ran_out = ()  # the exceptions by which an engine says that a GPU's memory was too little

    def __init__(self, name, facts, precision="float32", why="its only one", device=None):
        self.name = str(name)
        self.weights_sha256 = facts.get("weights_sha256")
        self.size_multiple, self.radius, self.channels, self.pixel_bytes = (
            facts[fact] for fact in FACTS
        )
        self.most_pixels = facts.get("tile_pixels", math.inf)
        self.precision, self.why = precision, why
        self.device = device or devices.device_name()
        self.memory = memory.free() / 2
        self.say = functools.partial(tqdm.write, file=sys.stderr)

    def run(self, batch):
        """(n, h, w, c) float32 in [0, 1], sides multiples of `size_multiple` -> the same."""
        raise NotImplementedError

    def __call__(self, image, progress=None):
        """Restores one picture of any height and width, tile by tile, exactly.

        Args:
          image: (height, width, 3) uint8, uint16, or floats in [0, 1].
          progress: called with the number of pixels done after each tile, if given; with a
            negative one, which takes back all of them, where a GPU ran out and it begins anew.

        Returns:
          The restored picture, of the same shape and type.

        Raises:
          ValueError: another shape or type.
          UserError: the memory is too little for any tile.
        """
        if image.ndim != 3 or image.shape[-1] != self.channels or not image.size:
            raise ValueError(f"shape {image.shape}; use (height, width, {self.channels})")
        height, width = image.shape[:2]
        padded, done = self.pad(image), 0

        def count(pixels):
            nonlocal done
            done += pixels
            progress(pixels)

        while True:
            tiles = self.tiles(*padded.shape[:2])
            try:
                counting = count if progress else None
                return tiling.apply(self.run_typed, padded, tiles, counting)[:height, :width]
            except self.ran_out:
                if progress:
                    count(-done)
                self.memory = tiles.largest * self.pixel_bytes / 2
                self.say(f"{self.device}: out of memory; from here on {self.told()}")

    def run_typed(self, tile):
        """`run` on a tile of the picture's own type."""
        restored = self.run(arrays.to_float(tile)[None])[0]
        if not np.isfinite(restored).all():
            # what is no number becomes the farther end of the range, so that a check sees it
            restored = np.where(np.isfinite(restored), restored, arrays.to_float(tile) < 0.5)
        restored = np.clip(restored, 0, 1)  # in place of the other: a tile's copies are memory too
        return arrays.from_float(restored, tile.dtype)

    def tiles(self, height, width):
        """The `tiling.Tiles` in which a picture of this size is restored."""
        try:
            return tiling.plan(
                height + -height % self.size_multiple,
                width + -width % self.size_multiple,
                radius=self.radius,
                multiple=self.size_multiple,
                most_pixels=int(self._largest()),
            )
        except ValueError as error:
            margin = tiling.margin_of(self.radius, self.size_multiple)
            raise self.too_little((2 * margin + self.size_multiple) ** 2) from error

    def too_little(self, pixels):
        """The UserError for a memory in which no tile of so many pixels can be restored."""
        needed = math.ceil(pixels * self.pixel_bytes / GIGABYTE * 1000) / 1000
        return UserError(
            f"{self.memory / GIGABYTE:.3f} GB of memory are too few for a tile; "
            f"{self.name} wants at least {needed:.3f}, see --memory_gb"
        )

    def seconds_a_pixel(self, size=(256, 256)):
        """How long restoring takes, measured on a small tile, once everything is warm."""
        tile = np.zeros((1, *size, self.channels), np.float32)
        self.run(tile)
        begin = time.monotonic()
        self.run(tile)
        return (time.monotonic() - begin) / math.prod(size)

    def pad(self, image):
        """Mirrors a picture at its lower and right border up to the size multiple."""
        more = [(0, -side % self.size_multiple) for side in image.shape[:2]]
        if not any(after for _, after in more):
            return image
        return np.pad(image, [*more, (0, 0)], mode="reflect")

    def __str__(self):
        return f"{self.name} on {self.device} in {self.precision} ({self.why})"

    def told(self):
        """How pictures are cut: radius and largest tile, in words."""
        pixels = self._largest() / 1e6
        return f"radius {self.radius} pixels, tiles of at most {pixels:.1f} megapixels"

    def _largest(self):
        return min(self.memory / self.pixel_bytes, LARGEST_TILE, self.most_pixels)


def read_facts(path, more=()):
    """What an export's JSON says of its network; UserError where it is missing or damaged.

    Args:
      path: of the JSON.
      more: what it must say beside FACTS.
    """
    try:
        facts = json.loads(path.read_text())
        for fact in more:
            facts[fact]
        return facts | {fact: int(facts[fact]) for fact in FACTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: missing or damaged; it says what the network needs, so keep the files "
            "that `tf-deblur export` writes together"
        ) from error


def damaged(path, error):
    """The UserError for an export that does not open."""
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return UserError(f"{path}: damaged, or not made by `tf-deblur export` ({reason[0]})")
