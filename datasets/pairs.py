"""What builders of blurred and sharp files share: matching them by name, checking them."""

import contextlib
import io
import os
import pathlib
import struct
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds

from tf_deblur.errors import UserError
from tf_deblur.opencv import cv2

SUFFIXES = (".png", ".jpg", ".jpeg")
# What people call the two folders; others than the first of each count where both are there.
BLURRED, SHARP = ("blur", "blurred", "input", "lq"), ("sharp", "target", "gt", "GT")
SEEN = 512  # pixels a side in the middle of a pair, by which it is told how far off it is
PNG_RGB = 2  # colour type in a PNG file's header
ABSENT = np.zeros((1, 1, 3), np.uint8)  # for a half that there is not: no size to score with


def make_info(
    builder: tfds.core.DatasetBuilder, official: dict | None = None, registered: bool = True
) -> tfds.core.DatasetInfo:
    """A builder's `DatasetInfo`: the features that all of them have, in the order of writing.

    Args:
      builder: the one that asks.
      official: {split: number of its examples in a full copy}, where that is known.
      registered: whether blurred and sharp lie upon each other; else a score needs alignment.
    """

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
        metadata=tfds.core.MetadataDict(
            sequences={},
            frames={},
            smallest_side=2**31,
            official=official or {},
            registered=registered,
        ),
        disable_shuffling=True,
    )


def match(
    folder: pathlib.Path, blurred_names: Sequence[str] = BLURRED, sharp_names: Sequence[str] = SHARP
) -> list[tuple]:
    """Pairs the files of every `blur` folder below `folder` with the `sharp` one's, by name.

    Before anything is built it looks at every file's header (JPEG: at the whole file).

    Args:
      folder: folders below it may be links.
      blurred_names, sharp_names: of the two folders in each sequence; others are ignored.

    Returns:
      A list of (sequence, frame, blurred path, sharp path) in the order of sequence and
      frame; the sequence is the path from `folder` to the one that holds both, "." where
      that is `folder` itself, and the frame is the file's name without its suffix.

    Raises:
      UserError: a file without its other half, two of one name, a pair of unequal sizes,
        a file that is not 8-bit RGB, or no pairs at all.
    """
    found = []
    for where, folders, _ in sorted(os.walk(folder, followlinks=True)):
        there = [[n for n in names if n in folders] for names in (blurred_names, sharp_names)]
        if several := next((names for names in there if len(names) > 1), None):
            raise UserError(f"{where}: {' and '.join(several)} are there; take one away")
        if all(there) or {blurred_names[0], sharp_names[0]} & {*folders}:
            sequence = pathlib.Path(where).relative_to(folder).as_posix()
            both = [*there[0], *blurred_names][0], [*there[1], *sharp_names][0]
            found += _match_sequence(sequence, *(pathlib.Path(where, name) for name in both))
    if not found:
        raise UserError(
            f"{folder}: no pairs; it wants folders {' or '.join(blurred_names)} and "
            f"{' or '.join(sharp_names)} side by side, at any depth, with pictures of the same "
            "names right in them"
        )
    for _, _, *paths in found:
        check_sizes(*paths)
    return sorted(found)


def _match_sequence(sequence, blurred, sharp):
    halves = [index_folder(blurred), index_folder(sharp)]
    alone = sorted(halves[0].keys() ^ halves[1].keys())
    if alone:
        there = halves[0].get(alone[0]) or halves[1][alone[0]]
        missing = sharp if alone[0] in halves[0] else blurred
        raise UserError(
            f"{there}: has no other half in {missing}; add it, or take this one away "
            f"({len(alone)} such)"
        )
    return [(sequence, frame, path, halves[1][frame]) for frame, path in halves[0].items()]


def index_folder(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """{name without suffix: path} of the pictures in a folder; UserError if two share one."""
    return index_by_name(sorted(folder.iterdir()) if folder.is_dir() else [])


def index_by_name(paths: list[pathlib.Path]) -> dict[str, pathlib.Path]:
    """{name without suffix: path} of the pictures among `paths`; UserError if two share one."""
    pictures: dict[str, pathlib.Path] = {}
    for path in filter(_is_picture, paths):
        other = pictures.setdefault(path.stem, path)
        if other is not path:
            where = other.name if other.parent == path.parent else other
            raise UserError(f"{path}: {where} has its name too; take one away")
    return pictures


def _is_picture(path):
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def check_sizes(first: pathlib.Path, *others: pathlib.Path) -> None:
    """UserError if a picture is no 8-bit RGB one, or not as large as the first."""
    width, height = _size(first)
    for path in others:
        size = _size(path)
        if size != (width, height):
            raise UserError(
                f"{first}: is {width}x{height}, but {path} is {size[0]}x{size[1]}; make them equal"
            )


def _size(path):
    """(width, height); UserError if it is no 8-bit RGB picture."""
    if path.suffix.lower() != ".png":
        height, width, _ = read(path).shape
        return width, height
    with path.open("rb") as file:
        header = file.read(26)
        file.seek(max(path.stat().st_size - 12, 0))
        end = file.read()
    if header[:8] != b"\x89PNG\r\n\x1a\n" or b"IEND" not in end:
        raise UserError(f"{path}: not a whole PNG file; fetch it again")
    width, height, bits, colour = struct.unpack(">IIBB", header[16:])
    if (bits, colour) != (8, PNG_RGB):
        raise UserError(f"{path}: has {bits} bits and colour type {colour}; 8-bit RGB is wanted")
    return width, height


def make_splits(builder: tfds.core.DatasetBuilder, found: dict[str, list]) -> dict:
    """What `_split_generators` returns: {split: pairs} without the empty ones, each counted."""
    found = {split: pairs for split, pairs in found.items() if pairs}
    sequences = {split: count_sequences(pairs) for split, pairs in found.items()}
    alone = {split: pairs for split, pairs in found.items() if len(sequences[split]) == 1}
    builder.info.metadata["sequences"] = sequences
    builder.info.metadata["frames"] = {s: [it[1] for it in pairs] for s, pairs in alone.items()}
    return {split: builder._generate_examples(pairs) for split, pairs in found.items()}


class InPlace:
    """Matched pairs as serialised examples, each made when it is asked for."""

    def __init__(self, builder: tfds.core.DatasetBuilder, found: list[tuple]) -> None:
        self._builder, self._found = builder, found

    def __getitem__(self, number: int) -> bytes:
        [(_, example)] = make_examples(self._builder, [self._found[number]])
        return self._builder.info.features.serialize_example(example)


def read_in_place(builder: tfds.core.DatasetBuilder, found: dict[str, list]) -> None:
    """Gives a builder that is not prepared what else preparing would: splits, and `sources`."""
    info, found = builder.info, {split: pairs for split, pairs in found.items() if pairs}
    make_splits(builder, found)
    info.metadata["smallest_side"] = min(
        min(_size(path)) for pairs in found.values() for _, _, path, _ in pairs
    )
    splits = [
        tfds.core.SplitInfo(name=split, shard_lengths=[len(pairs)], num_bytes=0)
        for split, pairs in found.items()
    ]
    info.set_splits(tfds.core.SplitDict(splits))
    builder.sources = {split: InPlace(builder, pairs) for split, pairs in found.items()}


def make_examples(
    builder: tfds.core.DatasetBuilder, pairs: Iterable[tuple]
) -> Iterator[tuple[int, dict]]:
    """Reads matched pairs and yields them as TFDS wants them, keyed by their number.

    PNG files keep their own bytes; others are decoded, so that nothing more is lost. A path
    may be None: its half is then one black pixel.

    Raises:
      UserError: a file that cannot be decoded to its end.
    """
    for number, (sequence, frame, *paths) in enumerate(pairs):
        (blurred, shape), (sharp, other) = map(read_half, paths)
        shape = max(shape, other)  # that of the half which is there
        yield number, make_example(builder, blurred, sharp, sequence, frame, shape)


def read_half(path: pathlib.Path | None) -> tuple[bytes, tuple]:
    """A picture's file, or None -> the bytes of a PNG file, (height, width, 3)."""
    image = read(path) if path else ABSENT
    if path and path.suffix.lower() == ".png":
        return path.read_bytes(), image.shape
    return encode_png(image), image.shape


def make_example(
    builder: tfds.core.DatasetBuilder | None,
    blurred: bytes,
    sharp: bytes,
    sequence: str,
    frame: str,
    shape: tuple,
) -> dict:
    """One example, its smallest side noted in the builder's metadata.

    Args:
      builder: the one that writes it; None for a worker that has none, and notes nothing.
      blurred, sharp: the bytes of PNG files, which TFDS stores as they are.
      sequence, frame: their names.
      shape: (height, width, 3) of both.
    """
    if builder:
        smallest = min(builder.info.metadata["smallest_side"], *shape[:2])
        builder.info.metadata["smallest_side"] = int(smallest)
    halves = {"blurred": io.BytesIO(blurred), "sharp": io.BytesIO(sharp)}
    return halves | {"sequence": sequence, "frame": frame}


def read(path: pathlib.Path) -> np.ndarray:
    """A picture file to train on: (h, w, 3) uint8, RGB; UserError if it is another kind."""
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, OSError):  # no bytes at all, or none that we may read
        image = None
    if image is None:
        raise UserError(f"{path}: not a whole PNG or JPEG file; fetch it again")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        channels = image.shape[2] if image.ndim == 3 else 1
        raise UserError(
            f"{path}: has {image.dtype.itemsize * 8} bits and {channels} channels; "
            "8-bit RGB is wanted"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_png(image: np.ndarray) -> bytes:
    """(h, w, 3) uint8 RGB -> the bytes of a PNG file, compressed little, and so quickly."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()


def find_shift(blurred: np.ndarray, sharp: np.ndarray) -> tuple[float, float]:
    """How far down and right of the sharp picture the blurred one's middle lies, in pixels."""
    middle = tuple(slice(max(n - SEEN, 0) // 2, (n + SEEN) // 2) for n in sharp.shape[:2])
    grey = [np.float32(cv2.cvtColor(x[middle], cv2.COLOR_RGB2GRAY)) for x in (sharp, blurred)]
    window = cv2.createHanningWindow(grey[0].shape[::-1], cv2.CV_32F)
    (right, down), _ = cv2.phaseCorrelate(*grey, window)  # to a pixel
    warp = np.array([[1, 0, right], [0, 1, down]], np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4)
    with contextlib.suppress(cv2.error):  # where there is nothing to go by
        _, warp = cv2.findTransformECC(*grey, warp, cv2.MOTION_TRANSLATION, stop, None, 5)
    return float(warp[1, 2]), float(warp[0, 2])


def register(blurred: np.ndarray, sharp: np.ndarray, down: int, right: int) -> tuple:
    """Both, cut to where they show the same; nothing is resampled, which would soften it."""
    height, width = sharp.shape[:2]

    def cut(image, y, x):
        return image[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]

    return cut(blurred, down, right), cut(sharp, -down, -right)


def count_sequences(pairs: list[tuple]) -> list[list]:
    """[[sequence, number of pairs], …] in order, as the metadata has it."""
    counts: dict[str, int] = {}
    for sequence, *_ in pairs:
        counts[sequence] = counts.get(sequence, 0) + 1
    return [[sequence, count] for sequence, count in counts.items()]


def find_pictures(folder: pathlib.Path) -> list[pathlib.Path]:
    """Every PNG or JPEG file below `folder`, in the order of names."""
    files = (
        pathlib.Path(where, n)
        for where, _, names in os.walk(folder, followlinks=True)
        for n in names
    )
    return sorted(filter(_is_picture, files))
