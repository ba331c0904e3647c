"""Writes a trained network as what other programs run: TensorFlow Serving, a phone, a browser."""

import json
import pathlib
import re
import typing
from importlib import metadata

if typing.TYPE_CHECKING:
    import keras

FOLDERS = ("--workdir=", "--data_dir=", "--manual_dir=")  # they say nothing but where things lay
VARIANTS = ("float32", "float16", "dynamic_int8", "int8")  # of `.tflite` files


def describe(model: "keras.Model", name: str) -> dict:
    """What a user of the exported network has to know, as JSON can hold it."""
    from tf_deblur import __version__
    from tf_deblur.models import networks, weights

    notes = weights.describe(name)
    return {
        **json.loads(model.description),
        **networks.list_facts(model),
        "pixel_bytes_bfloat16": networks.list_facts(model, precision="bfloat16")["pixel_bytes"],
        "parameters": model.count_params(),
        "licence": notes.get("licence"),
        "weights_sha256": weights.hash_file(name),
        "weights_notes": notes,
        "training_flags": read_training_flags(weights.find(name).parent),
        "code_version": __version__,
        "versions": {name: metadata.version(name) for name in ("tensorflow", "keras")},
    }


def read_training_flags(folder: pathlib.Path) -> list[str] | None:
    """The flags of the training in a working directory; None if it is none.

    Of the trainer's machine they tell no more than a file's name.
    """
    file = folder / "flags.flags"
    if not file.exists():
        return None
    lines = [line for line in file.read_text().splitlines() if not line.startswith(FOLDERS)]
    return [re.sub("^(--init_from=).*/(?=.)", r"\1", line) for line in lines]
