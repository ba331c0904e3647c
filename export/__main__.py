"""Exports a trained network: a SavedModel, `.tflite` files for devices, a page for browsers.

python -m tf_deblur.export --model=compact --output=exported
python -m tf_deblur.export --model=compact --output=exported --formats=tflite --calibration=FOLDER
"""

import functools
import pathlib
import re
import tempfile
import typing
from collections.abc import Callable, Sequence

from absl import flags

from tf_deblur import errors
from tf_deblur.export import VARIANTS

if typing.TYPE_CHECKING:
    import keras

FORMATS = ("saved_model", "tflite", "web")
ANY, SIZE = "any", re.compile("([1-9][0-9]*)x([1-9][0-9]*)")

_MODEL = flags.DEFINE_string(
    "model",
    None,
    "Export this network: a preset, a working directory or a .safetensors file.",
    required=True,
)
_OUTPUT = flags.DEFINE_string("output", None, "Write into this folder.", required=True)
_FORMATS = flags.DEFINE_list("formats", list(FORMATS[:2]), f"Write any of {', '.join(FORMATS)}.")
_VARIANTS = flags.DEFINE_list(
    "variants",
    None,
    f"Write .tflite files of these: any of {', '.join(VARIANTS)}; all if not given, int8 with "
    "--calibration. The page for browsers has one of them: dynamic_int8 if not given.",
)
_SIZES = flags.DEFINE_list(
    "sizes",
    [ANY, "1024x1024"],
    "Write .tflite files for these: WIDTHxHEIGHT, the one size that a file takes, or any.",
)
_CALIBRATION = flags.DEFINE_string(
    "calibration",
    None,
    "Take int8's ranges from these: a folder of photographs, blurred as those to come, or a data "
    "set's training pairs, such as gopro@FOLDER.",
)
_PAIRS = flags.DEFINE_string(
    "pairs",
    None,
    "Measure each .tflite file's restored PSNR on at most eight test pairs of this data set, such "
    "as gopro@FOLDER.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "~/tensorflow_datasets", "Keep prepared data sets in this folder."
)
_VERSION = flags.DEFINE_integer(
    "version", None, "Give the SavedModel's folder this number; the next free one if not given.", 1
)
_MAX_MEGAPIXELS = flags.DEFINE_float(
    "max_megapixels", 64, "Let the served model refuse larger files, by their headers.", 0
)
_LITERT_JS = flags.DEFINE_string(
    "litert_js",
    "node_modules/@litertjs/core",
    "Take npm's package, which runs the network in the browser, from this folder; for web.",
)

flags.register_validator(
    "formats",
    lambda chosen: chosen and set(chosen) <= set(FORMATS),
    message=f"use any of {', '.join(FORMATS)}, with a comma between",
)
flags.register_validator(
    "variants",
    lambda chosen: chosen is None or (chosen and set(chosen) <= set(VARIANTS)),
    message=f"use any of {', '.join(VARIANTS)}, with commas between",
)
flags.register_validator(
    "sizes",
    lambda chosen: chosen and all(size == ANY or SIZE.fullmatch(size) for size in chosen),
    message=f"use {ANY}, or WIDTHxHEIGHT in pixels, with commas between",
)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; export takes flags only")
    import tensorflow as tf

    from tf_deblur import devices
    from tf_deblur.export import describe, saved_model
    from tf_deblur.models import weights
    from tf_deblur.restoring import loading

    if loading.ENGINES[loading.choose(_MODEL.value)].foreign:
        raise errors.UserError(
            f"{_MODEL.value}: another's network, which `deblur` and `evaluate` run as it is; of a "
            "SavedModel or .keras file TensorFlow's own converter makes a .tflite file for them"
        )
    writers: dict[str, Callable] = {
        "saved_model": functools.partial(
            saved_model.write, version=_VERSION.value, megapixels=_MAX_MEGAPIXELS.value
        ),
        "tflite": write_tflite,
        "web": write_web,
    }
    with devices.make_layers_in("float32"):
        model = weights.load(_MODEL.value)
    facts = describe(model, _MODEL.value)
    for name in _FORMATS.value:
        try:
            path = writers[name](model, facts, pathlib.Path(_OUTPUT.value))
        except (OSError, tf.errors.OpError) as error:
            where = getattr(error, "filename", None) or _OUTPUT.value
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise errors.UserError(f"{where}: cannot be written ({reason})") from error
        print(f"{path}: {measure_size(path) / 1e6:.1f} MB", flush=True)


def write_tflite(model: "keras.Model", facts: dict, output: pathlib.Path) -> pathlib.Path:
    """The folder of `.tflite` files; where nothing calibrates int8, it is left out and said so."""
    variants = _VARIANTS.value or VARIANTS
    if not _VARIANTS.value and not _CALIBRATION.value:
        print("int8 is left out: its ranges are taken from real pictures, see --calibration")
        variants = VARIANTS[:-1]
    return write_variants(model, facts, output, variants, parse_sizes())


def write_web(model: "keras.Model", facts: dict, output: pathlib.Path) -> pathlib.Path:
    """The page for browsers, with a `.tflite` file of one size."""
    from tf_deblur.export import web

    runtime = web.read_runtime(_LITERT_JS.value)
    variants, fixed = _VARIANTS.value or ["dynamic_int8"], [*filter(None, parse_sizes())]
    if len(variants) > 1 or len(fixed) != 1:
        raise errors.UserError("web: name one of --variants and one WIDTHxHEIGHT of --sizes")
    with tempfile.TemporaryDirectory() as folder:
        made = write_variants(model, facts, pathlib.Path(folder), variants, fixed)
        [network] = made.glob("*.tflite")
        return web.write(network, output, runtime)


def write_variants(
    model: "keras.Model", facts: dict, output: pathlib.Path, variants: Sequence[str], sizes: list
) -> pathlib.Path:
    """The folder of `.tflite` files, made and measured with the pictures that flags name."""
    from tf_deblur.export import real_pictures, tflite

    calibration = pairs = tflite.NONE
    if _CALIBRATION.value:
        calibration = real_pictures.read_blurred(
            _CALIBRATION.value, _DATA_DIR.value, tflite.PATCHES
        )
    if _PAIRS.value:
        pairs = real_pictures.read_pairs(_PAIRS.value, _DATA_DIR.value, tflite.PAIRS)
    folder = tflite.write(model, facts, output, variants, sizes, calibration, pairs)
    for line in tflite.summarise(folder):
        print(line)
    if not _PAIRS.value:
        print("What restoring with them loses on real pairs is not measured, see --pairs")
    return folder


def parse_sizes() -> list[tuple[int, int] | None]:
    """(height, width) of each of --sizes, None for any."""
    found = [SIZE.fullmatch(size) for size in _SIZES.value]
    return [(int(size[2]), int(size[1])) if size else None for size in found]


def measure_size(path: pathlib.Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def cli() -> None:
    errors.run(main)


if __name__ == "__main__":
    cli()
