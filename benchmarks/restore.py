"""How long restoring takes, how much memory, and whether other engines are faster: three tables.

python benchmarks/restore.py [--parts=sizes,engines,photographs] [--models=compact,paper]
"""

import contextlib
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import engines
import numpy as np
from absl import flags
from apart import Apart, alone, in_turn
from engines import picture, say

from tf_deblur import errors
from tf_deblur.models import weights

_PARTS = flags.DEFINE_list("parts", ["sizes", "engines", "photographs"], "What to measure.")
_MODELS = flags.DEFINE_list("models", ["compact", "paper"], "Presets for `sizes`.")
_SIZES = flags.DEFINE_list(
    "sizes", ["256x256", "1280x720", "4000x3000", "8660x5776"], "Pictures; 12248x8165 takes long."
)
_PAPER_SIZES = flags.DEFINE_list(
    "paper_sizes", ["256x256", "1280x720"], "Pictures for `paper`, which takes 50 times as long."
)
_PRECISIONS = flags.DEFINE_list("precisions", ["float32", "bfloat16", "int8"], "Of the arithmetic.")
_MEMORY_GB = flags.DEFINE_float("memory_gb", 2.0, "The budget in which pictures are tiled.")
_ENGINE_SIZES = flags.DEFINE_list("engine_sizes", ["256x256", "1280x720"], "For `engines`.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Of each measurement; the best counts.", 1)
_ENGINE_ROUNDS = flags.DEFINE_integer("engine_rounds", 20, "The same for `engines`.", 1)
_PHOTOGRAPHS = flags.DEFINE_integer("photographs", 50, "Of one megapixel, in a folder.", 2)

TARGETS = {"tiled": 1.25, "engines": 1.05, "folder": 0.95, "one": 2.5}
FRAME = "1280x720"  # the size that `engines` is judged at: one of GoPro's frames
LARGE = 12  # megapixels, from which on tiles must cost little: margins weigh less there
SAME = {
    "float32": 1e-4,
    "bfloat16": 0.05,
    "int8": 0.5,
}  # what differs by more is not the same network


def main(argv):
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; this benchmark takes flags only")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by the processes started below
    parts = {"sizes": sizes, "engines": compare_engines, "photographs": photographs}
    print(
        f"{engines.CORES} cores; load of the machine before: {os.getloadavg()[0]:.1f}; 0 is quiet"
    )
    for part in _PARTS.value:
        if part not in parts:
            raise errors.UserError(f"--parts={part}: use any of {', '.join(parts)}")
        with tempfile.TemporaryDirectory() as folder:
            print()
            parts[part](pathlib.Path(folder))


def sizes(folder):
    """Presets × pictures × precisions, in tiles under the memory budget and in one piece."""
    print("GB: of the process before; of the picture, in, out and padded; the rest of the peak.")
    print(
        "| network | picture | precision | tiles | s | s a megapixel "
        "| peak | before | picture | rest |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    slower, most = {}, 0
    for model in _MODELS.value:
        file = model
        if model not in weights.list_presets():  # random ones take as long
            file = folder / f"{model}.safetensors"
            alone(write_random, model, file)
        for size in _PAPER_SIZES.value if model == "paper" else _SIZES.value:
            for precision in _PRECISIONS.value:
                tiled, whole = size_rows(model, file, size, precision)
                most = max(most, tiled["rest"])
                if whole and whole["megapixels"] >= LARGE:
                    slower[model, size, precision] = tiled["seconds"] / whole["seconds"]
    print()
    for cell, ratio in slower.items():
        say(f"{', '.join(cell)}: tiled to whole", ratio, TARGETS["tiled"], " times")
    say("the most that restoring in tiles took, the rest above", most, _MEMORY_GB.value, " GB")


def size_rows(model, file, size, precision):
    """Prints a picture's rows; returns (tiled, whole), the latter None if the same or too large."""
    with contextlib.ExitStack() as stack:
        cell = file, size, precision
        measured = {"tiled": stack.enter_context(Apart(Restoring, *cell, _MEMORY_GB.value))}
        if measured["tiled"](0)["tiles"] > 1:
            whole = stack.enter_context(Apart(Restoring, *cell, math.inf))
            if whole(0)["fits"]:
                measured["whole"] = whole
        told = in_turn(_ROUNDS.value, measured)
    best = {}
    for name, rounds in told.items():
        best[name] = row = rounds[-1] | {"seconds": min(each["seconds"] for each in rounds)}
        print(
            f"| {model} | {size} | {precision} | {row['tiles']} | {row['seconds']:.2f} "
            f"| {row['seconds'] / row['megapixels']:.3f} | {row['peak']:.2f} "
            f"| {row['before']:.2f} | {row['picture']:.2f} | {row['rest']:.2f} |",
            flush=True,
        )
    return best["tiled"], best.get("whole")


def write_random(name, file):
    from tf_deblur.models import networks

    weights.save(file, networks.build_generator(name))


class Restoring:
    """One picture, restored again and again; with infinite memory it is one tile."""

    def __init__(self, file, size, precision, memory_gb):
        import tf_deblur
        from tf_deblur import memory
        from tf_deblur.restoring import restorer

        width, height = map(int, size.split("x"))
        self.restore = tf_deblur.load(file, precision=precision, memory_gb=memory_gb)
        self.restore(picture(256, 256))
        self.before = process_gb("VmRSS")
        self.picture = picture(height, width)
        padded = self.restore.pad(self.picture)
        arrays = {id(array): array.nbytes for array in (self.picture, padded)}
        self.picture_gb = (sum(arrays.values()) + padded.nbytes) / 1e9
        pixels = padded.shape[0] * padded.shape[1]
        if memory_gb == math.inf:
            restorer.LARGEST_TILE = pixels
        self.told = {
            "tiles": len(self.restore.plan_tiles(height, width)),
            "megapixels": height * width / 1e6,
            "fits": self.restore.engine.facts.pixel_bytes * pixels < memory.measure_free(),
        }
        del padded
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here

    def __call__(self, times=1):
        begin = time.perf_counter()
        for _ in range(times):
            self.restore(self.picture)
        seconds, peak = time.perf_counter() - begin, process_gb("VmHWM")
        memory = {"peak": peak, "before": self.before, "picture": self.picture_gb}
        rest = peak - self.before - self.picture_gb
        return self.told | memory | {"seconds": seconds, "rest": rest}


def process_gb(kind):
    """VmRSS, what this process holds now, or VmHWM, the most that it did."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{kind}:\s*(\d+) kB", status)[1]) * 1024 / 1e9


def compare_engines(folder):
    """`compact` on every engine that is installed: seconds, and how far from Keras in float32.

    Keras is how restoring went before: a graph of the model, whose weights are variables.
    """
    alone(engines.prepare, "compact", folder)
    with contextlib.ExitStack() as stack:
        opened = {}
        for name, (_, precisions) in engines.ENGINES.items():
            try:
                for precision in [p for p in precisions if p in _PRECISIONS.value]:
                    engine = Apart(engines.Engine, name, precision, folder)
                    opened[name, precision] = stack.enter_context(engine)
            except ImportError as error:
                print(f"{name}, {precision}: left out ({error}); pip install '.[bench]'")
        print("| picture | precision | engine | ms | to Keras | largest difference |")
        print("|---|---|---|---|---|---|")
        ratios = {size: engine_rows(size, opened) for size in _ENGINE_SIZES.value}
    print()
    for (precision, ours, other), ratio in ratios.get(FRAME, {}).items():
        say(f"{FRAME}, {precision}: {ours} to {other}", ratio, TARGETS["engines"], " times")


def engine_rows(size, opened):
    """Prints a size's rows; (precision, ours, the fastest other) -> the ratio of their times."""
    width, height = map(int, size.split("x"))
    batch = picture(height, width)[None] / np.float32(255)
    warm = in_turn(2, opened, batch)
    told = in_turn(_ENGINE_ROUNDS.value, opened, batch, False)  # no more pictures: they are large
    best = {key: min(seconds for seconds, _ in rounds) for key, rounds in told.items()}
    right, ratios = warm["Keras", "float32"][0][1], {}
    for precision in _PRECISIONS.value:
        names = [name for name, its in opened if its == precision]
        in_floats = precision if ("Keras", precision) in best else "float32"
        for name in names:
            off = np.abs(warm[name, precision][0][1] - right).max()
            odd = "" if off < SAME[precision] else ": NOT THE SAME NETWORK"
            seconds = best[name, precision]
            print(
                f"| {size} | {precision} | {name} | {seconds * 1e3:.1f} "
                f"| {seconds / best['Keras', in_floats]:.2f} | {off:.1e}{odd} |",
                flush=True,
            )
        others = {best[name, precision]: name for name in names if name not in engines.OURS}
        for name in set(names) & set(engines.OURS) if others else ():
            ratios[precision, name, others[min(others)]] = best[name, precision] / min(others)
    return ratios


def photographs(folder, side=1024):
    """A folder against the network alone, and one photograph, from the command line.

    Above a million pixels the command first measures its speed: one and many alike do.
    """
    from tf_deblur.pictures import photographs

    count = _PHOTOGRAPHS.value
    for number in range(count):
        shifted = np.roll(picture(side, side), number, axis=1)
        photographs.write(folder / f"in/{number:02d}.jpg", shifted)
    command = [sys.executable, "-m", "tf_deblur.deblur", "--output", folder / "out"]

    def run_deblur(what):
        begin = time.perf_counter()
        subprocess.run([*command, what], check=True, capture_output=True)
        return time.perf_counter() - begin

    with Apart(Folder, folder / "in") as network:
        measured = {
            "one": lambda: run_deblur(folder / "in/00.jpg"),
            "many": lambda: run_deblur(folder / "in"),
            "network": network,
        }
        told = in_turn(_ROUNDS.value, measured)
    best = {name: min(rounds) for name, rounds in told.items()}
    added = (best["many"] - best["one"]) / (count - 1)
    own = best["network"] / count
    print("| photographs of 1 megapixel | s |\n|---|---|")
    print(f"| one, from the command line, all included | {best['one']:.2f} |")
    print(f"| {count}, the same | {best['many']:.2f} |")
    print(f"| each one more | {added:.3f} |")
    print(f"| the network alone, each | {own:.3f} |\n")
    say("a folder's share of the network's own speed", own / added, TARGETS["folder"], most=False)
    say("one photograph from the command line", best["one"], TARGETS["one"], " s")


class Folder:
    """The network alone on a folder's photographs, which are read before: seconds for them all."""

    def __init__(self, folder):
        import tf_deblur
        from tf_deblur.pictures import photographs

        self.pictures = [photographs.read(path) for path in sorted(folder.iterdir())]
        self.restore = tf_deblur.load("compact")
        self.restore(self.pictures[0])

    def __call__(self):
        begin = time.perf_counter()
        for pixels in self.pictures:
            self.restore(pixels)
        return time.perf_counter() - begin


if __name__ == "__main__":
    errors.run(main, tensorflow=False)
