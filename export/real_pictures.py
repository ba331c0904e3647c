"""The pictures that a conversion takes its ranges from, and those that it is measured with."""

import pathlib

import numpy as np

from tf_deblur import datasets
from tf_deblur.errors import UserError
from tf_deblur.pictures import arrays, photographs


def blurred(named, data_dir, most):
    """What a network will be given: photographs of a folder, or a data set's training pairs.

    Args:
      named: a folder of photographs, searched to any depth, or a data set as
        `datasets.prepare` takes it, `gopro@FOLDER` say.
      data_dir: where prepared data sets are kept.
      most: how many, evenly spaced.

    Returns:
      A list of (h, w, 3) uint8.

    Raises:
      UserError: there are none, or one cannot be read.
    """
    folder = pathlib.Path(named)
    if folder.is_dir():
        found = [path for path in folder.rglob("*") if path.suffix.lower() in photographs.READ]
        if not found:
            raise UserError(f"{folder}: no photographs in it")
        pictures = [photographs.read(path) for path in evenly(sorted(found), most)]
        return [arrays.to_uint8(arrays.to_float(picture)) for picture in pictures]
    if "@" not in named and "/" in named:
        raise UserError(f"{folder}: no such folder")
    from tf_deblur.training import stream

    found = stream.open_pairs(datasets.prepare(named, data_dir), "train")
    chosen = evenly(range(len(found)), most)
    return [found.decode(found.read(number))["blurred"].numpy() for number in chosen]


def pairs(named, data_dir, most):
    """Pairs to score on, of a data set's test split where it has one: [(blurred, sharp), …]."""
    from tf_deblur.scoring import scoring

    found = scoring.Pictures(datasets.prepare(named, data_dir), None)
    read = [found.read(number) for number in evenly(range(len(found)), most)]
    return [(pair["blurred"], pair["sharp"]) for pair in read]


def evenly(found, most):
    """At most so many of a sequence, the first and the last among them."""
    places = np.linspace(0, len(found) - 1, min(len(found), most)).round().astype(int)
    return [found[place] for place in places]
