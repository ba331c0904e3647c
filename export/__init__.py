"""Writes a trained network as what other programs run: TensorFlow Serving, a phone, a browser."""

import json
from importlib import metadata

VARIANTS = ("float32", "float16", "dynamic_int8", "int8")  # of `.tflite` files


def describe(model, name):
    """What a user of the exported network has to know, as JSON can hold it."""
    from tf_deblur import __version__
    from tf_deblur.models import networks, weights

    notes = weights.describe(name)
    flagfile = weights.find(name).parent / "flags.flags"  # of a working directory
    return {
        **json.loads(model.description),
        **networks.facts(model),
        "parameters": model.count_params(),
        "licence": notes.get("licence"),
        "weights_sha256": weights.file_hash(name),
        "weights_notes": notes,
        "training_flags": flagfile.read_text().splitlines() if flagfile.exists() else None,
        "code_version": __version__,
        "versions": {name: metadata.version(name) for name in ("tensorflow", "keras")},
    }
