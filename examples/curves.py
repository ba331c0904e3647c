"""Draws trainings' validation PSNR against the patches that they have seen.

python examples/curves.py runs/mine runs/other --output=curves.png

Each is a --workdir, whose logs say it all. They are read without TensorFlow, which would take
longer to start than the rest to run.
"""

import pathlib
import re
import struct

from absl import flags

from tf_deblur import errors
from tf_deblur.files import whole

_OUTPUT = flags.DEFINE_string("output", "curves.png", "The plot: a .png, .svg or .pdf file.")


def main(argv):
    if len(argv) < 2:
        raise errors.UserError("no trainings; name the --workdir of one or more")
    curves = {folder: curve(pathlib.Path(folder)) for folder in argv[1:]}
    for folder, points in curves.items():
        patches, psnr, blurred = points[-1]
        most, best, _ = max(points, key=lambda point: point[1])
        print(
            f"{folder}: {psnr:.3f} dB after {patches:,} patches, best {best:.3f} after {most:,} "
            f"(blurred {blurred:.3f})"
        )
    save(drawn(curves), _OUTPUT.value)
    print(_OUTPUT.value)


def curve(folder):
    """[(patches seen, PSNR, PSNR of the blurred), …], one for each validation, in order."""
    if not folder.is_dir():
        raise errors.UserError(f"{folder}: no such folder; name the --workdir of a training")
    batch_size, scores = batch_size_of(folder / "flags.flags"), {}
    for file in sorted(folder.glob("logs/events.out.tfevents.*")):
        try:
            for step, tag, value in scalars(file):
                scores.setdefault(step, {})[tag] = value
        except (IndexError, KeyError, struct.error) as error:
            raise errors.UserError(f"{file}: damaged; take it away") from error
    points = [
        (step * batch_size, told[b"psnr"], told[b"blurred_psnr"])
        for step, told in sorted(scores.items())
        if told.keys() >= {b"psnr", b"blurred_psnr"}
    ]
    if not points:
        raise errors.UserError(f"{folder}: no validation in its logs")
    return points


def batch_size_of(path):
    told = re.search(r"^--batch_size=(\d+)$", path.read_text() if path.exists() else "", re.M)
    if not told:
        raise errors.UserError(f"{path}: no --batch_size in it; name the --workdir of a training")
    return int(told[1])


def scalars(file):
    """(step, tag, value) of everything in TensorBoard's file that is one float32."""
    for record in records(file.read_bytes()):
        event = dict(fields(record))
        for number, value in fields(event.get(5, b"")):  # the summary's values
            told = dict(fields(value)) if number == 1 else {}
            tensor = dict(fields(told.get(8, b"")))
            held = tensor.get(4, tensor.get(5, b""))  # as bytes, or as a list of floats
            if len(held) == 4:
                yield event.get(2, 0), told[1], struct.unpack("<f", held)[0]


def records(data):
    """What a TFRecord file holds; of a run that was killed the last one may lack its end."""
    at = 0
    while at + 12 <= len(data):  # a length and its checksum before each, another one behind
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 12 + length > len(data):
            return
        yield data[at + 12 : at + 12 + length]
        at += 12 + length + 4


def fields(message):
    """(number, value) of the fields of a protocol buffer: an integer, or bytes."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 0:
            value, at = varint(message, at)
        else:
            length, at = varint(message, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            value, at = message[at : at + length], at + length
        yield key >> 3, value


def varint(message, at):
    """The integer at a place, seven bits a byte, the lowest first; and the place behind it."""
    value, shift = 0, 0
    while message[at] > 127:
        value, shift, at = value | (message[at] & 127) << shift, shift + 7, at + 1
    return value | message[at] << shift, at + 1


def drawn(curves):
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
    errors.run(main, tensorflow=False)
