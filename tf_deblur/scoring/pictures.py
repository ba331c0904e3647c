"""What a prepared data set has to score, read by number."""

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from tf_deblur.datasets import prepared
from tf_deblur.errors import UserError


class Pictures:
    """What a prepared data set has to score, read by number.

    Attributes:
      split: where they are.
      names: (sequence, frame) of each.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str | None) -> None:
        # pairs of one's own are one split, unless folders tell otherwise
        self.split = split or ("test" if "test" in builder.info.splits else "train")
        self._truths = None
        if builder.name == "kohler":  # one blurred picture, many sharp ones: the best one counts
            self.split, self._truths = "blurred", _truths(builder)
        self._pairs = prepared.open_pairs(builder, self.split, hold_out=False)
        if not len(self._pairs):
            raise UserError(f"{builder.name}: no pairs in its split {self.split}")
        self._numbers: Sequence[int] = range(len(self._pairs))
        if self._truths is not None:
            self._numbers = [n for n in self._numbers if "/".join(self._name(n)) in self._truths]
        if not self._numbers:
            raise UserError(f"{builder.name}: nothing to score: no picture has its sharp half")

    def __len__(self) -> int:
        return len(self._numbers)

    @functools.cached_property
    def names(self) -> list[tuple[str, ...]]:  # only where they are asked for: all records are read
        return list(map(self._name, self._numbers))

    def _name(self, number):
        """Sequence and frame of a record, its pictures not decoded."""
        values = tf.train.Example.FromString(self._pairs.read(number)).features.feature
        return tuple(values[key].bytes_list.value[0].decode() for key in ("sequence", "frame"))

    def read(self, index: int) -> dict:
        """{"sequence", "frame", "blurred", "sharp"}; of Köhler's, `sharp` is a `Frames`."""
        features = self._pairs.decode(self._pairs.read(self._numbers[index]))
        pair = {name: features[name].numpy().decode() for name in ("sequence", "frame")}
        truth = self._truths and self._truths["/".join(pair.values())]
        return pair | {
            "blurred": features["blurred"].numpy(),
            "sharp": features["sharp"].numpy() if truth is None else truth,
        }


class Frames:
    """The sharp frames of one of Köhler's pictures, each decoded when it is asked for."""

    def __init__(self, pairs: prepared.Pairs, numbers: range) -> None:
        self._pairs, self._numbers = pairs, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._pairs.decode(self._pairs.read(self._numbers[index]))["sharp"].numpy()


def _truths(builder):
    """{scene/trajectory: Frames} of Köhler's sharp pictures."""
    if "sharp" not in builder.info.splits:
        return {}
    pairs = prepared.open_pairs(builder, "sharp", hold_out=False)
    found, start = {}, 0
    for sequence, count in builder.info.metadata["sequences"]["sharp"]:
        found[sequence] = Frames(pairs, range(start, start + count))
        start += count
    return found
