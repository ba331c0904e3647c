"""What a network is to all that restores with it: a function of a batch, and a few facts."""

import json
import math
import pathlib
from typing import NoReturn

import numpy as np

from tf_deblur import devices
from tf_deblur.errors import UserError

FACTS = ("size_multiple", "radius", "channels", "pixel_bytes")


class Engine:
    """A network on some library: `run` and its facts, nothing more.

    Attributes:
      size_multiple: what heights and widths given to `run` are multiples of, in pixels.
      radius: how far a restored pixel sees, in pixels to each side.
      channels: of a picture.
      pixel_bytes: memory that running takes for each pixel of a tile.
      most_pixels: of a tile, as its graph cuts them itself: larger ones would be cut twice.
      fixed_size: (height, width) of the tiles, if it takes no others.
      takes_bytes: whether `run` takes uint8 as well, and gives it back.
      most_memory: bytes that running may take, however much is free.
      ran_out: the exceptions by which it says that a GPU's memory was too little.
      precision: "float32" or "bfloat16", or a `.tflite` file's variant; `why` says why that one.
      device: where it runs, in words.
      weights_sha256: of the file of weights that it was made from; None if that is not known.
    """

    fixed_size = None
    takes_bytes = False
    most_memory = math.inf
    ran_out = ()

    def __init__(self, facts, precision="float32", why="its only one", device=None):
        for fact in FACTS:
            setattr(self, fact, facts[fact])
        self.most_pixels = facts.get("tile_pixels", math.inf)
        self.weights_sha256 = facts.get("weights_sha256")
        self.precision, self.why = precision, why
        self.device = device or devices.name_device()

    def run(self, batch: np.ndarray) -> np.ndarray:
        """(n, h, w, c) float32 in [0, 1], sides multiples of `size_multiple` -> the same."""
        raise NotImplementedError


def read_facts(path: pathlib.Path, more: tuple[str, ...] = ()) -> dict:
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


def refuse(path: pathlib.Path, problem: Exception | str) -> NoReturn:
    """Raises the UserError for an export that does not open, because of an exception or words."""
    reason = str(problem).strip().splitlines() or [type(problem).__name__]
    cause = problem if isinstance(problem, Exception) else None
    raise UserError(f"{path}: damaged, or not made by `tf-deblur export` ({reason[0]})") from cause
