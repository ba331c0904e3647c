"""How long a server takes for an upload, and how much memory: one table.

python benchmarks/upload.py [--saved_model=exported/compact/1] [--sizes=1280x720,6000x4000]

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
from apart import Apart, alone

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
            alone(export, folder)
            saved_model = f"{folder}/compact/1"
        print("GB: of the process before, at the peak, and what the request added; PNG in MB.")
        print("| file | s | s a megapixel | before | peak | request | PNG |")
        print("|---|---|---|---|---|---|---|")
        for size in _SIZES.value:
            photo = pathlib.Path(folder) / f"{size}.jpg"
            alone(make, size, photo)  # in the server's process its memory would hide the request's
            with Apart(Served, saved_model, photo) as served:
                rows = [served() for _ in range(_ROUNDS.value)]
            seconds, peak = min(r["seconds"] for r in rows), max(r["peak"] for r in rows)
            before, megapixels, png = (rows[0][key] for key in ("before", "megapixels", "png"))
            print(
                f"| {size} | {seconds:.2f} | {seconds / megapixels:.2f} | {before:.2f} "
                f"| {peak:.2f} | {peak - before:.2f} | {png / 1e6:.1f} |",
                flush=True,
            )


def export(folder):
    from tf_deblur.export import describe, saved_model
    from tf_deblur.models import weights

    model = weights.load("compact")
    saved_model.write(model, describe(model, "compact"), pathlib.Path(folder))


def make(size, path):
    """Blocks of colour under noise, which a JPEG file holds as badly as a photograph's detail."""
    import cv2

    width, height = map(int, size.split("x"))
    rng = np.random.default_rng(0)
    blocks = rng.integers(30, 226, (25, 25, 3)).repeat(20, 0).repeat(20, 1)
    patch = (blocks + rng.normal(0, 8, blocks.shape)).clip(0, 255).astype(np.uint8)
    image = np.tile(patch, (height // 500 + 1, width // 500 + 1, 1))[:height, :width]
    cv2.imwrite(str(path), image)


class Served:
    """A model that a warm-up is behind, and a file to send."""

    def __init__(self, saved_model, path):
        import tensorflow as tf

        self.file = tf.io.read_file(str(path))[None]
        height, width, _ = tf.io.extract_jpeg_shape(self.file[0]).numpy()
        self.megapixels = height * width / 1e6
        self.loaded = tf.saved_model.load(saved_model)
        self.loaded.signatures["uint8"](image=np.zeros((1, 128, 128, 3), np.uint8))

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
