"""Lai, Huang, Hu, Ahuja and Yang, CVPR 2016: 25 pictures, each blurred in eight ways."""

import pathlib

import tensorflow_datasets as tfds
from etils import epath

from tf_deblur.datasets import pairs
from tf_deblur.errors import UserError

SHARP = "ground_truth"
BLURS = {"uniform": "kernel", "nonuniform": "gyro"}  # NAME_kernel_01.png, NAME_gyro_01.png
# Sides of the kernels, in pixels. They are not centred: half the largest bounds the shift
# of a blurred or restored picture against its sharp one.
KERNEL_SIDES = {"kernel_01": 31, "kernel_02": 51, "kernel_03": 55, "kernel_04": 75}


class Builder(tfds.core.GeneratorBasedBuilder):
    """A ground truth is a sequence, its blurs are the frames; a partial copy will do.

    Split `test` has the pairs; `blurred` has the pictures whose ground truth is not there.
    """

    pkg_dir_path = epath.Path(__file__).parent  # an editable install maps it elsewhere
    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"the folder that holds {SHARP}/, uniform/, nonuniform/ and real/, or lai/ with them in it"
    )
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="uniform", description="One kernel for the whole picture."),
        tfds.core.BuilderConfig(name="nonuniform", description="A recorded motion of the camera."),
        tfds.core.BuilderConfig(name="real", description="Photographs; nobody has them sharp."),
    ]

    def _info(self):
        kind = _kind(self.builder_config)
        split = "test" if kind in BLURS else "blurred"
        info = pairs.make_info(self, {split: 100}, registered=False)
        info.metadata["kernel_sides"] = KERNEL_SIDES if kind == "uniform" else {}
        return info

    def _split_generators(self, dl_manager):
        kind = _kind(self.builder_config)
        root, _ = find_source(pathlib.Path(dl_manager.manual_dir), self.builder_config)
        found = {"test": [], "blurred": []}
        for picture in _match(root, kind):
            found["test" if picture[-1] else "blurred"].append(picture)
        if kind in BLURS:
            self.info.metadata["missing"] = sorted({name for name, *_ in found["blurred"]})
        return pairs.make_splits(self, found)

    def _generate_examples(self, found):
        yield from pairs.make_examples(self, found)


def find_source(folder: pathlib.Path, config: tfds.core.BuilderConfig) -> tuple:
    """Where the pictures are, and the files of which the pairs are made: folder, files."""
    kind = _kind(config)
    root = folder if (folder / kind).is_dir() else folder / "lai"
    blurred = pairs.find_pictures(root / kind)
    sharp = pairs.find_pictures(root / SHARP) if blurred and kind in BLURS else []
    return root, blurred + sharp


def _kind(config):
    """`uniform`, `nonuniform` or `real`, whatever `prepare` has added to the name."""
    return config.name.partition("-")[0]


def _match(root, kind):
    """[(sequence, frame, blurred path, sharp path or None), …] in the order of the names."""
    blurred = pairs.index_folder(root / kind)
    sharp = pairs.index_folder(root / SHARP) if kind in BLURS else {}
    found = []
    for stem, path in blurred.items():
        sequence, frame = _parse_name(path, BLURS[kind]) if kind in BLURS else (kind, stem)
        found.append((sequence, frame, path, sharp.get(sequence)))
        pairs.check_sizes(*filter(None, found[-1][2:]))
    if not found:
        raise UserError(f"{root / kind}: no pictures in it")
    return sorted(found)


def _parse_name(path, blur):
    """NAME_kernel_01.png -> NAME, kernel_01."""
    sequence, *frame = path.stem.rsplit("_", 2)
    if len(frame) != 2 or frame[0] != blur or not frame[1].isdecimal():
        raise UserError(f"{path}: is not named NAME_{blur}_01.png; take it away")
    return sequence, "_".join(frame)
