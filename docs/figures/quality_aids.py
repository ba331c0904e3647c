"""What the quality aids bring: `compact` with and without them, and both validation curves.

python docs/figures/quality_aids.py --manual_dir=DIR [--steps=2000] [--output=aids]

DIR holds GOPRO_Large and a folder `sharp`, as for configs/compact.flags. Same seed, patches and
steps; the two runs go one after the other, and each goes on where it was stopped. Content loss
only, so that PSNR is what both are after.
"""

import pathlib
import subprocess
import sys

from absl import app, flags

_STEPS = flags.DEFINE_integer("steps", 2000, "Of each run.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Patches a step; 16 in compact.flags.", 1)
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "Where the pictures are.", required=True)
_DATA_DIR = flags.DEFINE_string("data_dir", "~/tensorflow_datasets", "For prepared data.")
_OUTPUT = flags.DEFINE_string("output", "aids", "Folder of both runs and the plot.")

WITHOUT = [
    "--content_loss=squared",
    "--warmup_steps=0",
    "--decay=none",
    "--average_decay=0",
    "--clip_norm=0",
]
CURVES = pathlib.Path(__file__).parent / "curves.py"
RUNS = {"with": [], "without": WITHOUT}


def main(_):
    output = pathlib.Path(_OUTPUT.value)
    shared = ["--flagfile=configs/compact.flags", "--spectral_weight=0"]
    passed = (_STEPS, _BATCH_SIZE, _MANUAL_DIR, _DATA_DIR)
    shared += [f"--{flag.name}={flag.value}" for flag in passed]
    for name, aids in RUNS.items():
        often = ["--checkpoint_minutes=1", f"--workdir={output / name}"]
        line = [sys.executable, "-m", "tf_deblur.train", *shared, *aids, *often]
        subprocess.run(line, check=True)
    runs = [str(output / name) for name in RUNS]
    line = [sys.executable, CURVES, *runs, f"--output={output / 'curves.png'}"]
    subprocess.run(line, check=True)


if __name__ == "__main__":
    app.run(main)
