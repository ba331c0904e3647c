"""Any folder with `blur/` and `sharp/`: REDS, RealBlur, HIDE, or a user's own pairs."""

import pathlib

import tensorflow_datasets as tfds
from etils import epath
from tf_deblur.datasets import pairs

SPLITS = ("train", "validation", "test")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Pairs matched by folder and name; every folder with both halves is a sequence.

    Folders named after splits at the top are splits; without them all pairs are both
    `train` and `test`, of which a training holds out sequences for its validation.
    """

    pkg_dir_path = epath.Path(__file__).parent  # an editable install maps it elsewhere
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = "A folder with blur/ and sharp/, at any depth."
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="pairs")]

    def _info(self):
        return pairs.info(self)

    def _split_generators(self, dl_manager):
        folder = pathlib.Path(dl_manager.manual_dir)
        named = [split for split in SPLITS if (folder / split).is_dir()]
        splits = {split: pairs.match(folder / split) for split in named} or {
            "train": pairs.match(folder)
        }
        self.info.metadata["sequences"] = {s: pairs.count_sequences(p) for s, p in splits.items()}
        return {split: self._generate_examples(found) for split, found in splits.items()}

    def _generate_examples(self, found):
        yield from pairs.examples(self, found)


def source_files(folder):
    """What the pairs are made of."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in pairs.SUFFIXES)
