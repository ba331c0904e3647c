"""What is scored: the input itself, networks, folders that other programs restored, a baseline."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import typing
import warnings
from collections.abc import Callable
from importlib import metadata

import numpy as np

from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import arrays, formats, photographs
from tf_deblur.restoring.naming import ENDING

if typing.TYPE_CHECKING:  # loads TensorFlow
    from tf_deblur.scoring.pictures import Pictures

BLURRED = "blurred"  # the method that does nothing: what every other is compared with
ITERATIONS = 30  # of Richardson and Lucy; more sharpen the noise too
LISTED = 5  # names in an error's line
# scikit-image's module, a channel and the kernel -> the channel restored.
BASELINES = {
    "richardson_lucy": lambda skimage, x, psf: skimage.richardson_lucy(x, psf, ITERATIONS),
    "unsupervised_wiener": lambda skimage, x, psf: skimage.unsupervised_wiener(x, psf, rng=0)[0],
}


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
      costs: (height, width) -> what it takes else, by `restorer.Restorer.measure_costs`.
    """

    name: str
    restore: Callable
    facts: dict = dataclasses.field(default_factory=dict)
    notes: dict = dataclasses.field(default_factory=dict)
    network: bool = False
    timed: bool = False
    costs: Callable = lambda height, width: {}


def join(models: list[Method], folders: list[Method], baselines: list[Method]) -> list[Method]:
    """The methods that a run scores, the blurred input's first; UserError if two share a name."""
    methods = [Method(BLURRED, lambda pair: pair["blurred"]), *models, *folders, *baselines]
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{name}: two methods of this name; say NAME={name} for one of them")
    return methods


def open_models(name: str, precision: str, count: int = 1) -> list[Method]:
    """A trained network: name, or ROW=NAME, and precision as `loading.load` takes them.

    With a `count` above 1 the mean of so many positions follows, as a row of its own.
    """
    from tf_deblur.restoring import describing, ensemble, loading

    row, _, named = name.partition("=")
    if not named or "/" in row or pathlib.Path(name).exists():
        row, named = name, name
    restore = loading.load(named, precision)
    beside = describing.name_beside(named)
    told = hashlib.sha256(beside.read_bytes()).hexdigest() if beside.is_file() else None
    methods = [_wrap(row, restore, told)]
    if count > 1:
        methods.append(_wrap(f"{row}, mean of {count}", ensemble.Ensemble(restore, count), told))
    return methods


def _wrap(row, restore, told):
    return Method(
        row,
        lambda pair: restore(pair["blurred"]),
        facts={
            "restorer": str(restore),
            "precision": restore.precision,
            "weights_sha256": restore.weights_sha256,
            "json_sha256": told,  # of what is said of it beside its file
        },
        notes={"tiles": restore.describe_tiles()},
        network=True,
        timed=True,
        costs=restore.measure_costs,
    )


def open_folder(named: str, pictures: "Pictures") -> Method:
    """Pictures that another program restored: NAME=FOLDER, matched by sequence and frame.

    In the folder a picture is SEQUENCE/FRAME.png, SEQUENCE_FRAME.png or SEQUENCE-FRAME.png, or
    of another format that we read.

    Args:
      named: NAME=FOLDER.
      pictures: the `Pictures` that were restored.

    Raises:
      UserError: the folder lacks one of them, or has another.
    """
    name, _, folder = named.partition("=")
    if not name or not folder:
        raise UserError(f"--restored={named}: say NAME=FOLDER")
    if not pathlib.Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    found = _find_pictures(pathlib.Path(folder))
    wanted = {join_names(*names) for names in pictures.names}
    if len(wanted) < len(pictures.names):
        raise UserError(f"{folder}: two pairs have one name when joined by _; score them apart")
    for problem, names in [
        ("lacks", wanted - found.keys()),
        ("does not need", found.keys() - wanted),
    ]:
        if names:
            told = ", ".join(sorted(names)[:LISTED])
            more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
            raise UserError(
                f"{folder}: {problem} {told}{more}; one picture for each pair is wanted, named "
                "SEQUENCE/FRAME or SEQUENCE_FRAME"
            )

    def restore(pair):
        path = found[join_names(pair["sequence"], pair["frame"])]
        picture = photographs.read(path)
        if picture.dtype != np.uint8:
            raise BadPicture(f"{path}: has 16 bits a channel; 8 are scored")
        return picture

    listing = [[str(path), path.stat().st_size, path.stat().st_mtime] for path in found.values()]
    return Method(name, restore, {"folder": folder, "files_sha256": _digest(listing)})


def _digest(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _find_pictures(folder):
    found = {}
    for where, _, names in os.walk(folder, followlinks=True):
        for path in (pathlib.Path(where, name) for name in sorted(names)):
            if path.suffix.lower() in formats.READ and not path.name.startswith("."):
                stem = path.stem.removesuffix(ENDING)  # as `deblur` names them
                named = join_names(*path.relative_to(folder).parent.parts, stem)
                other = found.setdefault(named, path)
                if other is not path:
                    raise UserError(f"{path}: {other} is for the same pair; take one away")
    return found


def join_names(*names: str) -> str:
    """What names a picture, however its sequence and frame are joined."""
    return re.sub("[/-]", "_", "_".join(name for name in names if name != "."))


def open_baseline(name: str, kernel: str | None, pictures: "Pictures") -> Method:
    """Deconvolution by scikit-image with the blur's own kernel: no network, and not blind.

    Args:
      name: of BASELINES.
      kernel: a file, or a folder with one for each frame; as `read_kernel` takes it.
      pictures: the `Pictures` to restore.

    Raises:
      UserError: scikit-image or a kernel is missing.
    """
    try:
        from skimage import restoration
    except ImportError as error:
        raise UserError(
            f"--baseline: wants scikit-image ({error}); pip install 'tf-deblur[evaluate]'"
        ) from error
    if not kernel:
        raise UserError(f"{name}: is told the blur; name its --kernel, a file or a folder of them")
    frames = dict.fromkeys(frame for _, frame in pictures.names)
    kernels = [read_kernel(frame, kernel).tolist() for frame in frames]
    deconvolve = functools.partial(BASELINES[name], restoration)

    def restore(pair):
        psf = read_kernel(pair["frame"], kernel)
        (top, left), (height, width) = (n // 2 for n in psf.shape), pair["blurred"].shape[:2]
        margin = [(top, top), (left, left), (0, 0)]  # the blur saw beyond the edge
        wider = np.pad(arrays.to_float(pair["blurred"]), margin, mode="edge").astype(np.float64)
        channels = [deconvolve(channel, psf) for channel in np.moveaxis(wider, 2, 0)]
        inside = np.stack(channels, -1)[top : top + height, left : left + width]
        return arrays.to_uint8(inside)

    facts = {
        "kernel": str(kernel),
        "kernels_sha256": _digest(kernels),
        "scikit-image": metadata.version("scikit-image"),
        "told": "not blind: the kernel is given",
    }
    return Method(f"{name} (given the kernel)", restore, facts, timed=True)


@functools.lru_cache
def read_kernel(frame: str, source: str) -> np.ndarray:
    """A blur's kernel: (rows, columns) float64 with the sum 1, the middle its origin.

    Args:
      frame: the picture's name.
      source: a file, or a folder with one for each frame: FRAME.txt or FRAME.png, with words
        after FRAME or without. Text is exact, and taken first; pictures are grey levels.

    Raises:
      UserError: there is no such file, there are two, or it holds no kernel.
    """
    path = pathlib.Path(source)
    if path.is_dir():
        path = _find_kernel(path, frame)
    if path.suffix == ".txt":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of an empty file
                kernel = np.loadtxt(path, ndmin=2)
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: no table of numbers ({error})") from error
    else:
        kernel = photographs.read(path).astype(np.float64).mean(-1)
    if not (kernel.size and np.isfinite(kernel).all() and kernel.min() >= 0 and kernel.sum() > 0):
        raise UserError(f"{path}: no kernel; numbers from 0 up are wanted, not all of them 0")
    return kernel / kernel.sum()


def _find_kernel(folder, frame):
    own = re.compile(rf"{re.escape(frame)}(?![0-9A-Za-z])")  # 1.txt is not of frame 10
    files = [path for path in sorted(folder.iterdir()) if own.match(path.name)]
    texts = [path for path in files if path.suffix == ".txt"]
    files = texts or [path for path in files if path.suffix.lower() in formats.READ]
    if not files:
        raise UserError(f"{folder}: no kernel for {frame}; add {frame}.txt")
    if len(files) > 1:
        raise UserError(f"{files[1]}: {files[0].name} is for {frame} too; take one away")
    return files[0]
