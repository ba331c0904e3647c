"""Prepared data, read by number: its pairs, which of them are held out, whole pairs to score."""

import dataclasses
import typing
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_deblur import datasets
from tf_deblur.errors import UserError

if typing.TYPE_CHECKING:
    import tensorflow_datasets as tfds


@dataclasses.dataclass
class Pairs:
    """Records of one prepared split, read by number.

    Attributes:
      builder: the prepared TFDS builder.
      split: the prepared split that holds the records.
      numbers: (n,) int64, the records that belong, in the order of sequence and frame.
    """

    builder: "tfds.core.DatasetBuilder"
    split: str
    numbers: np.ndarray

    def __len__(self):
        return len(self.numbers)

    def __post_init__(self):
        self._source, self._loaded = None, {}

    def read(self, index: int) -> bytes:
        """The serialised example of pair `index`."""
        if self._source is None and hasattr(self.builder, "sources"):  # not prepared
            self._source = self.builder.sources[self.split]
        if self._source is None:
            from array_record.python.array_record_data_source import ArrayRecordDataSource

            files = self.builder.info.splits[self.split].filepaths
            self._source = ArrayRecordDataSource([str(file) for file in files])
        return self._source[int(self.numbers[index])]

    def decode(self, example: bytes | tf.Tensor) -> dict[str, tf.Tensor]:
        """A serialised example -> its features: uint8 pictures, and names."""
        return self.builder.info.features.deserialize_example(example)

    def read_frame(self, index: int) -> str:
        """The frame's name of pair `index`, whose pictures are not decoded."""
        import tensorflow_datasets as tfds

        as_they_are = dict.fromkeys(("blurred", "sharp"), tfds.decode.SkipDecoding())
        example, features = self.read(index), self.builder.info.features
        found = features.deserialize_example(example, decoders=as_they_are)
        return found["frame"].numpy().decode()

    def load(self, index: int) -> np.ndarray:
        """Pair `index` as (2, h, w, 3) uint8, blurred and sharp; decoded once, then kept."""
        if index not in self._loaded:
            features = self.decode(self.read(index))
            self._loaded[index] = np.stack([features["blurred"], features["sharp"]])
        return self._loaded[index]

    def estimate_bytes(self) -> int:
        """Memory that the pairs not yet loaded will take, from the sizes of up to 32 of them."""
        some = np.unique(np.linspace(0, len(self) - 1, min(len(self), 32)).astype(int))
        sizes = [6 * np.prod(_read_png_size(self.read(index)), dtype=int) for index in some]
        return int(np.mean(sizes) * (len(self) - len(self._loaded)))


def _read_png_size(example):
    """Width and height of the first PNG file in a serialised example."""
    header = example.index(b"IHDR") + 4
    return np.frombuffer(example, ">u4", count=2, offset=header)


def open_pairs(builder: "tfds.core.DatasetBuilder", split: str, hold_out: bool = True) -> Pairs:
    """The pairs of "train", "validation" or "test" in a prepared data set.

    Data sets without a validation split of their own lend a part of their training split to it:
    the sequences that the builder names HELD_OUT; else one in eight, for their frames look alike,
    or of a single sequence one frame in eight. They are chosen by their names, so that what was
    trained on is not held out when more is added, but where a second sequence comes to a single
    one. Without `hold_out`, as for scoring, "train" has those too.

    Raises:
      UserError: there is no such split, or it holds no pairs.
    """
    own = builder.info.splits
    if split in own and (split != "train" or "validation" in own or not hold_out):
        pairs = Pairs(builder, split, np.arange(own[split].num_examples))
    elif split not in ("train", "validation") or "train" not in own:
        raise UserError(f"{builder.name}: no split {split}; it has {', '.join(own)}")
    else:
        pairs = Pairs(builder, "train", np.arange(own["train"].num_examples))
        held = np.isin(*_choose_held_out(pairs))
        pairs.numbers = np.flatnonzero(held == (split == "validation"))
    if split != "validation" and not len(pairs):
        raise UserError(f"{builder.name}: no pairs in its split {split}")
    return pairs


def _choose_held_out(pairs):
    """(a name for each pair, those that are held out: one at least, and never all)."""
    sequences = pairs.builder.info.metadata["sequences"]["train"]
    names = np.repeat([name for name, _ in sequences], [count for _, count in sequences])
    if named := [name for name in getattr(pairs.builder, "HELD_OUT", ()) if name in names]:
        return names, named
    if len(sequences) == 1:
        frames = pairs.builder.info.metadata.get("frames", {})  # not of what was prepared before
        names = np.array(frames.get("train") or [pairs.read_frame(n) for n in range(len(pairs))])
    return names, [*datasets.choose_held_out(names.tolist())]


def read_frames(held_out: Pairs | list[Callable], limit: int | None = None) -> Iterator[tuple]:
    """Whole pairs for scoring: (blurred, sharp), (h, w, 3) uint8 each.

    Args:
      held_out: `Pairs`, or functions that make a pair each.
      limit: at most so many, evenly spaced.
    """
    count = min(limit or len(held_out), len(held_out))
    for index in np.linspace(0, len(held_out) - 1, count).round().astype(np.int64):
        if isinstance(held_out, Pairs):
            features = held_out.decode(held_out.read(index))
            yield features["blurred"].numpy(), features["sharp"].numpy()
        else:
            yield held_out[index]()
