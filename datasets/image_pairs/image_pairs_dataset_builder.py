"""Any folder with `blur/` and `sharp/`: REDS, RealBlur, HIDE, or a user's own pairs."""

import pathlib

import tensorflow_datasets as tfds
from etils import epath

from tf_deblur.datasets import pairs

SPLITS = ("train", "validation", "test")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Pairs matched by folder and name; every folder with both halves is a sequence.

    Folders train/, validation/ or test/ at the top are splits, and then nothing beside them
    is read. Without them all pairs are `train`, which can be scored too (--split=train).
    """

    pkg_dir_path = epath.Path(__file__).parent  # an editable install maps it elsewhere
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "a folder with blur/ and sharp/ in it, at any depth"
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="pairs")]

    def _info(self):
        return pairs.make_info(self)

    def _split_generators(self, dl_manager):
        return pairs.make_splits(self, match_splits(pathlib.Path(dl_manager.manual_dir)))

    def _generate_examples(self, found):
        yield from pairs.make_examples(self, found)


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
