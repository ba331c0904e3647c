"""What a network is to all that restores with it: a function of a batch, and a few facts."""

import dataclasses
import json
import math
import pathlib
import re
from typing import NoReturn

import numpy as np

from tf_deblur import devices
from tf_deblur.errors import UserError


@dataclasses.dataclass(frozen=True)
class Facts:
    """What has to be known of a network: all that tells one from another.

    Attributes:
      size_multiple: what heights and widths given to `run` are multiples of, in pixels.
      radius: how far a restored pixel sees, in pixels to each side; None: as far as a tile is.
      channels: of a picture.
      pixel_bytes: memory that running takes for each pixel of a tile.
      fixed_size: (height, width) of the tiles, if it takes no others.
      smallest: (height, width) up to which a smaller picture is mirrored.
      tile_pixels: of a tile at most, as its graph cuts them itself: larger ones are cut twice.
      most_memory: bytes that running may take, however much is free.
      held_bytes: that it takes whatever a tile's size.
      parameters: how many numbers were trained; None if that is not known.
      multiply_adds: for each pixel, a pair as one; None likewise.
      weights_sha256: of the file of weights that it was made from; None if that is not known.
    """

    size_multiple: int
    radius: int | None
    channels: int
    pixel_bytes: int
    fixed_size: tuple[int, int] | None = None
    smallest: tuple[int, int] = (0, 0)
    tile_pixels: float = math.inf
    most_memory: float = math.inf
    held_bytes: float = 0
    parameters: int | None = None
    multiply_adds: float | None = None
    weights_sha256: str | None = None


# Where OpenVINO and TensorFlow found what is wrong.
SILENT = re.compile(
    "Exception from|Check |FrontEnd API|Model wasn't|-- |While |Details|Not Implemented|"
    "Graph execution error|Detected at|Node:|Stack trace|Traceback| *File |Original stack"
)
NEEDED = [f.name for f in dataclasses.fields(Facts) if f.default is dataclasses.MISSING]


class Engine:
    """A network on some library: `run` and its facts, nothing more.

    Attributes:
      facts: the `Facts`.
      precision: "float32" or "bfloat16", or a `.tflite` file's variant; `why` says why that one.
      device: where it runs, in words.
      takes_bytes: whether `run` takes uint8 as well, and gives it back.
      ran_out: the exceptions by which it says that a GPU's memory was too little.
    """

    takes_bytes = False
    ran_out = ()

    def __init__(self, facts: Facts, precision="float32", why="its only one", device=None):
        self.facts, self.precision, self.why = facts, precision, why
        self.device = device or devices.name_device()

    def run(self, batch: np.ndarray) -> np.ndarray:
        """(n, h, w, c) float32 in [0, 1], sides multiples of the size multiple -> the same."""
        raise NotImplementedError

    def count_multiply_adds(self) -> float | None:
        """As of its facts, or by its graph, which takes a while."""
        return self.facts.multiply_adds


def read_facts(path: pathlib.Path, more: tuple[str, ...] = ()) -> dict:
    """What an export's JSON says of its network; UserError where it is missing or damaged.

    Args:
      path: of the JSON.
      more: what it must say beside NEEDED.
    """
    try:
        told = json.loads(path.read_text())
        for fact in more:
            told[fact]
        return told | {fact: int(told[fact]) for fact in NEEDED}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: missing or damaged; it says what the network needs, so keep the files "
            "that `tf-deblur export` writes together"
        ) from error


def make_facts(told: dict, **others: object) -> Facts:
    """The `Facts` among all that is told of a network, and others in their place."""
    names = [field.name for field in dataclasses.fields(Facts)]
    return Facts(**{name: told[name] for name in names if name in told} | others)


def refuse(
    path: pathlib.Path,
    problem: Exception | str,
    what: str = "damaged, or not made by `tf-deblur export`",
) -> NoReturn:
    """Raises the UserError for a file that does not open, because of an exception or words."""
    cause = problem if isinstance(problem, Exception) else None
    raise UserError(f"{path}: {what} ({explain(problem)})") from cause


def explain(problem: Exception | str) -> str:
    """An exception's first line that says something; those of some libraries begin with others."""
    lines = [line.strip() for line in str(problem).splitlines()]
    told = [line for line in lines if line and not SILENT.match(line)]
    return told[0][:200] if told else type(problem).__name__
