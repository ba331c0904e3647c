"""Any folder with `blur/` and `sharp/`: REDS, RealBlur, HIDE, or a user's own pairs."""

import dataclasses
import pathlib

import tensorflow_datasets as tfds
from etils import epath

from tf_deblur.datasets import pairs
from tf_deblur.errors import UserError

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass
class PairsConfig(tfds.core.BuilderConfig):
    """What is done to pairs that do not lie upon each other: align "none", or "shift"."""

    align: str = "none"

    def __post_init__(self):
        if self.align not in ("none", "shift"):
            raise UserError(f"align={self.align}: must be none or shift")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Pairs matched by folder and name; every folder with both halves is a sequence.

    Folders train/, validation/ or test/ at the top are splits, and then nothing beside them
    is read. Without them all pairs are `train`, which can be scored too (--split=train).
    """

    pkg_dir_path = epath.Path(__file__).parent  # an editable install maps it elsewhere
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "a folder with blur/ and sharp/, or input/ and target/, in it"
    BUILDER_CONFIGS = [PairsConfig(name="pairs")]

    def _info(self):
        info = pairs.make_info(self)
        info.metadata["apart"] = []  # name, pixels down and right, brightness of each pair
        return info

    def _split_generators(self, dl_manager):
        return pairs.make_splits(self, match_splits(pathlib.Path(dl_manager.manual_dir)))

    def _generate_examples(self, found):
        """The files' own pictures, or what is left of them where they show the same."""
        shift = self.builder_config.align == "shift"
        for number, (sequence, frame, *paths) in enumerate(found):
            halves = blurred, sharp = [pairs.read(path) for path in paths]
            apart = pairs.find_shift(blurred, sharp)
            brighter = float(blurred.mean() / max(sharp.mean(), 1))
            self.info.metadata["apart"].append([f"{sequence}/{frame}", *apart, brighter])
            if shift and any(map(round, apart)):
                halves = pairs.register(blurred, sharp, *map(round, apart))
                data = [*map(pairs.encode_png, halves)]
            else:
                data = [pairs.read_half(path)[0] for path in paths]
            yield number, pairs.make_example(self, *data, sequence, frame, halves[0].shape)


def match_splits(folder: pathlib.Path) -> dict[str, list]:
    """{split: its pairs}."""
    named = {split: folder / split for split in SPLITS if (folder / split).is_dir()}
    return {split: pairs.match(where) for split, where in (named or {"train": folder}).items()}


def read_in_place(builder: Builder, folder: pathlib.Path) -> None:
    """Has a builder that is not prepared read its pairs where they lie."""
    pairs.read_in_place(builder, match_splits(folder))


def find_source(folder: pathlib.Path, config: tfds.core.BuilderConfig) -> tuple:
    """Where the pictures are, and the files of which the pairs are made: folder, files."""
    return folder, pairs.find_pictures(folder)
