"""How long restoring takes, and how much memory: one table.

python benchmarks/restore.py [--models=compact,paper] [--sizes=1280x720,4000x3000]

Each cell is a process of its own, so that its peak memory is its own.
"""

import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from absl import app, flags

_MODELS = flags.DEFINE_list("models", ["compact"], "Presets; paper takes 50 times as long.")
_SIZES = flags.DEFINE_list("sizes", ["256x256", "1280x720", "4000x3000"], "Pictures to restore.")
_PRECISIONS = flags.DEFINE_list("precisions", ["float32", "bfloat16"], "Of the arithmetic.")
_MEMORY_GB = flags.DEFINE_float("memory_gb", 2.0, "The budget in which pictures are tiled.")
_ONE = flags.DEFINE_string("one", None, "Measures one cell, as JSON; for this program itself.")


def main(_):
    if _ONE.value:
        print(json.dumps(measure(**json.loads(_ONE.value))))
        return
    print("| network | picture | precision | s | s a megapixel | tiles | tiled / whole | peak GB |")
    print("|---|---|---|---|---|---|---|---|")
    for model in _MODELS.value:
        for size in _SIZES.value:
            for precision in _PRECISIONS.value:
                table_row(model, size, precision)
    photographs()


def table_row(model, size, precision):
    cell = {"model": model, "size": size, "precision": precision}
    whole = run(**cell, memory_gb=1000)  # up to 16 megapixels, the largest tile
    tiled = run(**cell, memory_gb=_MEMORY_GB.value)
    for kind, told in [("whole", whole), (f"in {_MEMORY_GB.value:g} GB", tiled)]:
        ratio = f"{tiled['seconds'] / whole['seconds']:.2f}" if told is tiled else ""
        print(
            f"| {model} | {size}, {kind} | {precision} | {told['seconds']:.2f} | "
            f"{told['seconds'] / told['megapixels']:.3f} | {told['tiles']} | {ratio} | "
            f"{told['peak_gb']:.2f} ({told['idle_gb']:.2f} before) |",
            flush=True,
        )


def run(**cell):
    line = [sys.executable, __file__, f"--one={json.dumps(cell)}"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(model, size, precision, memory_gb, rounds=3):
    """Best of several rounds of one picture, and the process's peak memory."""
    import numpy as np

    import tf_deblur

    width, height = map(int, size.split("x"))
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    restore = tf_deblur.load(model, precision=precision, memory_gb=memory_gb)
    restore(picture[:256, :256])
    idle, seconds = peak_gb(), []
    for _ in range(rounds):
        begin = time.monotonic()
        restore(picture)
        seconds.append(time.monotonic() - begin)
    return {
        "seconds": min(seconds),
        "megapixels": width * height / 1e6,
        "tiles": len(restore.tiles(height, width)),
        "idle_gb": idle,
        "peak_gb": peak_gb(),
    }


def peak_gb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def photographs(count=50, side=1000):
    """A folder against the network alone, and one photograph from the command line."""
    import numpy as np

    import tf_deblur
    from tf_deblur import images

    with tempfile.TemporaryDirectory() as folder:
        inside = pathlib.Path(folder)
        rng = np.random.default_rng(0)
        for number in range(count):
            coarse = rng.integers(0, 256, (side // 20, side // 20, 3), np.uint8)
            images.write(inside / f"in/{number:02d}.jpg", coarse.repeat(20, 0).repeat(20, 1))
        line = [sys.executable, "-m", "tf_deblur.deblur", "--output", inside / "out"]
        one = timed(subprocess.run, [*line, inside / "in/00.jpg"], check=True, capture_output=True)
        many = timed(subprocess.run, [*line, inside / "in"], check=True, capture_output=True)
        restore = tf_deblur.load("compact")
        picture = images.read(inside / "in/00.jpg")
        restore(picture)
        alone = min(timed(restore, picture) for _ in range(5))
    print(f"\none photograph of {side**2 / 1e6:.0f} megapixel from the command line: {one:.1f} s")
    share = alone * (count - 1) / (many - one)
    print(f"a folder of {count}: at {share:.0%} of the network's own speed, start-up left out")


def timed(function, *arguments, **options):
    begin = time.monotonic()
    function(*arguments, **options)
    return time.monotonic() - begin


if __name__ == "__main__":
    app.run(main)
