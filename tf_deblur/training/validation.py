"""Whole pairs that no patch comes from, and how well they are restored, in bounded memory."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tf_deblur import datasets
from tf_deblur.datasets import prepared
from tf_deblur.datasets.prepared import Pairs
from tf_deblur.errors import UserError
from tf_deblur.models import networks
from tf_deblur.models.gan import DeblurGAN
from tf_deblur.pictures import arrays
from tf_deblur.restoring import tiling
from tf_deblur.scoring import metrics
from tf_deblur.training.sources import Source

MOST_PIXELS = 2**21  # restored, or compared, at once: 1920x1080 is
SHOWN = 3  # of the first pairs
SCORES = "psnr", "ssim", "blurred_psnr", "blurred_ssim"


@dataclasses.dataclass
class Validation:
    """A data set's pairs to validate on.

    Attributes:
      name: of the data set, as --dataset or --validation has it.
      held_out: `Pairs`, or functions that make a pair each.
      limit: the most that are scored, evenly spaced.
      facts: text that tells the data set from others.
    """

    name: str
    held_out: Pairs | list[Callable]
    limit: int
    facts: str

    def __post_init__(self):
        self._blurred = []  # its scores, of each pair: they stay as they are

    def __len__(self):
        return min(self.limit, len(self.held_out))

    def __iter__(self) -> Iterator[tuple]:
        """Pairs of (h, w, 3) uint8, blurred and sharp."""
        return prepared.read_frames(self.held_out, self.limit)

    @property
    def fingerprint(self) -> str:
        """Of what is scored; scores of another one do not compare."""
        which = self.held_out.numbers.tolist() if isinstance(self.held_out, Pairs) else ""
        return hashlib.sha256(f"{len(self)} of {self.facts} {which}".encode()).hexdigest()

    def score(self, gan: DeblurGAN) -> tuple[dict[str, float], np.ndarray]:
        """The means of `SCORES` by name, in dB, and SSIM as `evaluate` has it; and a picture.

        That shows the middles of the first pairs: blurred, restored, sharp, a row each.
        """
        scores, rows = [], []
        for number, (blurred, sharp) in enumerate(self):
            if number == len(self._blurred):
                self._blurred.append(compare(blurred, sharp))
            restored = arrays.to_uint8(restore(gan, blurred))
            scores.append([*compare(restored, sharp), *self._blurred[number]])
            if number < SHOWN:
                middles = map(cut_middle, (blurred, restored, sharp))
                rows.append(arrays.join_side_by_side(*middles))
        width = max(row.shape[1] for row in rows)
        padded = [np.pad(row, [(0, 0), (0, width - row.shape[1]), (0, 0)]) for row in rows]
        return dict(zip(SCORES, np.mean(scores, axis=0).tolist())), np.concatenate(padded)


def cut_middle(picture: np.ndarray, side: int = 320) -> np.ndarray:
    top, left = (max(length - side, 0) // 2 for length in picture.shape[:2])
    return picture[top : top + side, left : left + side]


def restore(gan: DeblurGAN, blurred: np.ndarray) -> np.ndarray:
    """What the average makes of a whole picture: (h, w, 3) uint8 -> float32 in [0, 1]."""
    multiple = networks.compute_size_multiple(gan.average)
    radius = networks.compute_radius(gan.average)
    sides = (-(-length // multiple) * multiple for length in blurred.shape[:2])
    most = max(MOST_PIXELS, (4 * radius + 2 * multiple) ** 2)
    tiles = tiling.plan(*sides, radius=radius, multiple=multiple, most_pixels=most)

    def run(tile):
        return gan.restore(tf.constant(tile[None]))[0].numpy()

    return tiling.apply(run, arrays.to_float(blurred), tiles)


def compare(picture: np.ndarray, sharp: np.ndarray) -> tuple[float, float]:
    """PSNR and SSIM of (h, w, 3) uint8, strip by strip; no SSIM of less than its window."""
    height, width = sharp.shape[:2]
    rows, around = -(-MOST_PIXELS // width), 2 * metrics.RADIUS
    windows = height - around if width > around else 0
    squares = similarity = 0.0
    for top in range(0, height, rows):
        strip, seen = slice(top, top + rows), slice(top, top + rows + around)
        squares += float(np.sum(np.square(np.subtract(picture[strip], sharp[strip], dtype=float))))
        if (count := min(rows, windows - top)) > 0:
            similarity += count * metrics.ssim(picture[seen], sharp[seen], data_range=255)
    mean = similarity / windows if windows > 0 else math.nan
    return metrics.convert_to_decibels(squares / sharp.size, 255), mean


def open_validations(
    specs: list[str], sources: list[Source], data_dir: str, manual_dir: str | None, limit: int
) -> list[Validation]:
    """What a run is validated on, at most `limit` pairs of each; says which chooses the best.

    Args:
      specs: data sets, named as `sources.open_sources` takes them, without weights; none for the
        first of `sources` that holds some out.
      sources: what is trained on; of those only what is held out.

    Raises:
      UserError: one cannot be opened, or has nothing to validate on.
    """
    holding = [source for source in sources if len(source.held_out)]
    opened = [_open(spec, sources, data_dir, manual_dir) for spec in specs]
    found = [
        Validation(source.name, source.held_out, limit, source.facts)
        for source in opened or holding[:1]
    ]
    if not found:
        print("nothing is held out to validate on: no best.safetensors will be written", flush=True)
    for number, one in enumerate(found):
        use = "also validated on" if number else "best.safetensors"
        print(f"{use}: by {len(one)} of those of {one.name}", flush=True)
    return found


def _open(spec, sources, data_dir, manual_dir):
    """A `Source` to validate on: what is held out of it, or all where none is trained on."""
    if source := next((s for s in sources if s.name == spec), None):
        if not len(source.held_out):
            raise UserError(f"--validation={spec}: nothing of it is held out; add pairs to it")
        return source
    builder = datasets.prepare(spec, data_dir, manual_dir)
    facts, splits = builder.info.full_name, builder.info.splits
    if not builder.info.metadata["registered"]:
        raise UserError(f"--validation={spec}: its halves want alignment; score it by evaluate")
    trained = any(source.facts.startswith(f"{facts} ") for source in sources)
    if trained or "validation" in splits or hasattr(builder, "HELD_OUT"):
        return Source(spec, [], prepared.open_pairs(builder, "validation"), facts, 0)
    split = "train" if "train" in splits else "test"
    return Source(spec, [], prepared.open_pairs(builder, split, hold_out=False), facts, 0)
