"""GOPRO_Large (Nah, Kim and Lee, CVPR 2017): 3,214 pairs of 1280×720."""

import dataclasses
import pathlib

import tensorflow_datasets as tfds
from etils import epath
from tf_deblur.datasets import pairs

from tf_deblur.errors import UserError

ARCHIVE = "GOPRO_Large.zip"
URL = f"https://huggingface.co/datasets/snah/GOPRO_Large/resolve/main/{ARCHIVE}"
OFFICIAL = {"train": 2103, "test": 1111}


@dataclasses.dataclass
class GoproConfig(tfds.core.BuilderConfig):
    """Which blurred frames: the folder's name in each sequence."""

    blurred: str = "blur"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Pairs matched by sequence and frame, the files' own bytes; a partial copy will do."""

    pkg_dir_path = epath.Path(__file__).parent  # an editable install maps it elsewhere
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"A folder with GOPRO_Large/ or {ARCHIVE} (8.8 GB), from {URL}"
    BUILDER_CONFIGS = [
        GoproConfig(
            name="blur", description="averages of the encoded values: what most papers use"
        ),
        GoproConfig(
            name="blur_gamma", description="averages after gamma 2.2", blurred="blur_gamma"
        ),
    ]

    def _info(self):
        return pairs.info(self)

    def _split_generators(self, dl_manager):
        folder = pathlib.Path(dl_manager.manual_dir)
        if not _root(folder):
            archive = folder / ARCHIVE
            folder = pathlib.Path(
                dl_manager.extract(archive)
                if archive.exists()
                else dl_manager.download_and_extract(URL)
            )
        root = _root(folder)
        if not root:
            raise UserError(f"{folder}: no train/ or test/ of GOPRO_Large in it")
        splits = {
            split: pairs.match(root / split, self.builder_config.blurred)
            for split in OFFICIAL
            if (root / split).is_dir()
        }
        self.info.metadata["sequences"] = {s: pairs.count_sequences(p) for s, p in splits.items()}
        return {split: self._generate_examples(found) for split, found in splits.items()}

    def _generate_examples(self, found):
        yield from pairs.examples(self, found)


def _root(folder):
    """The folder that holds train/ and test/, at `folder` or in its GOPRO_Large; or None."""
    candidates = (folder, folder / "GOPRO_Large")
    return next((c for c in candidates if any((c / s).is_dir() for s in OFFICIAL)), None)


def source_files(folder):
    """What the pairs are made of: the pictures, or the archive."""
    root = _root(folder)
    return sorted(root.rglob("*.png")) if root else sorted(folder.glob(ARCHIVE))
