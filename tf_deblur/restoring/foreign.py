"""Networks that others trained: how pictures go in and come out, told by the file, or asked.

Whatever runs one finds a `Network` in a file; what nobody says of it is tried on pictures of grey.
"""

import contextlib
import dataclasses
import gc
import hashlib
import math
import os
import pathlib
from collections.abc import Callable

import numpy as np

from tf_deblur import errors, memory
from tf_deblur.errors import BadPicture, UserError
from tf_deblur.restoring import describing, engine, reach, tiling

MULTIPLES = [2**power for power in range(8)]  # of sizes, that are tried, on sides of TRIED or more
TRIED = 48
SIDES = 32, 64, 128, 256  # pixels of what memory is measured on, and arithmetic on the last
PIXEL_BYTES = 16_000  # where it cannot be measured: what 20 million weights take
LEAST = 24  # bytes of a pixel that goes in, and comes out
# of larger tiles, and of many: MAXIM's take 5,254 bytes a pixel at 512, 4,766 at 256, and more
# with each: with 9 / 8 its 48 of a 12-megapixel picture took 4.11e9 bytes of 4e9
SLACK = 5 / 4
STEEP = 8  # times the memory for four times the pixels: more than grows by the pixel
SMALL = 12e6  # bytes; what is taken beside pixels hides how smaller ones grow


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
      told: what the file says of itself, by `describing.KEYS`.
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
      told: of `describing.read_told`.
      how: precision, why, device, as `Engine` takes them.
    """

    def __init__(self, name: str | os.PathLike, network: Network, told: dict, *how: str) -> None:
        self._name, self._network, told = name, network, network.told | told
        self._layout = self._find_layout(told.get("layout"))
        self._dtype = self._find_dtype()
        self._low, self._high = self._find_range(told.get("range"))
        down, across, _ = describing.LAYOUTS[self._layout]
        sides = network.shape[down], network.shape[across]
        fixed = None if sides == (None, None) else (sides[0] or sides[1], sides[1] or sides[0])
        read = "radius" not in told and network.ops and reach.measure(*network.ops(None))
        radius, multiple = read or (told.get("radius"), None)
        multiple = told.get("size_multiple") or multiple
        with errors.quiet():
            multiple = multiple or (1 if fixed else self._try_multiples())
            smallest = fixed or self._find_smallest(multiple)
            tried = [told["tile_size"]] if "tile_size" in told else SIDES
            lengths = dict.fromkeys(_up(side, multiple) for side in tried)
            sizes = [fixed] if fixed else [(length, length) for length in lengths]
            held, taken, most = self._measure_memory(smallest, sizes)
        if fixed and radius is not None:
            margin = tiling.compute_margin(radius, multiple)
            if min(fixed) <= 2 * margin or any(side % multiple for side in fixed):
                radius = None  # no tile of one such size is exact
        facts = engine.Facts(
            size_multiple=multiple,
            radius=radius,
            channels=3,
            pixel_bytes=told.get("pixel_bytes") or taken,
            fixed_size=fixed,
            smallest=smallest,
            tile_pixels=math.prod(sizes[0]) if "tile_size" in told else most,
            held_bytes=held,
            parameters=network.parameters,
            weights_sha256=_hash(pathlib.Path(name)),
        )
        super().__init__(facts, *how)

    def run(self, batch: np.ndarray) -> np.ndarray:
        given = batch * np.float32(self._high - self._low) + np.float32(self._low)
        if self._layout == "NCHW":
            given = np.ascontiguousarray(given.transpose(0, 3, 1, 2))
        if np.issubdtype(self._dtype, np.integer):
            given = np.rint(given, out=given)
        try:
            made = np.asarray(self._network.run(given.astype(self._dtype, copy=False)))
        except self.ran_out:
            raise
        except Exception as error:  # each library has its own, and no family of them
            size = f"{batch.shape[2]}x{batch.shape[1]}"
            reason = engine.explain(error)
            raise BadPicture(f"{self._name} does not run on {size} ({reason})") from error
        if made.ndim == 4 and self._layout == "NCHW":
            made = made.transpose(0, 2, 3, 1)
        if made.shape != batch.shape:
            raise self._refuse(_explain_shape(batch.shape, made.shape))
        made = made.astype(np.float32) - np.float32(self._low)
        return made / np.float32(self._high - self._low)

    def count_multiply_adds(self) -> float | None:
        """On a tile of SIDES' last; None where the graph does not tell."""
        if not self._network.ops:
            return None
        size = self.facts.fixed_size or (_up(SIDES[-1], self.facts.size_multiple),) * 2
        counted = reach.count(self._network.ops(size)[0])
        return counted and counted / math.prod(size)

    def _find_layout(self, told):
        shape = self._network.shape
        if len(shape) != 4 or shape[0] not in (None, 1) or 0 in shape:
            raise self._refuse(f"takes {_show(shape)}, which is not one picture")
        axes = {name: shape[channels] for name, (*_, channels) in describing.LAYOUTS.items()}
        fit = [name for name in axes if axes[name] == 3]
        if not {1, 2, 3, 4} & {*shape[1:]}:  # a number of channels stands nowhere
            fit = [name for name in axes if axes[name] is None]
        if not fit or told and told not in fit:
            raise self._refuse(
                f"takes {_show(shape)}, which is no picture of 3 channels, {told or 'NHWC or NCHW'}"
            )
        if len(fit) > 1 and not told:
            raise self._ask("its layout", '{"layout": "NHWC"} or {"layout": "NCHW"}')
        return told or fit[0]

    def _find_dtype(self):
        kind = self._network.dtype
        with contextlib.suppress(TypeError):  # NumPy does not know what it is
            if np.dtype(kind) != bool:
                return np.dtype(kind)
        raise self._refuse(f"takes {kind}, which is no kind of number that pictures are given in")

    def _find_range(self, told):
        if told is None and self._dtype != np.uint8:
            known = '{"range": [0, 1]}, [0, 255] or [-1, 1]'
            raise self._ask("which numbers are black and white", known)
        return told or [0, 255]

    def _try_multiples(self):
        """The smallest of MULTIPLES that sizes may be of."""
        for multiple in MULTIPLES:
            side = multiple * (-(-TRIED // multiple) | 1)  # no multiple of twice as much
            try:
                self.run(_grey(side, side))
                return multiple
            except UserError as error:
                problem = error
        raise problem

    def _find_smallest(self, multiple):
        """The smallest (height, width) of those tried at which it runs: some mirror their edges."""
        for side in (multiple * n for n in MULTIPLES if n == 1 or multiple * n <= SIDES[-1]):
            try:
                self.run(_grey(side, side))
                return side, side
            except UserError as error:
                problem = error
        raise problem

    def _measure_memory(self, smallest, sizes):
        """(bytes held, and for each pixel, pixels of a tile at most), by tiles of growing sizes.

        Where memory grows much faster than pixels, as that of attention does, none is larger.
        """
        self.run(_grey(*smallest))  # what a library takes once is not of its pixels
        gc.collect()  # TensorFlow's graphs refer to themselves
        memory.trim()
        held, taken, pixels = memory.read("VmRSS"), 0, 1
        for size in sizes:
            before, peak = taken, memory.measure_peak(lambda size=size: self.run(_grey(*size)))
            if peak is None:
                return held, PIXEL_BYTES, math.inf
            taken, pixels = peak - held, math.prod(size)
            if before and taken > STEEP * max(before, SMALL):
                return held, math.ceil(taken / pixels), pixels
        return held, max(math.ceil(SLACK * taken / pixels), LEAST), math.inf

    def _refuse(self, problem):
        return UserError(f"{self._name}: {problem}")

    def _ask(self, what, example):
        return UserError(
            f"{self._name}: does not say {what}; add {example} {describing.say_where(self._name)}"
        )


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
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _show(shape):
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"


def _grey(height, width):
    return np.full((1, height, width, 3), 0.5, np.float32)


def _up(length, multiple):
    return -(-length // multiple) * multiple
