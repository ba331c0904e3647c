"""What `make demo` runs: train, score, export and restore, each with the project's own command.

python examples/demo.py [--minutes=5] [--data=FOLDER_IN_GOPROS_LAYOUT]
"""

import json
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
from absl import app, flags

_MINUTES = flags.DEFINE_float("minutes", 5, "Of training.", lower_bound=0.05)
_DATA = flags.DEFINE_string("data", None, "Pairs of your own: a folder in GoPro's layout.")
_OUTPUT = flags.DEFINE_string("output", "demo", "Folder that this makes anew.")

PHOTOGRAPHS = pathlib.Path(__file__).parent / "photographs"
OWN = f"synthetic_blur/middling@{PHOTOGRAPHS}"


def main(_):
    """The whole tour, in the order in which it is shown."""
    output = pathlib.Path(_OUTPUT.value)
    shutil.rmtree(output, ignore_errors=True)
    dataset = f"gopro@{_DATA.value}" if _DATA.value else OWN
    data = [f"--dataset={dataset}", f"--data_dir={output / 'data'}"]
    split = (
        "test" if _DATA.value and list(pathlib.Path(_DATA.value).glob("**/test")) else "validation"
    )
    run, photograph = output / "run", output / "blurred.png"
    write_example(dataset, split, output / "data", photograph)  # says at once if there is none

    train = ["--flagfile=configs/demo.flags", f"--workdir={run}", f"--minutes={_MINUTES.value}"]
    command("train", *train, *data)
    told = [f"--split={split}", f"--output={output / 'scores'}", "--figures=1"]
    command("evaluate", f"--model={run}", "--model=compact", *told, *data)
    scores = json.loads((output / "scores/result.json").read_text())["tables"]["none"]
    real = ["--sizes=any", f"--calibration={dataset if _DATA.value else PHOTOGRAPHS}", data[1]]
    command("export", f"--model={run}", f"--output={output / 'exported'}", *real)

    models = {
        "keras": run,
        "saved_model": output / "exported/compact",
        "tflite": output / "exported/compact-tflite/compact-int8.tflite",
        "shipped": "compact",
    }
    for name, model in models.items():
        command("deblur", f"--model={model}", f"--output={output / name}", photograph)
    pictures = [photograph, *(output / name / "blurred_restored.png" for name in models)]
    cv2.imwrite(str(output / "compare.png"), np.hstack([cv2.imread(str(p)) for p in pictures]))
    say(output, scores, models)


def command(name, *arguments):
    line = [sys.executable, "-m", f"tf_deblur.{name}", *map(str, arguments)]
    print(f"\n$ python {' '.join(line[1:])}", flush=True)
    if status := subprocess.run(line, check=False).returncode:
        sys.exit(status)


def write_example(dataset, split, data_dir, path):
    """A blurred photograph that the training has not seen, as a file."""
    from tf_deblur import datasets, errors
    from tf_deblur.pictures import photographs

    try:
        builder = datasets.prepare(dataset, data_dir)
        with errors.quiet():
            from tf_deblur.datasets import prepared

            pairs = prepared.open_pairs(builder, split)
            if not len(pairs):
                raise errors.UserError(f"{dataset}: one sequence alone; two are wanted, or test/")
            blurred = pairs.decode(pairs.read(len(pairs) - 1))["blurred"].numpy()
    except errors.UserError as error:
        sys.exit(f"error: {error}")
    photographs.write(path, blurred)


def say(output, scores, models):
    """The last lines: what was made, where, and how much better it is."""
    print("\nOn photographs that were not trained on now, mean PSNR of blurred and restored:")
    blurred = scores.pop("blurred")
    for model, mean in scores.items():
        who = "the weights that ship" if model == "compact" else f"trained now, {model}"
        gain = f"{mean['psnr']:.2f} dB ({mean['psnr'] - blurred['psnr']:+.2f})"
        print(f"  {blurred['psnr']:.2f} -> {gain}, {mean['pairs']} pairs: {who}")
    print(f"Scores, and a sheet of magnified crops: {output / 'scores'}")
    print(f"SavedModel for TensorFlow Serving: {models['saved_model']}; TFLite: {models['tflite']}")
    print(f"A blurred photograph, restored by {', '.join(models)}: {output / 'compare.png'}")
    print("Your own: .venv/bin/tf-deblur deblur photo.jpg")


if __name__ == "__main__":
    app.run(main)
