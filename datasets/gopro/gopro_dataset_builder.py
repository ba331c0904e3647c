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
    MANUAL_DOWNLOAD_INSTRUCTIONS = f"the folder that holds GOPRO_Large/ or {ARCHIVE} ({URL})"
    BUILDER_CONFIGS = [
        GoproConfig(name="blur", description="Averages of encoded values: what most papers use."),
        GoproConfig(
            name="blur_gamma", description="Averages after a gamma of 2.2.", blurred="blur_gamma"
        ),
    ]

    def _info(self):
        return pairs.info(self)

    def _split_generators(self, dl_manager):
        root = self._unpacked(dl_manager)
        splits = {
            split: pairs.match(root / split, self.builder_config.blurred)
            for split in OFFICIAL
            if (root / split).is_dir()
        }
        self.info.metadata["sequences"] = {s: pairs.count_sequences(p) for s, p in splits.items()}
        return {split: self._generate_examples(found) for split, found in splits.items()}

    def _unpacked(self, dl_manager):
        """The folder with train/ and test/: the user's, his archive's, or the published one's."""
        try:
            root, files = source(pathlib.Path(dl_manager.manual_dir))
        except AssertionError:  # TFDS's word for no such folder, or an empty one
            root, files = None, []
        if not files:
            folder = dl_manager.download_and_extract(URL)
        else:
            folder = dl_manager.extract(root) if root.is_file() else root
        root = _root(pathlib.Path(folder))
        if not root:
            raise UserError(f"{ARCHIVE}: holds no GOPRO_Large/train/ or test/; fetch it again")
        return root

    def _generate_examples(self, found):
        yield from pairs.examples(self, found)


def source(folder):
    """Where the pictures are, and the files of which the pairs are made: folder, files."""
    root = _root(folder)
    if root:
        return root, sorted(root.rglob("*.png"))
    archive = folder / ARCHIVE
    return archive, [archive] if archive.is_file() else []


def _root(folder):
    """The folder that holds train/ and test/, at `folder` or in its GOPRO_Large; or None."""
    candidates = (folder, folder / "GOPRO_Large")
    return next((c for c in candidates if any((c / s).is_dir() for s in OFFICIAL)), None)
