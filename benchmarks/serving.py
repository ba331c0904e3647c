"""How long a server takes for an upload, and how much memory: one table.

python benchmarks/serving.py [--saved_model=exported/compact/1] [--sizes=1280x720,6000x4000]

Without a SavedModel `compact` is exported first. Each row is a process of its own, which does
what TensorFlow Serving does: it loads the model, and runs `serving_default` on a JPEG file.
"""

import os
import pathlib
import re
import tempfile
import time

import numpy as np
from absl import flags
from apart import Apart

from tf_deblur import errors

_SAVED_MODEL = flags.DEFINE_string("saved_model", None, "A version's folder.")
_SIZES = flags.DEFINE_list("sizes", ["1280x720", "4000x3000", "6000x4000", "8660x5776"], "Files.")
_ROUNDS = flags.DEFINE_integer("rounds", 2, "Of each measurement; the best counts.", 1)


def main(argv):
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; this benchmark takes flags only")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by the processes started below
    with tempfile.TemporaryDirectory() as folder:
        saved_model = _SAVED_MODEL.value
        if not saved_model:
            with Apart(export, folder):
                saved_model = f"{folder}/compact/1"
        print("GB: of the process before, at the peak, and what the request added; PNG in MB.")
        print("| file | s | s a megapixel | before | peak | request | PNG |")
        print("|---|---|---|---|---|---|---|")
        for size in _SIZES.value:
            with Apart(Served, saved_model, size) as served:
                rows = [served() for _ in range(_ROUNDS.value)]
            row = max(rows, key=lambda each: each["peak"])
            seconds = min(each["seconds"] for each in rows)
            print(
                f"| {size} | {seconds:.2f} | {seconds / row['megapixels']:.2f} "
                f"| {row['before']:.2f} | {row['peak']:.2f} | {row['peak'] - row['before']:.2f} "
                f"| {row['png'] / 1e6:.1f} |",
                flush=True,
            )


def export(folder):
    """Its result has to be callable; there is nothing to call."""
    from tf_deblur.export import __main__ as command
    from tf_deblur.export import saved_model
    from tf_deblur.models import weights

    model = weights.load("compact")
    saved_model.write(model, command.describe(model, "compact"), pathlib.Path(folder))
    return print


class Served:
    """A model with its warm-up behind it, and a file to send."""

    def __init__(self, saved_model, size):
        import tensorflow as tf

        width, height = map(int, size.split("x"))
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
        image = tf.image.resize(coarse, (height, width), "bicubic")
        image = tf.saturate_cast(image + rng.normal(0, 4, image.shape).astype("f4"), tf.uint8)
        self.file = tf.io.encode_jpeg(image, quality=92)[None]
        self.megapixels = height * width / 1e6
        self.loaded = tf.saved_model.load(saved_model)
        self.loaded.signatures["uint8"](image=image[None, :128, :128])

    def __call__(self):
        before = process_gb("VmRSS")
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        begin = time.monotonic()
        answer = self.loaded.signatures["serving_default"](image_bytes=self.file)
        seconds = time.monotonic() - begin
        png = len(answer["restored_bytes"].numpy()[0])
        peak = process_gb("VmHWM")
        told = {"seconds": seconds, "before": before, "peak": peak, "png": png}
        return told | {"megapixels": self.megapixels}


def process_gb(field):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s*(\d+)", status)[1]) * 1024 / 1e9


if __name__ == "__main__":
    errors.run(main)
