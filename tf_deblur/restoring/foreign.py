"""Networks that others trained: how pictures go in and come out, told by the file, or asked.

Whatever runs one finds a `Network` in a file; what the file does not say of it, JSON beside the
file says, or the user. The rest is tried on a small picture of grey.
"""

import dataclasses
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Callable

import numpy as np

from tf_deblur import errors, memory
from tf_deblur.errors import UserError
from tf_deblur.restoring import engine, reach

KEYS = ("range", "layout", "size_multiple", "tile_size", "radius", "pixel_bytes", "output")
LAYOUTS = {"NHWC": (1, 2, 3), "NCHW": (2, 3, 1)}  # where rows, columns and channels are
MULTIPLES = [2**power for power in range(8)]  # of sizes, that are tried
SIDE = 256  # pixels of what memory and arithmetic are measured on
PIXEL_BYTES = 16_000  # where it cannot be measured: what 20 million weights take
LEAST = 24  # bytes of a pixel that goes in, and comes out


@dataclasses.dataclass
class Network:
    """What a backend finds in a file.

    Attributes:
      run: an array, as the file takes it, to what it gives; any exception: not of this size.
      shape: of what it takes, None for any length.
      dtype: of that, as NumPy calls it.
      ops: a function of (height, width), which may be None: (the graph's `reach.Op`s, the names
        of what goes in and comes out); None where they cannot be read.
      parameters: how many numbers were trained.
      told: what the file says of itself, by KEYS.
    """

    run: Callable
    shape: tuple
    dtype: str
    ops: Callable | None = None
    parameters: int | None = None
    told: dict = dataclasses.field(default_factory=dict)


class ForeignEngine(engine.Engine):
    """A network that others trained, behind what its pictures look like.

    Args:
      name: what the user called it.
      network: the `Network`.
      told: of `read_told`.
      how: precision, why, device, as `Engine` takes them.
    """

    def __init__(self, name: str | os.PathLike, network: Network, told: dict, *how: str) -> None:
        self._name, self._network, told = name, network, network.told | told
        self._layout = self._find_layout(told.get("layout"))
        self._low, self._high = self._find_range(told.get("range"))
        down, across, _ = LAYOUTS[self._layout]
        sides = network.shape[down], network.shape[across]
        fixed = None if sides == (None, None) else (sides[0] or sides[1], sides[1] or sides[0])
        radius, multiple = self._measure_reach() if "radius" not in told else (told["radius"], None)
        multiple = told.get("size_multiple") or multiple or (1 if fixed else self._try_multiples())
        size = fixed or (_up(SIDE, multiple),) * 2
        held, taken = self._measure_memory(size, fixed or (multiple, multiple))
        trained = told.get("tile_size")
        facts = engine.Facts(
            size_multiple=multiple,
            radius=radius,
            channels=3,
            pixel_bytes=told.get("pixel_bytes") or taken,
            fixed_size=fixed,
            tile_pixels=trained**2 if trained else math.inf,
            held_bytes=held,
            parameters=network.parameters,
            weights_sha256=_hash(pathlib.Path(name)),
        )
        super().__init__(facts, *how)

    def run(self, batch: np.ndarray) -> np.ndarray:
        given = batch * np.float32(self._high - self._low) + np.float32(self._low)
        if self._layout == "NCHW":
            given = np.ascontiguousarray(given.transpose(0, 3, 1, 2))
        if np.issubdtype(self._network.dtype, np.integer):
            given = np.rint(given, out=given)
        made = np.asarray(self._network.run(given.astype(self._network.dtype, copy=False)))
        if made.ndim == 4 and self._layout == "NCHW":
            made = made.transpose(0, 2, 3, 1)
        if made.shape != batch.shape:
            raise self._refuse(_explain_shape(batch.shape, made.shape))
        made = made.astype(np.float32) - np.float32(self._low)
        return made / np.float32(self._high - self._low)

    def count_multiply_adds(self) -> float | None:
        """On a tile of SIDE; None where the graph does not tell."""
        if not self._network.ops:
            return None
        size = self.facts.fixed_size or (_up(SIDE, self.facts.size_multiple),) * 2
        counted = reach.count(self._network.ops(size)[0])
        return counted and counted / math.prod(size)

    def _find_layout(self, told):
        shape = self._network.shape
        if len(shape) != 4:
            raise self._refuse(f"takes {_show(shape)}, which is no batch of pictures")
        fit = [name for name, (*_, channels) in LAYOUTS.items() if shape[channels] == 3]
        if not fit and shape[1] is shape[3] is None:
            fit = [*LAYOUTS]
        found = [told] if told in fit else fit
        if not found:
            raise self._refuse(f"takes {_show(shape)}; pictures of 3 channels are restored")
        if len(found) > 1:
            raise self._ask("its layout", '{"layout": "NHWC"} or {"layout": "NCHW"}')
        return found[0]

    def _find_range(self, told):
        if told is None and np.dtype(self._network.dtype) == np.uint8:
            told = [0, 255]
        if told is None:
            known = '{"range": [0, 1]}, [0, 255] or [-1, 1]'
            raise self._ask("which numbers are black and white", known)
        return told

    def _measure_reach(self):
        """(radius, size multiple), (None, None) where it may see everything."""
        found = self._network.ops and reach.measure(*self._network.ops(None))
        return found or (None, None)

    def _try_multiples(self):
        """The smallest of MULTIPLES that sizes may be of."""
        for multiple in MULTIPLES:
            side = MULTIPLES[-1] + multiple
            try:
                with errors.quiet():
                    self.run(_grey(side, side))
                return multiple
            except UserError:  # of a shape: if it is no size's, the largest one tells
                if multiple == MULTIPLES[-1]:
                    raise
            except Exception as error:
                problem = error
        engine.refuse(self._name, problem, "does not run at any size that was tried")

    def _measure_memory(self, size, first):
        """(bytes that are held, and for each pixel), by a tile of `size` after one of `first`."""
        try:
            with errors.quiet():
                if size != first:  # what a library takes once is not of its pixels
                    self.run(_grey(*first))
                memory.trim()
                held = memory.read("VmRSS")
                peak = memory.measure_peak(lambda: self.run(_grey(*size)))
        except UserError:
            raise
        except Exception as error:  # each library has its own
            engine.refuse(self._name, error, "does not run")
        return held, PIXEL_BYTES if peak is None else max(math.ceil(peak / math.prod(size)), LEAST)

    def _refuse(self, problem):
        return UserError(f"{self._name}: {problem}")

    def _ask(self, what, example):
        beside = name_beside(self._name)
        return UserError(
            f"{self._name}: does not say {what}; add {example} as {beside}, or by --model_facts"
        )


def choose_output(name: str | os.PathLike, outputs: dict[str, str], told: dict) -> str:
    """Which of a network's results is the picture: the only one, or the one that is told.

    Args:
      name: of the network.
      outputs: what the file calls each -> what running it takes.
      told: of `read_told`.
    """
    if told.get("output") in outputs:
        return outputs[told["output"]]
    if len(outputs) > 1 or "output" in told:
        known = f'{{"output": "{list(outputs)[0]}"}}'
        raise UserError(
            f"{name}: gives {', '.join(outputs)}; say which by {known} in {name_beside(name)}, or "
            "by --model_facts"
        )
    return next(iter(outputs.values()))


def name_beside(name: str | os.PathLike) -> pathlib.Path:
    """Where JSON says what a network's file does not."""
    path = pathlib.Path(name)
    if path.is_dir() or path.name == "model.json":
        return path.with_name("model_facts.json") if path.is_file() else path / "model_facts.json"
    return path.with_suffix(".json")


def read_told(name: str | os.PathLike, asked: str | dict | None = None) -> dict:
    """What JSON beside a network's file says of it, and the user over that, by KEYS.

    Args:
      name: of the file or folder.
      asked: of the user: JSON, a file of JSON, or a dict.

    Raises:
      UserError: JSON that is none, or with other keys or values.
    """
    beside = name_beside(name)
    told = _check(_read(beside), beside) if beside.is_file() else {}
    if isinstance(asked, str):
        asked = _read(asked if asked.lstrip().startswith("{") else pathlib.Path(asked))
    return told | _check(asked or {}, "--model_facts")


def _read(source):
    try:
        return json.loads(source if isinstance(source, str) else source.read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{source}: no JSON that can be read ({reason})") from error


def _check(told, where):
    if not isinstance(told, dict) or (odd := told.keys() - set(KEYS)):
        what = f"{', '.join(sorted(odd))}: not known" if isinstance(told, dict) else "no object"
        raise UserError(f"{where}: {what}; use {', '.join(KEYS)}")
    wrong = [key for key, value in told.items() if not _fits(key, value)]
    if wrong:
        raise UserError(f"{where}: {wrong[0]} cannot be {json.dumps(told[wrong[0]])}")
    return told


def _fits(key, value):
    if key == "range":
        numbers = isinstance(value, list) and all(type(end) in (int, float) for end in value)
        return numbers and len(value) == 2 and value[0] < value[1]
    if key == "layout":
        return value in LAYOUTS
    if key == "output":
        return isinstance(value, str)
    return type(value) is int and value >= (key != "radius") or (key == "radius" and value is None)


def _explain_shape(given, made):
    if len(made) != 4 or made[-1] != 3:
        return f"gives {_show(made)} for {_show(given)}, which is no picture"
    (height, width), (tall, wide) = given[1:3], made[1:3]
    if tall * width == wide * height and (tall % height == 0 or height % tall == 0):
        return f"gives {wide}x{tall} for {width}x{height}: it changes sizes, and does not restore"
    return (
        f"gives {wide}x{tall} for {width}x{height}; its sizes may be multiples, see size_multiple"
    )


def _hash(path):
    """Of a file; None of a folder."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _show(shape):
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"


def _grey(height, width):
    return np.full((1, height, width, 3), 0.5, np.float32)


def _up(length, multiple):
    return -(-length // multiple) * multiple
