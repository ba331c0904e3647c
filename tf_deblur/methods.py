"""What is scored: the input itself, networks, folders that other programs restored, a baseline."""

import dataclasses
import functools
import os
import pathlib
import re

import numpy as np

from tf_deblur import images
from tf_deblur.errors import UserError

BLURRED = "blurred"  # the method that does nothing: what every other is compared with
BASELINES = ("richardson_lucy", "unsupervised_wiener")
ITERATIONS = 30  # of Richardson and Lucy; more sharpen the noise too
LISTED = 5  # names in an error's line


class BadPicture(UserError):
    """One picture that cannot be scored; the others can."""


@dataclasses.dataclass
class Method:
    """A row of the table.

    Attributes:
      name: of the row.
      restore: pair -> (height, width, 3) uint8; the pair is a dict with `blurred`, `sequence`
        and `frame`.
      facts: what its results depend on, as JSON holds it.
      notes: what they do not depend on.
      network: whether it is one, so that the check of `deblur` applies.
      timed: whether its speed is its own.
    """

    name: str
    restore: object
    facts: dict = dataclasses.field(default_factory=dict)
    notes: dict = dataclasses.field(default_factory=dict)
    network: bool = False
    timed: bool = False


def all_of(models, folders, baselines, kernel, precision, pictures):
    """The methods that a run scores, the blurred input's first.

    Args:
      models: names as `restorer.load` takes them.
      folders: "NAME=FOLDER" of pictures that another program restored.
      baselines: of `BASELINES`.
      kernel: the file or folder of the blur that baselines are told, or None.
      precision: of the models.
      pictures: the `scoring.Pictures` to restore.

    Raises:
      UserError: two methods of one name, or one that cannot restore these pictures.
    """
    methods = [
        Method(BLURRED, lambda pair: pair["blurred"]),
        *(of_model(name, precision) for name in models),
        *(of_folder(named, pictures) for named in folders),
        *(of_baseline(name, kernel, pictures) for name in baselines),
    ]
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name}: two methods of this name; each row needs its own")
    return methods


def of_model(name, precision):
    from tf_deblur import restorer

    restore = restorer.load(name, precision)
    facts = {
        "restorer": str(restore),
        "precision": restore.precision,
        "weights_sha256": restore.weights_sha256,
    }
    cut = {"tiles": restore.told()}
    return Method(restore.name, lambda pair: restore(pair["blurred"]), facts, cut, True, True)


def of_folder(named, pictures):
    """Pictures that another program restored: NAME=FOLDER, matched by sequence and frame.

    In the folder a picture is SEQUENCE/FRAME.png, SEQUENCE_FRAME.png or SEQUENCE-FRAME.png, or
    of another format that we read.
    """
    name, _, folder = named.partition("=")
    if not name or not folder:
        raise UserError(f"--restored={named}: say NAME=FOLDER")
    if not pathlib.Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    found, wanted = _by_key(pathlib.Path(folder)), {key(*names) for names in pictures.names}
    for problem, names in [
        ("lacks", wanted - found.keys()),
        ("does not need", found.keys() - wanted),
    ]:
        if names:
            told = ", ".join(sorted(names)[:LISTED])
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            raise UserError(
                f"{folder}: {problem} {told}{more}; one picture for each pair is wanted"
            )

    def restore(pair):
        path = found[key(pair["sequence"], pair["frame"])]
        try:
            picture = images.read(path)
        except UserError as error:
            raise BadPicture(str(error)) from error
        if picture.dtype != np.uint8:
            raise BadPicture(f"{path}: has 16 bits a channel; 8 are scored")
        return picture

    return Method(name, restore, {"folder": folder})


def _by_key(folder):
    found = {}
    for where, _, names in os.walk(folder, followlinks=True):
        for path in (pathlib.Path(where, name) for name in sorted(names)):
            if path.suffix.lower() in images.READ and not path.name.startswith("."):
                named = key(*path.relative_to(folder).with_suffix("").parts)
                other = found.setdefault(named, path)
                if other is not path:
                    raise UserError(f"{path}: {other} is for the same pair; take one away")
    return found


def key(*names):
    """What names a picture, however its sequence and frame are joined."""
    return re.sub("[/-]", "_", "_".join(name for name in names if name != "."))


def of_baseline(name, kernel, pictures):
    """Deconvolution by scikit-image with the blur's own kernel: no network, and not blind."""
    try:
        from skimage import restoration
    except ImportError as error:
        raise UserError(
            f"--baseline: wants scikit-image ({error}); pip install 'tf-deblur[evaluate]'"
        ) from error
    if not kernel:
        raise UserError(f"{name}: is told the blur; name its --kernel, a file or a folder of them")
    for _, frame in pictures.names:
        kernel_of(frame, kernel)  # what is missing is said now
    functions = {
        "richardson_lucy": lambda x, psf: restoration.richardson_lucy(x, psf, ITERATIONS),
        "unsupervised_wiener": lambda x, psf: restoration.unsupervised_wiener(x, psf, rng=0)[0],
    }

    def restore(pair):
        psf = kernel_of(pair["frame"], kernel)
        margin = [(side // 2, side // 2) for side in psf.shape]  # the blur saw beyond the edge
        wider = np.pad(images.to_float(pair["blurred"]), [*margin, (0, 0)], mode="edge")
        channels = [functions[name](x, psf) for x in np.moveaxis(wider.astype(np.float64), 2, 0)]
        height, width = pair["blurred"].shape[:2]
        (top, _), (left, _) = margin
        inside = np.stack(channels, -1)[top : top + height, left : left + width]
        return images.to_uint8(inside)

    told = {"kernel": str(kernel), "told": "not blind: the kernel is given"}
    return Method(f"{name} (given the kernel)", restore, told, timed=True)


@functools.lru_cache
def kernel_of(frame, source):
    """A blur's kernel: (rows, columns) float64 with the sum 1, the middle its origin.

    Args:
      frame: the picture's name.
      source: a file, or a folder with one for each frame: FRAME.txt, FRAME.png, or with
        anything after FRAME. Text is exact; pictures are read as grey levels.

    Raises:
      UserError: there is no such file, or it holds no kernel.
    """
    path = pathlib.Path(source)
    if path.is_dir():
        own = sorted(path.glob(f"{frame}*"), key=lambda file: (file.suffix != ".txt", file.name))
        if not own:
            raise UserError(f"{path}: no kernel for {frame}; add {frame}.txt")
        path = own[0]
    if path.suffix == ".txt":
        try:
            kernel = np.loadtxt(path, ndmin=2)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: no table of numbers ({error})") from error
    else:
        kernel = images.read(path).astype(np.float64).mean(-1)
    if not (np.isfinite(kernel).all() and kernel.min() >= 0 and kernel.sum() > 0):
        raise UserError(f"{path}: no kernel; numbers from 0 up are wanted, not all of them 0")
    return kernel / kernel.sum()
