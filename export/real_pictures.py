"""Real pictures: what a conversion takes its ranges from, and what it is measured with."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from tf_deblur import datasets
from tf_deblur.errors import UserError
from tf_deblur.pictures import arrays, formats, photographs


@dataclasses.dataclass
class Pictures:
    """Pictures that were named by the user.

    Attributes:
      name: of the folder or data set, without the path.
      blurred: (h, w, 3) uint8 each.
      sharp: the other half of each, or nothing.
    """

    name: str = "none"
    blurred: Sequence[np.ndarray] = ()
    sharp: Sequence[np.ndarray] = ()


def read_blurred(named: str, data_dir: str | None, most: int) -> Pictures:
    """What a network will be given: a folder's photographs, or a data set's training pairs.

    Args:
      named: a folder of photographs, searched to any depth, or a data set as
        `datasets.prepare` takes it, `gopro@FOLDER` say.
      data_dir: where prepared data sets are kept.
      most: how many, evenly spaced.

    Returns:
      `Pictures` without sharp halves.

    Raises:
      UserError: there are none, or one cannot be read.
    """
    folder = pathlib.Path(named)
    if folder.is_dir():
        found = [path for path in folder.rglob("*") if path.suffix.lower() in formats.READ]
        if not found:
            raise UserError(f"{folder}: no photographs in it")
        read = map(photographs.read, _take_evenly(sorted(found), most))
        return Pictures(folder.name, [arrays.to_uint8(arrays.to_float(one)) for one in read])
    if "@" not in named and "/" in named:
        raise UserError(f"{folder}: no such folder")
    from tf_deblur.datasets import prepared

    builder = datasets.prepare(named, data_dir)
    found = prepared.open_pairs(builder, "train")
    pairs = [found.decode(found.read(number)) for number in _take_evenly(range(len(found)), most)]
    return Pictures(f"{builder.name}, train", [pair["blurred"].numpy() for pair in pairs])


def read_pairs(named: str, data_dir: str | None, most: int) -> Pictures:
    """Pairs to score on, of a data set's test split where it has one: `Pictures`."""
    from tf_deblur.scoring import pictures

    builder = datasets.prepare(named, data_dir)
    found = pictures.Pictures(builder, None)
    read = [found.read(number) for number in _take_evenly(range(len(found)), most)]
    halves = ([pair[half] for pair in read] for half in ("blurred", "sharp"))
    return Pictures(f"{builder.name}, {found.split}", *halves)


def _take_evenly(found, most):
    """At most so many of a sequence, the first and the last among them."""
    places = np.linspace(0, len(found) - 1, min(len(found), most)).round().astype(int)
    return [found[place] for place in places]
