"""Exports a trained network for other programs: a SavedModel, a TFLite file, a page that restores.

python -m tf_deblur.export --model=compact --output=exported
"""

import functools
import pathlib

from absl import flags

from tf_deblur import errors

FORMATS = ("saved_model", "tflite", "web")

_MODEL = flags.DEFINE_string(
    "model", None, "A preset, a working directory or a .safetensors file.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write into.", required=True)
_FORMATS = flags.DEFINE_list("formats", ["saved_model", "tflite"], f"Any of {', '.join(FORMATS)}.")
_VERSION = flags.DEFINE_integer(
    "version", None, "Number of the SavedModel's folder; the next free one if not given.", 1
)
_MAX_MEGAPIXELS = flags.DEFINE_float(
    "max_megapixels", 64, "The served model refuses larger files, by their headers.", 0
)
_LITERT_JS = flags.DEFINE_string(
    "litert_js",
    "node_modules/@litertjs/core",
    "Folder of npm's package, which runs the network in the browser; for web.",
)
_TILE = flags.DEFINE_integer("tile", 1024, "Height and width of web's tiles, in pixels.", 8)
_VARIANT = flags.DEFINE_enum(
    "variant",
    "int8",
    ["int8", "float32"],
    "Weights of web's network: int8 takes a third of the time and a quarter of the space.",
)

flags.register_validator(
    "formats",
    lambda chosen: chosen and set(chosen) <= set(FORMATS),
    message=f"use any of {', '.join(FORMATS)}, with a comma between",
)


def main(argv):
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; export takes flags only")
    import tensorflow as tf

    from tf_deblur import devices
    from tf_deblur.export import describe, saved_model, tflite, web
    from tf_deblur.models import weights

    writers = {
        "saved_model": functools.partial(
            saved_model.write, version=_VERSION.value, megapixels=_MAX_MEGAPIXELS.value
        ),
        "tflite": tflite.write,
        "web": functools.partial(
            web.write, package=_LITERT_JS.value, variant=_VARIANT.value, side=_TILE.value
        ),
    }
    with devices.layers_in("float32"):
        model = weights.load(_MODEL.value)
    facts = describe(model, _MODEL.value)
    for name in _FORMATS.value:
        try:
            path = writers[name](model, facts, pathlib.Path(_OUTPUT.value))
        except (OSError, tf.errors.OpError) as error:
            where = getattr(error, "filename", None) or _OUTPUT.value
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise errors.UserError(f"{where}: cannot be written ({reason})") from error
        print(f"{path}: {size(path) / 1e6:.1f} MB", flush=True)


def size(path):
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def cli():
    errors.run(main)


if __name__ == "__main__":
    cli()
