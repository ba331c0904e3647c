"""GOPRO_Large (Nah, Kim and Lee, CVPR 2017): 3,214 pairs of 1280×720, or made from its frames."""

import dataclasses
import pathlib

import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from tf_deblur.datasets import pairs
from tf_deblur.errors import UserError
from tf_deblur.pictures import arrays

PAIRS, FRAMES = "GOPRO_Large", "GOPRO_Large_all"
URL = f"https://huggingface.co/datasets/snah/GOPRO_Large/resolve/main/{PAIRS}.zip"
OFFICIAL = {"train": 2103, "test": 1111}
WINDOWS = (7, 9, 11, 13)  # an even number of frames has no middle one


@dataclasses.dataclass
class GoproConfig(tfds.core.BuilderConfig):
    """Which blurred frames: the folder's name in each sequence."""

    blurred: str = "blur"
    url = URL  # no field: what "download" fetches


@dataclasses.dataclass
class AverageConfig(tfds.core.BuilderConfig):
    """How frames are averaged.

    Attributes:
      window: frames in a run, 7, 9, 11 or 13; 0 for the middle number of the sequence's name.
      gamma: of the camera's response, undone for the average; 1 averages encoded values.
    """

    window: int = 0
    gamma: float = 1.0

    def __post_init__(self):
        if self.window not in (0, *WINDOWS):
            raise UserError(f"window={self.window}: must be 7, 9, 11 or 13, or 0: by the name")
        if not 1 <= self.gamma <= 4:
            raise UserError(f"gamma={self.gamma}: must be from 1 to 4")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Pairs matched by sequence and frame, the files' own bytes; a partial copy will do.

    Config `all` makes its pairs of the 240-fps frames: frame k of a sequence is the average
    of the frames (k - 1) * window + 1 to k * window, the middle one of them is its sharp half.
    """

    pkg_dir_path = epath.Path(__file__).parent  # an editable install maps it elsewhere
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"the folder that holds {PAIRS}/ or {PAIRS}.zip ({URL}); "
        f"for gopro/all {FRAMES}/ or {FRAMES}.zip"
    )
    HELD_OUT = "GOPR0374_11_00", "GOPR0384_11_02"  # of train, for validation
    BUILDER_CONFIGS = [
        GoproConfig(name="blur", description="Averages of encoded values: what most papers use."),
        GoproConfig(
            name="blur_gamma", description="Averages after a gamma of 2.2.", blurred="blur_gamma"
        ),
        AverageConfig(name="all", description="Averages made here, of the 240-fps frames."),
    ]

    def _info(self):
        comparable = not getattr(self.builder_config, "window", 0)
        return pairs.make_info(self, OFFICIAL if comparable else None)

    def _split_generators(self, dl_manager):
        root, config = self._unpack(dl_manager), self.builder_config
        present = [split for split in OFFICIAL if (root / split).is_dir()]
        if _averages(config):
            return pairs.make_splits(self, {s: find_runs(root / s, config) for s in present})
        return pairs.make_splits(
            self, {s: pairs.match(root / s, [config.blurred], ["sharp"]) for s in present}
        )

    def _unpack(self, dl_manager):
        """The folder with train/ and test/: the user's, his archive's, or the published one's."""
        config = self.builder_config
        try:
            root, files = find_source(pathlib.Path(dl_manager.manual_dir), config)
        except AssertionError:  # TFDS's word for no such folder, or an empty one
            root, files = None, []
        if files:
            folder = dl_manager.extract(root) if root.is_file() else root
        elif _averages(config):
            raise UserError(f"{FRAMES}: not found; name {self.MANUAL_DOWNLOAD_INSTRUCTIONS}")
        else:
            folder = dl_manager.download_and_extract(URL)
        found = _root(pathlib.Path(folder), config)
        if not found:
            raise UserError(
                f"{root or URL}: holds no {_top(config)}/train/ or test/; fetch it again"
            )
        return found

    def _generate_examples(self, found):
        if _averages(self.builder_config):
            yield from self._average_runs(found)
        else:
            yield from pairs.make_examples(self, found)

    def _average_runs(self, found):
        for number, (sequence, frame, run) in enumerate(found):
            blurred = average(map(pairs.read, run), self.builder_config.gamma)
            sharp, shape = pairs.read_half(run[len(run) // 2])
            halves = pairs.encode_png(blurred), sharp
            yield number, pairs.make_example(self, *halves, sequence, frame, shape)


def find_source(folder: pathlib.Path, config: tfds.core.BuilderConfig) -> tuple:
    """Where the pictures are, and the files of which the pairs are made: folder, files."""
    root = _root(folder, config)
    if root:
        return root, pairs.find_pictures(root)
    archive = folder / f"{_top(config)}.zip"
    return archive, [archive] if archive.is_file() else []


def _root(folder, config):
    """The folder that holds train/ and test/, at `folder` or in its GOPRO_Large; or None."""
    candidates = (folder, folder / _top(config))
    return next((c for c in candidates if any((c / s).is_dir() for s in OFFICIAL)), None)


def _averages(config):
    return isinstance(config, AverageConfig)


def _top(config):
    return FRAMES if _averages(config) else PAIRS


def find_runs(folder: pathlib.Path, config: AverageConfig) -> list[tuple]:
    """The runs of frames to average, in the order of sequence and frame.

    Args:
      folder: holds one folder of numbered frames for each sequence.
      config: an `AverageConfig`.

    Returns:
      A list of (sequence, frame, paths), the frame being the run's number in six digits.
      Runs of which the copy has only the beginning or the end are left out.

    Raises:
      UserError: a frame missing inside a run, one that is no 8-bit RGB picture or of another
        size than the run's first, a name that tells no number, or no run at all.
    """
    found = []
    for where in sorted(path for path in folder.iterdir() if path.is_dir()):
        window = config.window or _window(where)
        numbered: dict[int, dict[int, pathlib.Path]] = {}
        for stem, path in pairs.index_folder(where).items():
            if not stem.isdecimal():
                raise UserError(f"{path}: its name is no frame's number; take it away")
            numbered.setdefault((int(stem) - 1) // window + 1, {})[int(stem)] = path
        for run, frames in sorted(numbered.items()):
            gaps = set(range(min(frames), max(frames))) - frames.keys()
            if gaps:
                raise UserError(f"{where}: lacks frame {min(gaps)} between others; fetch it again")
            if len(frames) == window:
                found.append((where.name, f"{run:06d}", [frames[n] for n in sorted(frames)]))
    if not found:
        raise UserError(f"{folder}: no whole run of frames in it; it wants SEQUENCE/000001.png …")
    for *_, paths in found:
        pairs.check_sizes(*paths)
    return found


def _window(folder):
    number = folder.name.split("_")[1:2]
    if not number or not number[0].isdecimal() or int(number[0]) not in WINDOWS:
        raise UserError(f"{folder}: its name tells no window; say one, as gopro/all/window=11")
    return int(number[0])


def average(run: list, gamma: float) -> np.ndarray:
    """The mean of (h, w, 3) uint8 frames, in light for a gamma above 1; uint8."""
    light = arrays.to_float(np.arange(256, dtype=np.uint8)) ** np.float32(gamma)
    frames = [light[frame] for frame in run]
    return arrays.to_uint8((sum(frames) / len(frames)) ** np.float32(1 / gamma))
