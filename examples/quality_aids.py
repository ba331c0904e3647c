"""What the quality aids bring: `compact` with and without them, and both validation curves.

python examples/quality_aids.py --manual_dir=DIR [--steps=2000] [--output=aids]

DIR holds GOPRO_Large and a folder `sharp`, as for configs/compact.flags. Same seed, patches and
steps; the two runs go one after the other, and each goes on where it was stopped. Content loss
only, so that PSNR is what both are after.
"""

import pathlib
import subprocess
import sys

import matplotlib.pyplot as plt
import tensorflow as tf
from absl import app, flags

_STEPS = flags.DEFINE_integer("steps", 2000, "Of each run.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Patches a step; 16 in compact.flags.", 1)
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "Where the pictures are.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", "~/tensorflow_datasets", "For prepared data.")
_OUTPUT = flags.DEFINE_string("output", "aids", "Folder of both runs and the plot.")

WITHOUT = ["--content_loss=squared", "--warmup_steps=0", "--decay=none", "--average_decay=0"]
RUNS = {"with": ["--clip_norm=1"], "without": [*WITHOUT, "--clip_norm=0"]}


def main(_):
    output = pathlib.Path(_OUTPUT.value)
    shared = ["--flagfile=configs/compact.flags", "--content_fraction=1"]
    passed = (_STEPS, _BATCH_SIZE, _MANUAL_DIR, _DATA_DIR)
    shared += [f"--{flag.name}={flag.value}" for flag in passed]
    for name, aids in RUNS.items():
        often = ["--checkpoint_minutes=1", f"--workdir={output / name}"]
        line = [sys.executable, "-m", "tf_deblur.train", *shared, *aids, *often]
        subprocess.run(line, check=True)
    figure, axes = plt.subplots(figsize=(7, 4))
    for name in RUNS:
        steps, psnr, blurred = zip(*curve(output / name / "logs"))
        axes.plot(steps, psnr, marker=".", label=f"{name} the aids: {psnr[-1]:.2f} dB")
        print(f"{name}: {psnr[-1]:.3f} dB after {steps[-1]} steps (blurred {blurred[-1]:.3f})")
    axes.axhline(blurred[-1], color="grey", linestyle=":", label="blurred")
    axes.set(xlabel="steps", ylabel="validation PSNR, dB")
    axes.legend()
    figure.savefig(output / "curves.png", dpi=120, bbox_inches="tight")
    print(f"{output / 'curves.png'}")


def curve(logs):
    """(step, PSNR, blurred PSNR) of every validation, in order."""
    found = {}
    for file in sorted(logs.iterdir()):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                if value.tag in ("psnr", "blurred_psnr"):
                    scores = found.setdefault(event.step, {})
                    scores[value.tag] = float(tf.make_ndarray(value.tensor))
    return [(step, s["psnr"], s["blurred_psnr"]) for step, s in sorted(found.items())]


if __name__ == "__main__":
    app.run(main)
