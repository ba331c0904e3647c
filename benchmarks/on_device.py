"""What each `.tflite` file costs, and what it loses: a table, other engines beside it.

python benchmarks/on_device.py [--pairs=gopro@FOLDER] [--sizes=any,1024x1024]
"""

import contextlib
import json
import os
import pathlib
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

_PAIRS = flags.DEFINE_string(
    "pairs", None, "Data set, gopro@FOLDER say: calibrates by its training pairs, scores others."
)
_DATA_DIR = flags.DEFINE_string("data_dir", "~/tensorflow_datasets", "Of prepared data sets.")
_CALIBRATION = flags.DEFINE_string(
    "calibration",
    str(pathlib.Path(__file__).parents[1] / "examples/photographs"),
    "Photographs for int8, where there are no --pairs.",
)
_SIZES = flags.DEFINE_list("sizes", ["any", "1024x1024"], "Of the files, as `export` takes them.")
_TIMED = flags.DEFINE_string("timed", "1024x1024", "What is timed where a file takes any size.")
_THREADS = flags.DEFINE_list("threads", ["1", "2"], "How many; the last ones are judged.")
_ROUNDS = flags.DEFINE_integer("rounds", 10, "Of each measurement; the best counts.", 1)
_PHOTOGRAPH = flags.DEFINE_string(
    "photograph", "4000x3000", "What `deblur` restores while its memory is watched; none: not."
)

# of float32's time; the SavedModel's time; GB of the process
TARGETS = {"dynamic_int8": 0.35, "int8": 0.2, "SavedModel": 1.1, "peak": 0.7}
OTHERS = ("Keras", "OpenVINO's converter", "ONNX Runtime")
PEAK = """
import atexit, re, sys
def told():
    status = open("/proc/self/status").read()
    print("peak", re.search(r"VmHWM:\\s+(\\d+)", status)[1], file=sys.stderr)
atexit.register(told)
from tf_deblur import deblur
deblur.cli()
"""


def main(argv):
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; this benchmark takes flags only")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by the processes started below
    print(
        f"{engines.CORES} cores; load of the machine before: {os.getloadavg()[0]:.1f}; 0 is quiet"
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        files = export_files(folder)
        alone(engines.prepare, "compact", folder / "engines")
        facts = {name: json.loads(path.with_suffix(".json").read_text()) for name, path in files}
        seconds = {count: times(folder, files, facts, int(count)) for count in _THREADS.value}
        peaks = {name: peak(path, folder, facts[name]) for name, path in files}
    print_table(facts, seconds, peaks)
    judge(facts, seconds[_THREADS.value[-1]], peaks)


def export_files(folder):
    """[(name, `.tflite` file), …] as the command writes them; a SavedModel beside them."""
    real = [f"--calibration={_CALIBRATION.value}"]
    if _PAIRS.value:
        real = [f"--calibration={_PAIRS.value}", f"--pairs={_PAIRS.value}"]
    line = [sys.executable, "-m", "tf_deblur.export", "--model=compact", f"--output={folder}"]
    line += [f"--sizes={','.join(_SIZES.value)}", f"--data_dir={_DATA_DIR.value}", *real]
    done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise errors.UserError(done.stderr.strip().removeprefix("error: "))
    return [(path.stem, path) for path in sorted((folder / "compact-tflite").glob("*.tflite"))]


class File:
    """A `.tflite` file, or a SavedModel, by our own restorer: floats in and out, or bytes."""

    def __init__(self, path, threads, signature="float32"):
        import tf_deblur

        self.bytes = signature == "uint8"
        if path.suffix == ".tflite":
            restore = tf_deblur.load(path, threads=threads)
        else:
            limit_tensorflow(threads)
            restore = tf_deblur.load(path, precision="float32")
        self.run = (lambda batch: restore(batch[0])) if self.bytes else restore.engine.run

    def __call__(self, batch):
        given = np.rint(batch * 255).astype(np.uint8) if self.bytes else batch
        begin = time.perf_counter()
        self.run(given)
        return time.perf_counter() - begin


class Other:
    """Another engine on as many threads."""

    def __init__(self, name, folder, threads):
        engines.CORES = threads
        if name == "Keras":
            limit_tensorflow(threads)
        self.engine = engines.Engine(name, "float32", folder)

    def __call__(self, batch):
        return self.engine(batch, kept=False)[0]


def limit_tensorflow(threads):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def times(folder, files, facts, threads):
    """{name: seconds a megapixel}, of files of one size together, by turns."""
    best = {}
    sizes = {name: tuple(facts[name]["fixed_size"] or ()) for name, _ in files}
    for size in dict.fromkeys(sizes.values()):
        height, width = size or map(int, reversed(_TIMED.value.split("x")))
        with contextlib.ExitStack() as stack:
            opened = {
                name: stack.enter_context(Apart(File, path, threads, facts[name]["signature"]))
                for name, path in files
                if sizes[name] == size
            }
            if not size:
                opened |= others(folder, threads, stack)
            batch = picture(height, width)[None] / np.float32(255)
            in_turn(1, opened, batch)
            told = in_turn(_ROUNDS.value, opened, batch)
        best |= {name: min(t) / (height * width) * 1e6 for name, t in told.items()}
    return best


def others(folder, threads, stack):
    saved = Apart(File, folder / "compact", threads)
    opened = {"SavedModel": stack.enter_context(saved)}
    for name in OTHERS:
        try:
            opened[name] = stack.enter_context(Apart(Other, name, folder / "engines", threads))
        except ImportError as error:
            print(f"{name}: left out ({error}); pip install '.[bench]'")
    return opened


def peak(path, folder, facts):
    """GB that `deblur` took at most for one photograph; None where none is asked for."""
    if _PHOTOGRAPH.value == "none":
        return None
    from tf_deblur.pictures import photographs

    source = folder / "photograph.jpg"
    if not source.exists():
        width, height = map(int, _PHOTOGRAPH.value.split("x"))
        photographs.write(source, picture(height, width))
    line = [sys.executable, "-c", PEAK, f"--model={path}", f"--output={folder / 'out'}", source]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise errors.UserError(f"{facts['name']}: {done.stderr.strip()}")
    return int(done.stderr.split()[-1]) * 1024 / 1e9


def print_table(facts, seconds, peaks):
    counts = [f"{count} thread{'s' * (count != '1')}" for count in _THREADS.value]
    print(
        f"\n| file | MB | {' | '.join(f'ms a megapixel, {count}' for count in counts)} "
        f"| to float32 | bytes a pixel | peak, {_PHOTOGRAPH.value} | dB from Keras "
        f"| restored dB (float32) |\n|{'---|' * (7 + len(counts))}"
    )
    last = seconds[_THREADS.value[-1]]
    for name in last:
        row = [name, f"{facts[name]['bytes'] / 1e6:.1f}" if name in facts else ""]
        row += [f"{seconds[count][name] * 1e3:.0f}" for count in _THREADS.value]
        row.append(f"{last[name] / last[float32_of(name)]:.2f}")
        told = facts.get(name)
        if told:
            near, psnr = told["measured"]["psnr_to_keras"], told["psnr"]
            scored = f"{psnr['restored']:.2f} ({psnr['keras']:.2f})" if psnr else "not measured"
            took = f"{peaks[name]:.2f} GB" if peaks[name] else "not measured"
            row += [str(told["pixel_bytes"]), took, f"{near:.1f}" if near else "equal", scored]
        else:
            row += [""] * 4
        print(f"| {' | '.join(row)} |", flush=True)
    told = next(iter(facts.values()))
    print(
        f"\nfrom Keras, and restored: {told['measured']['pictures']}, by {told['measured']['by']}"
    )


def float32_of(name):
    """The float32 file that a row is compared with: of its own size, or of any."""
    size = name.removeprefix("compact-").partition("-")[2]
    return f"compact-float32-{size}" if size else "compact-float32"


def judge(facts, seconds, peaks):
    for name, told in facts.items():
        if told["variant"] in TARGETS:
            ratio = seconds[name] / seconds[float32_of(name)]
            say(f"{name} to float32", ratio, TARGETS[told["variant"]], " times")
    if "SavedModel" in seconds:
        ratio = seconds["compact-float32"] / seconds["SavedModel"]
        say("compact-float32 to the SavedModel", ratio, TARGETS["SavedModel"], " times")
    for name, gigabytes in peaks.items():
        if gigabytes:
            say(f"{name}: peak of {_PHOTOGRAPH.value}", gigabytes, TARGETS["peak"], " GB")


if __name__ == "__main__":
    errors.run(main, tensorflow=False)
