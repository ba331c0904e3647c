"""Köhler, Hirsch, Mohler, Schölkopf and Harmeling, ECCV 2012: real camera shake, recorded."""

import pathlib
import re

import tensorflow_datasets as tfds
from etils import epath

from tf_deblur.datasets import pairs
from tf_deblur.errors import UserError

# Scene and trajectory; of the sharp ones also the frame.
NAME = re.compile(r"Blurry[1-4]_([1-9]|1[0-2])|GroundTruth[1-4]_([1-9]|1[0-2])_\d{1,3}")


class Builder(tfds.core.GeneratorBasedBuilder):
    """48 blurred pictures, and for each of them what the camera saw along its way, sharp.

    No sharp picture is a blurred one's other half: the score is the best over all of its own.
    So split `blurred` has the blurred ones (sequence 1 to 4 is the scene, frame 01 to 12 the
    trajectory), split `sharp` the sharp ones: those of 1/01 are the sequence 1/01.
    """

    pkg_dir_path = epath.Path(__file__).parent  # an editable install maps it elsewhere
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "the folder that holds Blurry1_1.png … Blurry4_12.png and, to be scored, "
        "GroundTruth1_1_1.png …, at any depth, or kohler/ with them in it"
    )
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name="benchmark")]

    def _info(self):
        return pairs.make_info(self, {"blurred": 48}, registered=False)

    def _split_generators(self, dl_manager):
        root, files = find_source(pathlib.Path(dl_manager.manual_dir), self.builder_config)
        blurred, sharp = _match(files)
        if not blurred:
            raise UserError(f"{root}: no Blurry1_1.png … in it")
        for (of, _), path in sharp.items():
            other = blurred.get(tuple(of.split("/")))
            if not other:
                raise UserError(f"{path}: has no blurred picture; add it, or take this one away")
            pairs.check_sizes(other, path)
        for path in blurred.values():
            pairs.check_sizes(path)
        halves = {
            "blurred": [(*names, path, None) for names, path in sorted(blurred.items())],
            "sharp": [(*names, None, path) for names, path in sorted(sharp.items())],
        }
        return pairs.make_splits(self, halves)

    def _generate_examples(self, found):
        yield from pairs.make_examples(self, found)


def find_source(folder: pathlib.Path, config: tfds.core.BuilderConfig) -> tuple:
    """Where the pictures are, and the files of which the pairs are made: folder, files."""
    root = folder / "kohler" if (folder / "kohler").is_dir() else folder
    return root, [path for path in pairs.find_pictures(root) if NAME.fullmatch(path.stem)]


def _match(files):
    """Two of {(sequence, frame): path}: the blurred ones, the sharp ones."""
    blurred, sharp = {}, {}
    for stem, path in pairs.index_by_name(files).items():
        scene, trajectory, *frame = map(int, re.findall(r"\d+", stem))
        if frame:
            sharp[f"{scene}/{trajectory:02d}", f"{frame[0]:03d}"] = path
        else:
            blurred[f"{scene}", f"{trajectory:02d}"] = path
    return blurred, sharp
