"""What builders of blurred and sharp files share: matching them by name, checking them."""

import io

import cv2
import numpy as np
import tensorflow_datasets as tfds

from tf_deblur.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")


def info(builder, description=None):
    """A builder's `DatasetInfo`: the features that all of them have, in the order of writing."""

    def picture():
        return tfds.features.Image(shape=(None, None, 3), encoding_format="png")

    return builder.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(
            {
                "blurred": picture(),
                "sharp": picture(),
                "sequence": tfds.features.Text(),
                "frame": tfds.features.Text(),
            }
        ),
        supervised_keys=("blurred", "sharp"),
        metadata=tfds.core.MetadataDict(sequences={}, smallest_side=2**31),
        disable_shuffling=True,
    )


def match(folder, blurred_name="blur", sharp_name="sharp"):
    """Pairs the files of every `blur` folder below `folder` with the `sharp` one's, by name.

    Returns:
      A list of (sequence, frame, blurred path, sharp path) in the order of sequence and
      frame; the sequence is the path from `folder` to the one that holds both.

    Raises:
      UserError: a file without its other half, or no pairs at all.
    """
    found = []
    for blurred in sorted(path for path in folder.rglob(blurred_name) if path.is_dir()):
        sharp = blurred.with_name(sharp_name)
        halves = [{p.stem: p for p in _pictures(half)} for half in (blurred, sharp)]
        alone = sorted(halves[0].keys() ^ halves[1].keys())
        if alone:
            there = halves[0].get(alone[0]) or halves[1][alone[0]]
            missing = sharp if alone[0] in halves[0] else blurred
            raise UserError(
                f"{there}: has no other half in {missing}; add it, or take this one away "
                f"({len(alone)} such)"
            )
        sequence = str(blurred.parent.relative_to(folder))
        found += [
            (sequence, name, path, halves[1][name]) for name, path in sorted(halves[0].items())
        ]
    if not found:
        raise UserError(
            f"{folder}: no pairs; it wants folders {blurred_name} and {sharp_name} with pictures "
            "of the same names"
        )
    return found


def _pictures(folder):
    if not folder.is_dir():
        return []
    return [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]


def examples(builder, pairs):
    """Reads, checks and yields matched pairs as TFDS wants them, keyed by their number."""
    for number, (sequence, frame, blurred, sharp) in enumerate(pairs):
        shapes = [read(path).shape for path in (blurred, sharp)]
        if shapes[0] != shapes[1]:
            sizes = [f"{width}x{height}" for height, width, _ in shapes]
            raise UserError(f"{blurred}: is {sizes[0]}, but {sharp} is {sizes[1]}; make them equal")
        yield number, example(builder, _png(blurred), _png(sharp), sequence, frame, shapes[0])


def example(builder, blurred, sharp, sequence, frame, shape):
    """One example, its smallest side noted in the builder's metadata."""
    smallest = min(builder.info.metadata["smallest_side"], *shape[:2])
    builder.info.metadata["smallest_side"] = int(smallest)
    return {"blurred": blurred, "sharp": sharp, "sequence": sequence, "frame": frame}


def read(path):
    """A picture file that can be trained on: (h, w, 3) uint8, RGB; UserError if it is another."""
    image = (
        cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
        if path.stat().st_size
        else None
    )
    if image is None:
        raise UserError(f"{path}: not a whole PNG or JPEG file; fetch it again")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = (
            f"{image.dtype.itemsize * 8} bits, {image.shape[2] if image.ndim == 3 else 1} channels"
        )
        raise UserError(f"{path}: has {kind}; 8-bit RGB is wanted")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _png(path):
    """A PNG file as it is; anything else decoded, so that it is kept without further loss."""
    return str(path) if path.suffix.lower() == ".png" else encoded(read(path))


def encoded(image):
    """(h, w, 3) uint8 RGB as a PNG file in memory: compressed little, and so quickly."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return io.BytesIO(cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes())


def count_sequences(pairs):
    """[[sequence, number of pairs], …] in order, as the metadata has it."""
    counts = {}
    for sequence, *_ in pairs:
        counts[sequence] = counts.get(sequence, 0) + 1
    return [[sequence, count] for sequence, count in counts.items()]
