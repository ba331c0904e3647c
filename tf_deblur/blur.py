"""Blurs photographs, as a shaking hand does: photo.jpg becomes photo_blurred.png beside it.

python -m tf_deblur.blur photo.jpg another.png
"""

import pathlib
import sys
import time
import typing
from collections.abc import Iterable

from absl import flags

from tf_deblur import errors
from tf_deblur.pictures import formats
from tf_deblur.restoring import jobs

if typing.TYPE_CHECKING:
    import numpy as np

_EXTENT = flags.DEFINE_float(
    "extent",
    None,
    "Move the picture's centre in a box whose larger side has so many pixels. If not given, a "
    "fiftieth of the picture's larger side; a recording keeps its own.",
    lower_bound=0.1,
)
_MOVING = flags.DEFINE_bool(
    "moving", False, "Move a region of the picture on a path of its own, of the same extent."
)
_NOISE = flags.DEFINE_float(
    "noise", 0.004, "Add a sensor's noise of this standard deviation; white is 1.", 0, 1
)
_LINEAR = flags.DEFINE_bool(
    "linear", True, "Average light, as a sensor does; --nolinear averages encoded values."
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Draw the blur from this seed; another one, another blur.", lower_bound=0
)
_GYRO = flags.DEFINE_string(
    "gyro",
    None,
    "Play back the rotations in a recorded gyro.txt; docs/reference/blur.md has its format.",
)
_WRITE_GYRO = flags.DEFINE_bool(
    "write_gyro", False, "Write photo_gyro.txt too, what a phone would have recorded."
)
_KERNEL = flags.DEFINE_bool(
    "kernel",
    False,
    "Draw photo_kernel.png too: what becomes of a point in nine places of the picture, and "
    "at its right the same in a moving region.",
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Write into this folder; beside the photographs if not given."
)

BLURRED, KERNEL, GYRO = "_blurred.png", "_kernel.png", "_gyro.txt"


def main(argv: list[str]) -> int:
    planned = plan(argv[1:])
    from tf_deblur.blurring import gyro

    recorded = gyro.read(_GYRO.value) if _GYRO.value else None
    wanted = [job for job in planned if not job.done]
    done = sum(try_file(job, recorded) for job in show_progress(wanted))
    skipped = len(planned) - len(wanted)
    if len(planned) > 1 or skipped:
        errors.say(f"{done} of {len(planned)} blurred" + f", {skipped} skipped" * bool(skipped))
    return 0 if done == len(wanted) else 1


def plan(names: list[str]) -> list[jobs.Job]:
    """A job for each photograph that the arguments name; what we made in a folder is done."""
    made = (BLURRED, *[KERNEL] * _KERNEL.value, *[GYRO] * _WRITE_GYRO.value)
    return jobs.plan_all(
        names,
        lambda path: made,
        endings=("_blurred", "_kernel"),
        wanted=formats.READ,
        output=_OUTPUT.value,
        spared=[_GYRO.value] if _GYRO.value else [],
    )


def show_progress(planned: list[jobs.Job]) -> Iterable[jobs.Job]:
    """The jobs, with a bar on standard error if that is a terminal and they are several."""
    from tqdm import tqdm

    return tqdm(planned, unit="photo", leave=False, disable=None if len(planned) > 1 else True)


def try_file(job: jobs.Job, recorded: "np.ndarray | None") -> bool:
    """Blurs one file and prints its line; False, with a line that says why, if it cannot."""
    from tf_deblur.restoring import pipeline

    begin = time.monotonic()
    try:
        height, width = blur_file(job, recorded)
    except pipeline.PROBLEMS as error:
        errors.say(f"error: {pipeline.explain(error, job.source)}", sys.stderr)
        return False
    facts = f"{width}x{height}, {time.monotonic() - begin:.1f} s"
    errors.say(f"{job.source} -> {job.target} ({facts})")
    return True


def blur_file(job: jobs.Job, recorded: "np.ndarray | None") -> tuple:
    import numpy as np

    from tf_deblur.blurring import gyro, motion
    from tf_deblur.pictures import arrays, photographs

    if job.problem:
        raise errors.UserError(f"{job.source}: {job.problem}")
    with errors.quiet():  # decoders print what they think of a file
        sharp = photographs.read(job.source)
    size, focal = sharp.shape[:2], max(sharp.shape)
    rng = np.random.default_rng([_SEED.value, *pathlib.Path(job.source).stem.encode()])
    extent = _EXTENT.value or focal / 50
    camera = motion.draw_camera_motion(rng, extent, focal) if recorded is None else recorded
    if _EXTENT.value:
        camera = motion.stretch(camera, extent, focal)
    motions = [camera, motion.draw_object_motion(rng, extent, focal)][: 1 + _MOVING.value]
    paths, shares = motion.trace_paths(motions, focal, size)
    moving = (motion.draw_region(rng, *size), paths[1]) if _MOVING.value else None
    result = motion.blur(arrays.to_float(sharp), paths[0], shares, moving, _LINEAR.value)
    result = motion.add_noise(rng, result, _NOISE.value)
    photographs.write(job.target, arrays.from_float(result, sharp.dtype))
    others = iter(job.results[1:])
    if _KERNEL.value:
        photographs.write(next(others), draw_kernels(paths, shares, size))
    if _WRITE_GYRO.value:
        gyro.write(next(others), camera)
    return size


def draw_kernels(paths: list, shares: "np.ndarray", size: tuple) -> "np.ndarray":
    """Every path's kernels in nine places: a (height, width, 3) uint8 picture, enlarged."""
    import numpy as np

    from tf_deblur.blurring import motion
    from tf_deblur.pictures import arrays

    places = [(x * size[1], y * size[0]) for y in (-0.4, 0, 0.4) for x in (-0.4, 0, 0.4)]
    drawn = [[motion.draw_kernel(path, shares, place) for place in places] for path in paths]
    side = max(len(kernel) for nine in drawn for kernel in nine)
    larger = max(1, 160 // side)
    sheet = []
    for nine in drawn:
        tiles = [np.kron(_pad(kernel, side), np.ones((larger, larger))) for kernel in nine]
        framed = [np.pad(tile, 1, constant_values=0.3) for tile in tiles]
        sheet.append(np.vstack([np.hstack(framed[row : row + 3]) for row in (0, 3, 6)]))
    return arrays.to_uint8(np.repeat(np.hstack(sheet)[..., None], 3, axis=-1))


def _pad(kernel, side):
    """A kernel in the middle of a square; the brightest point is white, encoded for a screen."""
    import numpy as np

    from tf_deblur.blurring import motion

    return np.pad(kernel / kernel.max(), (side - len(kernel)) // 2) ** (1 / motion.GAMMA)


def cli() -> None:
    errors.run(main, tensorflow=False)


if __name__ == "__main__":
    cli()
