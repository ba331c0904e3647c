"""Draws trainings' validation PSNR against the patches that they have seen.

python docs/figures/curves.py runs/mine runs/other --output=curves.png

Each is a --workdir, whose logs say it all.
"""

import pathlib
import re

from absl import flags

from tf_deblur import errors
from tf_deblur.files import whole

_OUTPUT = flags.DEFINE_string("output", "curves.png", "The plot: a .png, .svg or .pdf file.")


def main(argv):
    if len(argv) < 2:
        raise errors.UserError("no trainings; name the --workdir of one or more")
    curves = {folder: read_curve(pathlib.Path(folder)) for folder in argv[1:]}
    for folder, points in curves.items():
        patches, psnr, blurred = points[-1]
        most, best, _ = max(points, key=lambda point: point[1])
        print(
            f"{folder}: {psnr:.3f} dB after {patches:,} patches, best {best:.3f} after {most:,} "
            f"(blurred {blurred:.3f})"
        )
    save(draw(curves), _OUTPUT.value)
    print(_OUTPUT.value)


def read_curve(folder):
    """[(patches seen, PSNR, PSNR of the blurred), …], one for each validation, in order."""
    if not folder.is_dir():
        raise errors.UserError(f"{folder}: no such folder; name the --workdir of a training")
    batch_size, scores = read_batch_size(folder / "flags.flags"), {}
    for file in sorted(folder.glob("logs/events.out.tfevents.*")):
        for step, tag, value in read_scalars(file):
            scores.setdefault(step, {})[tag] = value
    points = [
        (step * batch_size, told["psnr"], told["blurred_psnr"])
        for step, told in sorted(scores.items())
        if told.keys() >= {"psnr", "blurred_psnr"}
    ]
    if not points:
        raise errors.UserError(f"{folder}: no validation in its logs")
    return points


def read_batch_size(path):
    told = re.search(r"^--batch_size=(\d+)$", path.read_text() if path.exists() else "", re.M)
    if not told:
        raise errors.UserError(f"{path}: no --batch_size in it; name the --workdir of a training")
    return int(told[1])


def read_scalars(file):
    """(step, tag, value) of every number in TensorBoard's file."""
    import tensorflow as tf

    try:
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                number = tf.make_ndarray(value.tensor)
                if number.dtype == "float32" and number.size == 1:
                    yield event.step, value.tag, float(number)
    except tf.errors.DataLossError as error:
        if "truncated" not in str(error):  # so a run ends that was killed
            raise errors.UserError(f"{file}: damaged; take it away") from error


def draw(curves):
    """The figure: a line for each training, dotted ones for what the blurred frames have."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise errors.UserError(
            f"the plot wants matplotlib ({error}); pip install 'tf-deblur[evaluate]'"
        ) from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for folder, points in curves.items():
        patches, psnr, _ = zip(*points)
        axes.plot(patches, psnr, marker=".", label=f"{folder}: {psnr[-1]:.2f} dB")
    for blurred in {points[-1][2] for points in curves.values()}:  # of other frames, another
        axes.axhline(blurred, color="grey", linestyle=":", label=f"blurred: {blurred:.2f} dB")
    axes.set(xlabel="patches seen", ylabel="validation PSNR, dB")
    axes.legend()
    return figure


def save(figure, path):
    try:
        with whole(path) as part:
            figure.savefig(part, dpi=120)
    except (OSError, ValueError) as error:  # no such folder, no such format
        raise errors.UserError(f"{path}: cannot be written ({error})") from error


if __name__ == "__main__":
    errors.run(main)
