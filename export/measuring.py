"""How good, fast and large in memory a `.tflite` file is: what its JSON says of it.

python -m tf_deblur.export.measuring FILE.tflite PICTURES.npz RESTORED.npz

runs a file in a process of its own, so that the memory is the file's: without TensorFlow
where LiteRT is installed.
"""

import json
import math
import pathlib
import platform
import subprocess
import sys
import tempfile
import timeit
import typing
from collections.abc import Sequence

import numpy as np

from tf_deblur import devices, memory
from tf_deblur.errors import UserError
from tf_deblur.pictures import arrays
from tf_deblur.restoring import restorer, tflite_backend
from tf_deblur.scoring import metrics

if typing.TYPE_CHECKING:
    import keras

    from tf_deblur.export.real_pictures import Pictures

TILE = 1024, 1024  # what a file that takes any size is timed with
ROUNDS = 3  # of the same 8-bit tile, all included; the best counts
LOST = 0.1  # dB of restored PSNR; what loses more is marked


class Judge:
    """Keras's results on some pictures, for files that take pictures of one size, or of any.

    Args:
      model: a generator of `networks.build_generator`.
      pictures: `real_pictures.Pictures`; if it has none, a pattern stands in, and that is said.
      size: (height, width) that pictures are mirrored up to, or None.
    """

    def __init__(
        self, model: "keras.Model", pictures: "Pictures", size: tuple[int, int] | None
    ) -> None:
        from tf_deblur.models import networks

        self._blurred = list(pictures.blurred) or [make_pattern()]
        self._sharp = pictures.sharp
        count = len(pictures.blurred)
        self._source = f"{count} of {pictures.name}" if count else "a pattern, no real picture"
        self._large = [arrays.to_float(mirror(picture, size)) for picture in self._blurred]
        self._keras = [networks.restore(model, large[None])[0].numpy() for large in self._large]

    def __call__(self, file: pathlib.Path) -> dict:
        """What the JSON of a `.tflite` file says that running it has shown.

        Raises:
          UserError: its results are no pictures.
        """
        description, restored = run_apart(file, self._large)
        apart = [np.abs(mine - keras) for mine, keras in zip(restored, self._keras)]
        largest = float(max(map(np.max, apart)))
        if not math.isfinite(largest):
            raise UserError(f"{file.name}: gives numbers that are none, where Keras restores")
        near = [metrics.psnr(*both, data_range=1) for both in zip(restored, self._keras)]
        measured = description.pop("measured") | {
            "pictures": self._source,
            "largest_difference": largest,
            "psnr_to_keras": round(float(np.mean(near)), 2) if np.all(np.isfinite(near)) else None,
        }
        psnr = self._psnr(restored) if self._sharp else None
        short = psnr["keras"] - psnr["restored"] > LOST if psnr else None
        return description | {"measured": measured, "psnr": psnr, "worse_than_float32": short}

    def _psnr(self, restored):
        """Means over the pairs, of 8-bit pictures, by Keras in float32 too."""

        def mean(pictures):
            pairs = zip(pictures, self._sharp)
            return float(np.mean([score(picture, sharp) for picture, sharp in pairs]))

        by = {"blurred": self._blurred, "keras": self._keras, "restored": restored}
        return {"pairs": self._source} | {who: round(mean(p), 3) for who, p in by.items()}


def score(picture: np.ndarray, sharp: np.ndarray) -> float:
    height, width = sharp.shape[:2]
    picture = arrays.to_uint8(arrays.to_float(picture[:height, :width]))
    return metrics.psnr(picture, sharp, data_range=255)


def mirror(picture: np.ndarray, size: tuple[int, int] | None) -> np.ndarray:
    """A picture with its sides mirrored up to a size, as far as they are shorter."""
    more = [max(0, least - side) for least, side in zip(size or (0, 0), picture.shape)]
    return np.pad(picture, [*((0, length) for length in more), (0, 0)], mode="reflect")


def make_pattern(side: int = 256) -> np.ndarray:
    """Waves of every direction and length, where no real picture was named."""
    down, across = np.mgrid[:side, :side] / side
    waves = np.sin(200 * down**2 + 120 * across**2)[..., None] * [1, 0.7, 0.4]
    return arrays.to_uint8((1 + waves) / 2)


def run_apart(file: pathlib.Path, pictures: Sequence[np.ndarray]) -> tuple[dict, list[np.ndarray]]:
    """`run_file` in a process of its own: what it tells, and the restored pictures."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = (pathlib.Path(folder, name) for name in ("given.npz", "made.npz"))
        np.savez(given, *pictures)
        line = [sys.executable, "-m", __name__, *map(str, (file, given, made))]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{file.name}: does not run: {done.stderr}")
        with np.load(made) as restored:
            return json.loads(done.stdout), list(restored.values())


def run_file(file: str, pictures: str, restored: str) -> dict:
    """Runs a file on the pictures of an .npz file, writes another, and tells time and memory."""
    _, runtime = tflite_backend.find_interpreter()
    before = memory.read("VmRSS")
    restore = restorer.TiledRestorer(file, tflite_backend.TFLiteEngine(file, "auto"))
    if not restore.engine.facts.fixed_size:  # else opening it takes what running takes
        before = memory.read("VmRSS")
    usual, restore.memory = restore.memory, math.inf
    size = restore.engine.facts.fixed_size or TILE
    tile = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    restore(tile)
    pixel_bytes = math.ceil((memory.read("VmHWM") - before) / math.prod(size))
    seconds = min(timeit.repeat(lambda: restore(tile), number=1, repeat=ROUNDS))
    restore.memory = usual
    with np.load(pictures) as given:
        np.savez(restored, *(restore(picture) for picture in given.values()))
    measured = {
        "by": runtime,
        "on": f"{platform.machine()}, {devices.count_cores()} threads",
        "milliseconds_a_megapixel": round(seconds * 1e9 / math.prod(size), 1),
    }
    return {"pixel_bytes": pixel_bytes, "measured": measured}


if __name__ == "__main__":
    print(json.dumps(run_file(*sys.argv[1:])))
