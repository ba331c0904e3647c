"""What a batch is made of: patches of prepared pairs, and of pairs made of photographs."""

import pathlib
from collections.abc import Iterator

import tensorflow as tf

from tf_deblur.datasets.prepared import Pairs
from tf_deblur.errors import UserError
from tf_deblur.training import stream
from tf_deblur.training.patches import PatchSettings
from tf_deblur.training.ring import Ring


class Mixture:
    """Batches of which each source gives a fixed part, a function of the step's number alone.

    Args:
      prepared: pairs and their weights.
      folders: paths of photographs and their weights; one of the two lists may be empty.
      batch_size: patches a batch, all workers together.
      cache: of prepared pairs, as in `stream.make_batches`.
      **share: seed, worker and workers, as in `stream.make_batches`.

    Raises:
      UserError: a kind's part of a batch is no patch, or `Ring` or the stream raises it.
    """

    def __init__(
        self,
        prepared: list[tuple[Pairs, float]],
        folders: list[tuple[list[pathlib.Path], float]],
        settings: PatchSettings,
        *,
        batch_size: int,
        cache: bool,
        **share: int,
    ):
        workers = share["workers"]
        weights = [sum(weight for _, weight in part) for part in (prepared, folders)]
        made = workers * round(batch_size * weights[1] / sum(weights) / workers)
        if bool(made) != bool(folders) or (made < batch_size) != bool(prepared):
            raise UserError(
                f"a batch of {batch_size} patches has none of one of its data sets; use a "
                "larger --batch_size, or leave that data set out"
            )
        self.prepared, self.settings, self.count = prepared, settings, batch_size - made
        self.options: dict = {"cache": cache, **share}
        if prepared:
            stream.check(prepared, cache)
        self.ring = Ring(folders, settings, count=made, **share) if folders else None

    def make_batches(self, step: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        """Endless batches from a step on: (blurred, sharp), (n, s, s, 3) float32 in [0, 1]."""
        parts = []
        if self.prepared:
            patches = {"batch_size": self.count, "start": step * self.count}
            options = patches | self.options
            parts.append(stream.make_batches(self.prepared, self.settings, **options))
        if self.ring:
            parts.append(self.ring.make_batches(step))
        return map(_join, *parts)


def _join(*batches):
    return tuple(tf.concat(halves, 0) for halves in zip(*batches))
