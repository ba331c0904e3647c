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
        folder = pathlib.Path(dl_manager.manual_dir)
        named = {split: folder / split for split in SPLITS if (folder / split).is_dir()}
        found = {s: pairs.match(where) for s, where in (named or {"train": folder}).items()}
        return pairs.make_splits(self, found)

    def _generate_examples(self, found):
        yield from pairs.make_examples(self, found)


def find_source(folder: pathlib.Path, config: tfds.core.BuilderConfig) -> tuple:
    """Where the pictures are, and the files of which the pairs are made: folder, files."""
    return folder, pairs.find_pictures(folder)
