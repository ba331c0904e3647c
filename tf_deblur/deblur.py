"""Restores blurred photographs: photo.jpg becomes photo_restored.jpg beside it.

python -m tf_deblur.deblur photo.jpg another.png
"""

import pathlib
import sys
import time

from absl import flags

from tf_deblur import errors

_MODEL = flags.DEFINE_string(
    "model",
    "compact",
    "A preset, a working directory, a .safetensors file, a SavedModel or a .tflite file.",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder for the restored photographs; beside the originals if not given. "
    "Results of an earlier run are replaced, originals never.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "auto",
    ["auto", "float32", "bfloat16"],
    "Of the arithmetic; auto takes bfloat16 where the device is faster in it.",
)


def main(argv):
    jobs = plan(argv[1:])
    from tf_deblur import restorer

    restore = restorer.load(_MODEL.value, _PRECISION.value)
    print(f"restoring with {restore}", flush=True)
    done = sum(restored(restore, path, target) for path, target in with_progress(jobs))
    if len(jobs) > 1:
        print(f"{done} of {len(jobs)} restored")
    return 0 if done == len(jobs) else 1


def plan(names):
    """Each photograph and the file it becomes; None if that would replace a file of this run."""
    if not names:
        raise errors.UserError("no photograph named; say for instance: tf-deblur deblur photo.jpg")
    paths = list(dict.fromkeys(map(pathlib.Path, names)))
    taken = {path.resolve() for path in paths}
    jobs = []
    for path in paths:
        folder = pathlib.Path(_OUTPUT.value) if _OUTPUT.value else path.parent
        target = folder / f"{path.stem}_restored{path.suffix}"
        jobs.append((path, None if target.resolve() in taken else target))
        taken.add(target.resolve())
    return jobs


def with_progress(jobs):
    """The jobs, with a bar on standard error if that is a terminal and they are several."""
    from tqdm import tqdm

    return tqdm(jobs, unit="photo", leave=False, disable=None if len(jobs) > 1 else True)


def restored(restore, path, target):
    """Restores one file and prints its line; False, with a line that says why, if it cannot."""
    from tqdm import tqdm

    begin = time.monotonic()
    try:
        height, width = restore_file(restore, path, target)
    except errors.UserError as error:
        tqdm.write(f"error: {error}", file=sys.stderr)
        return False
    tqdm.write(f"{path} -> {target} ({width}x{height}, {time.monotonic() - begin:.1f} s)")
    return True


def restore_file(restore, path, target):
    from tf_deblur import images

    if target is None:
        raise errors.UserError(
            f"{path}: its result would replace another file named here; run it by itself"
        )
    with errors.quiet():  # decoders print what they think of a file
        blurred = images.read(path)
    images.check_suffix(target)
    images.write(target, restore(blurred))
    return blurred.shape[:2]


def cli():
    errors.run(main)


if __name__ == "__main__":
    cli()
