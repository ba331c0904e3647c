"""Pairs from any folder of sharp photographs, their blur synthesised (see `blurring.motion`)."""

import concurrent.futures
import dataclasses
import functools
import importlib.util
import math
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds
from etils import epath
from numpy.random import Generator

from tf_deblur import datasets
from tf_deblur.blurring import gyro, motion
from tf_deblur.datasets import pairs
from tf_deblur.errors import UserError
from tf_deblur.opencv import cv2
from tf_deblur.pictures import arrays, photographs

BLURRED = {"blur", "blur_gamma"}  # folders of other data sets, whose pictures are not sharp


@dataclasses.dataclass
class BlurConfig(tfds.core.BuilderConfig):
    """How a photograph is blurred.

    Attributes:
      extent: smallest and largest extent of a path, in pixels; drawn evenly on a
        logarithmic scale, so that light blur is as common as heavy.
      variants: pairs made from each photograph.
      roughness: how strongly a path is pushed about, at most; 0 is smooth.
      focal: smallest and largest focal length, in larger sides of the photograph.
      recorded: share of pairs whose camera follows a recording, stretched to `extent`: a
        gyro.txt somewhere below the photographs' folder (`tf_deblur.blurring.gyro`).
      moving: share of pairs in which a region moves on a path of its own.
      linear: share of pairs whose light is averaged, the others' encoded values are.
      middle: share of pairs whose sharp half is seen from the pose in the middle of the
        exposure, the others' from the mean pose.
      noise: largest standard deviation of the blurred half's noise; white is 1.
      shrink: smallest factor by which a photograph is reduced before it is blurred.
      side: no pair is higher or wider, in pixels; larger photographs are cropped.
      seed: of all of it.
      beam: 1 to make the pairs by Apache Beam, on the runner that TFDS is told of. They are
        the same pairs; only their smallest side is not noted.
    """

    extent: tuple = (2, 46)
    variants: int = 8
    roughness: float = 0.4
    focal: tuple = (0.7, 2.8)
    recorded: float = 0.0
    moving: float = 0.5
    linear: float = 0.6
    middle: float = 0.5
    noise: float = 0.004
    shrink: float = 0.5
    side: int = 640
    seed: int = 0
    beam: int = 0

    def __post_init__(self):
        low, high = self.extent
        demands = {
            "extent": (0 < low <= high < 1000, "two numbers of pixels above 0, the smaller first"),
            "variants": (self.variants >= 1, "1 or more"),
            "roughness": (0 <= self.roughness <= 10, "from 0 to 10"),
            "focal": (
                0 < self.focal[0] <= self.focal[1] < math.inf,
                "two numbers above 0, the smaller first",
            ),
            "noise": (0 <= self.noise <= 1, "from 0 to 1"),
            "shrink": (0 < self.shrink <= 1, "above 0, at most 1"),
            "side": (self.side >= 32, "32 or more"),
            "seed": (self.seed >= 0, "0 or more"),
            "beam": (self.beam in (0, 1), "0 or 1"),
        }
        for share in ("recorded", "moving", "linear", "middle"):
            demands[share] = (0 <= getattr(self, share) <= 1, "a share, from 0 to 1")
        for field, (met, wanted) in demands.items():
            if not met:
                raise UserError(f"{field}={getattr(self, field)}: must be {wanted}")
        if self.beam and not importlib.util.find_spec("apache_beam"):
            raise UserError("beam=1: wants Apache Beam; pip install 'tf-deblur[beam]'")


class Builder(tfds.core.GeneratorBasedBuilder):
    """A photograph is a sequence; its pairs are the frames, each blurred on a path of its own."""

    pkg_dir_path = epath.Path(__file__).parent  # an editable install maps it elsewhere
    VERSION = tfds.core.Version("1.1.0")  # held out by name
    MANUAL_DOWNLOAD_INSTRUCTIONS = "a folder of sharp photographs, or one that holds it as sharp/"
    BUILDER_CONFIGS = [
        BlurConfig(name="mixed", description="blur of 2 to 46 pixels, for training"),
        BlurConfig(
            name="middling",
            description="blur of 9 to 16 pixels, for demonstrations",
            extent=(9, 16),
            variants=6,
            shrink=1.0,
        ),
    ]

    def _info(self):
        return pairs.make_info(self)

    def _split_generators(self, dl_manager):
        folder, files = find_source(pathlib.Path(dl_manager.manual_dir), self.builder_config)
        sharp = [path for path in files if path.suffix.lower() in pairs.SUFFIXES]
        self.recordings = [gyro.read(path) for path in files if path.name == gyro.NAME]
        if self.builder_config.recorded and not self.recordings:
            raise UserError(f"{folder}: no {gyro.NAME} below it, which recorded= asks for")
        if not sharp:
            raise UserError(f"{folder}: no JPEG or PNG photographs in it")
        for path in sharp:
            photographs.read(path)  # a damaged one is found before hours of work
        splits = dict(zip(("train", "validation"), divide(sharp, folder)))
        frames = [f"{variant:03d}" for variant in range(self.builder_config.variants)]
        tasks = {
            split: [(_sequence(path, folder), frame, path) for path in found for frame in frames]
            for split, found in splits.items()
        }
        return pairs.make_splits(self, tasks)

    def _generate_examples(self, found):
        """Pairs keyed by their number; for Beam, a transform that makes the same ones."""
        make = functools.partial(
            _make_example, config=self.builder_config, recordings=self.recordings
        )
        work = list(enumerate(found))
        if self.builder_config.beam:
            import apache_beam

            return apache_beam.Create(work) | apache_beam.MapTuple(
                lambda number, task: (number, pairs.make_example(None, *make(task)))
            )
        return self._make_in_threads(make, work)

    def _make_in_threads(self, make, work):
        variants = self.builder_config.variants
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(work), variants):  # a photograph, then the next one
                numbers, tasks = zip(*work[start : start + variants])
                for number, pair in zip(numbers, pool.map(make, tasks)):
                    yield number, pairs.make_example(self, *pair)


def _make_example(task, config, recordings):
    """(sequence, frame, photograph's path) -> what `pairs.make_example` takes."""
    sequence, frame, path = task
    pair = _make_pair(path, sequence, int(frame), config, recordings)
    return *map(pairs.encode_png, pair), sequence, frame, pair[0].shape


def make_first_pair(path: pathlib.Path, folder: pathlib.Path, config: BlurConfig) -> tuple:
    """The first pair of a photograph below `folder`; see `blur_pair`."""
    return _make_pair(path, _sequence(path, folder), 0, config, ())


def _make_pair(path, sequence, number, config, recordings):
    rng = np.random.default_rng([config.seed, number, *sequence.encode()])
    return blur_pair(_read(path), config, rng, recordings)


@functools.lru_cache(maxsize=2)
def _read(path):
    return arrays.to_uint8(arrays.to_float(photographs.read(path)))


def find_source(folder: pathlib.Path, config: tfds.core.BuilderConfig) -> tuple:
    """Where the photographs are, and which files count: folder, photographs and recordings."""
    if (folder / "sharp").is_dir():
        folder = folder / "sharp"
    names = (gyro.NAME, gyro.INFO) if config.recorded else ()
    recordings = [path for name in names for path in sorted(folder.rglob(name))]
    sharp = pairs.find_pictures(folder)
    for path in sharp:
        if BLURRED & set(path.relative_to(folder).parts):
            raise UserError(f"{path}: blurred already; name the folder of sharp photographs alone")
    return folder, sharp + recordings


def divide(sharp: list[pathlib.Path], folder: pathlib.Path) -> tuple[list, list]:
    """Photographs below a folder -> those to train on, those held out."""
    held = datasets.choose_held_out(_sequence(path, folder) for path in sharp)
    parts: tuple[list, list] = [], []
    for path in sharp:
        parts[_sequence(path, folder) in held].append(path)
    return parts


def _sequence(path, folder):
    return path.relative_to(folder).with_suffix("").as_posix()


def blur_pair(
    photograph: np.ndarray,
    config: BlurConfig,
    rng: Generator,
    recordings: Sequence[np.ndarray] = (),
) -> tuple:
    """Blurs a photograph, or a crop of it, as `config` says.

    Args:
      photograph: (h, w, 3) uint8.
      rng: the pair depends on nothing else.
      recordings: motions, of which `config.recorded` takes some.

    Returns:
      blurred, sharp: uint8, of equal shape; no pixel of theirs saw beyond the border,
      unless the photograph is so small that this would leave less than half of it.
    """
    sharp = _shrink(photograph, rng.uniform(config.shrink, 1))
    focal = max(sharp.shape) * _between(rng, config.focal)
    extent = _between(rng, config.extent)
    motions = [motion.draw_camera_motion(rng, extent, focal, config.roughness)]
    if rng.random() < config.recorded:
        motions = [motion.stretch(recordings[rng.integers(len(recordings))], extent, focal)]
    if rng.random() < config.moving:
        own = _between(rng, config.extent)
        motions.append(motion.draw_object_motion(rng, own, focal, config.roughness))
    size = min(sharp.shape[0], config.side), min(sharp.shape[1], config.side)
    paths, shares = motion.trace_paths(motions, focal, size, middle=rng.random() < config.middle)
    edge = min(motion.measure_margin(*paths, size=size), min(sharp.shape[:2]) // 4)
    sharp = _crop(sharp, config.side + 2 * edge, rng)
    moving = (motion.draw_region(rng, *sharp.shape[:2]), paths[1]) if paths[1:] else None
    linear = rng.random() < config.linear
    blurred = motion.blur(arrays.to_float(sharp), paths[0], shares, moving, linear)
    blurred = motion.add_noise(rng, blurred, rng.uniform(0, config.noise))
    inner = slice(edge, -edge or None), slice(edge, -edge or None)
    return arrays.to_uint8(blurred[inner]), sharp[inner]


def _between(rng, bounds):
    """A random number, evenly spread on a logarithmic scale."""
    return math.exp(rng.uniform(*np.log(bounds)))


def _shrink(photograph, factor):
    if factor == 1 or min(photograph.shape[:2]) * factor < 256:
        return photograph
    return cv2.resize(photograph, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def _crop(image, side, rng):
    top, left = (rng.integers(max(length - side, 0) + 1) for length in image.shape[:2])
    return image[top : top + side, left : left + side]
