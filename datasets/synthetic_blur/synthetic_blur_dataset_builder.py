"""Pairs from any folder of sharp photographs, their blur synthesised (`tf_deblur.motion`)."""

import concurrent.futures
import dataclasses
import io
import math
import os
import pathlib

import cv2
import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from tf_deblur.datasets import pairs

from tf_deblur import images, motion
from tf_deblur.errors import UserError

HELD_OUT = 8  # the 1st, 9th, 17th … photograph by name is for validation


@dataclasses.dataclass
class BlurConfig(tfds.core.BuilderConfig):
    """How a photograph is blurred.

    Attributes:
      extent: smallest and largest extent of a path, in pixels; drawn evenly on a
        logarithmic scale, so that light blur is as common as heavy.
      variants: pairs made from each photograph.
      moving: share of pairs in which a region moves on a path of its own.
      linear: share of pairs whose light is averaged, the others' encoded values are.
      shrink: smallest factor by which a photograph is reduced before it is blurred.
      side: no pair is higher or wider, in pixels; larger photographs are cropped.
      seed: of all of it.
    """

    extent: tuple = (2, 46)
    variants: int = 8
    moving: float = 0.5
    linear: float = 0.6
    shrink: float = 0.5
    side: int = 640
    seed: int = 0

    def __post_init__(self):
        low, high = self.extent
        demands = {
            "extent": (0 < low <= high < 1000, "two numbers of pixels above 0, the smaller first"),
            "variants": (self.variants >= 1, "1 or more"),
            "moving": (0 <= self.moving <= 1, "a share, from 0 to 1"),
            "linear": (0 <= self.linear <= 1, "a share, from 0 to 1"),
            "shrink": (0 < self.shrink <= 1, "above 0, at most 1"),
            "side": (self.side >= 32, "32 or more"),
            "seed": (self.seed >= 0, "0 or more"),
        }
        for field, (met, wanted) in demands.items():
            if not met:
                raise UserError(f"{field}={getattr(self, field)}: must be {wanted}")


class Builder(tfds.core.GeneratorBasedBuilder):
    """A photograph is a sequence; its pairs are the frames, each blurred on a path of its own."""

    pkg_dir_path = epath.Path(__file__).parent  # an editable install maps it elsewhere
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "a folder of sharp photographs, or one that holds it as sharp/"
    BUILDER_CONFIGS = [
        BlurConfig(name="mixed", description="blur of 2 to 46 pixels, for training"),
        BlurConfig(
            name="middling",
            description="blur of 9 to 16 pixels, for demonstrations",
            **{"extent": (9, 16), "variants": 6, "shrink": 1.0},
        ),
    ]

    def _info(self):
        return pairs.info(self)

    def _split_generators(self, dl_manager):
        folder, photographs = source(pathlib.Path(dl_manager.manual_dir))
        if not photographs:
            raise UserError(f"{folder}: no JPEG or PNG photographs in it")
        for path in photographs:
            images.read(path)  # a damaged one is found before hours of work
        splits = {
            "train": [p for n, p in enumerate(photographs) if n % HELD_OUT],
            "validation": photographs[::HELD_OUT],
        }
        variants = self.builder_config.variants
        named = {s: [(_sequence(p, folder), p) for p in found] for s, found in splits.items()}
        self.info.metadata["sequences"] = {
            split: [[sequence, variants] for sequence, _ in found] for split, found in named.items()
        }
        return {split: self._generate_examples(found) for split, found in named.items()}

    def _generate_examples(self, named):
        config = self.builder_config
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for place, (sequence, path) in enumerate(named):
                photograph = images.to_uint8(images.to_float(images.read(path)))

                def make(variant, photograph=photograph, sequence=sequence):
                    rng = np.random.default_rng([config.seed, variant, *sequence.encode()])
                    pair = blurred_pair(photograph, config, rng)
                    return pair[0].shape, [io.BytesIO(pairs.encoded(half)) for half in pair]

                for variant, (shape, halves) in enumerate(pool.map(make, range(config.variants))):
                    example = pairs.example(self, *halves, sequence, f"{variant:03d}", shape)
                    yield place * config.variants + variant, example


def source(folder):
    """Where the photographs are, and which there are: folder, files."""
    if (folder / "sharp").is_dir():
        folder = folder / "sharp"
    return folder, pairs.pictures_below(folder)


def _sequence(path, folder):
    return path.relative_to(folder).with_suffix("").as_posix()


def blurred_pair(photograph, config, rng):
    """Blurs a photograph, or a crop of it, as `config` says.

    Args:
      photograph: (h, w, 3) uint8.
      config: a `BlurConfig`.
      rng: a NumPy generator; the pair depends on nothing else.

    Returns:
      blurred, sharp: uint8, of equal shape; no pixel of theirs saw beyond the border,
      unless the photograph is so small that this would leave less than half of it.
    """
    middle = rng.random() < 0.5
    path = motion.camera_path(rng, _extent(rng, config), middle)
    own = motion.object_path(rng, _extent(rng, config), middle)
    moves = rng.random() < config.moving
    sharp = _shrunk(photograph, rng.uniform(config.shrink, 1))
    paths = (path, own) if moves else (path,)
    edge = motion.margin(*paths, size=[min(n, config.side) for n in sharp.shape[:2]])
    edge = min(edge, min(sharp.shape[:2]) // 4)
    sharp = _cropped(sharp, config.side + 2 * edge, rng)
    moving = (motion.region(rng, *sharp.shape[:2]), own) if moves else None
    blurred = motion.blur(sharp, path, moving, linear=rng.random() < config.linear)
    inner = slice(edge, -edge or None), slice(edge, -edge or None)
    return blurred[inner], sharp[inner]


def _extent(rng, config):
    return math.exp(rng.uniform(*np.log(config.extent)))


def _shrunk(photograph, factor):
    if factor == 1 or min(photograph.shape[:2]) * factor < 256:
        return photograph
    return cv2.resize(photograph, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _cropped(image, side, rng):
    top, left = (rng.integers(max(length - side, 0) + 1) for length in image.shape[:2])
    return image[top : top + side, left : left + side]
