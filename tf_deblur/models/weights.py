"""One `.safetensors` file per network, which says what it is.

Keys are `layer/kernel` (rows, columns, inputs, outputs) and `layer/bias`; the metadata
holds the preset and its arguments as JSON, and what made the weights. No pickle, and the
same file for both Keras versions.
"""

import hashlib
import json
import pathlib
import typing

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialized

from tf_deblur import __version__
from tf_deblur.errors import UserError
from tf_deblur.files import whole
from tf_deblur.models import generators

if typing.TYPE_CHECKING:  # what reads weights may do without
    import keras

PACKAGED = pathlib.Path(__file__).parents[1] / "pretrained"
IN_WORKDIR = "generator.safetensors"


def find(name: str | pathlib.Path) -> pathlib.Path:
    """The `.safetensors` file that a preset, working directory or file name stands for."""
    name = str(name)
    if is_preset(name):
        return PACKAGED / f"{name}.safetensors"
    path = pathlib.Path(name)
    if path.is_dir():
        path = path / IN_WORKDIR
        if not path.exists():
            raise UserError(f"{name}: no {IN_WORKDIR} in it; train first, or name another model")
    if path.suffix != ".safetensors" or not path.exists():
        raise UserError(
            f"{name}: no such model; use a preset with weights ({', '.join(list_presets())}), "
            "a working directory or a .safetensors file"
        )
    return path


def is_preset(name: str | pathlib.Path) -> bool:
    """Whether weights of this name ship; a folder of the same name is ./NAME."""
    return str(name) in list_presets()


def list_presets() -> list[str]:
    """The names of the weights that ship."""
    return sorted(path.stem for path in PACKAGED.glob("*.safetensors"))


def save(path: pathlib.Path, model: "keras.Model", dtype: str = "float32", **notes: str) -> None:
    """Writes a generator's weights; the file appears whole or not at all.

    Args:
      path: the `.safetensors` file to write.
      model: a generator of `networks.build_generator`.
      dtype: "float32", or "float16" for shipping: half the size, errors near 2⁻¹¹.
      **notes: strings for the metadata: what it was trained on, for how long, licence.
    """
    tensors = {key: value.astype(dtype) for key, value in read_variables(model).items()}
    notes = {key: str(value) for key, value in notes.items()}
    metadata = {"code_version": __version__, "licence": "Apache-2.0", **notes}
    data = serialized(tensors, metadata={**metadata, **describe_network(model)})
    with whole(path) as part:
        part.write_bytes(data)  # `save_file` would hide it from all other users


def load(name: str | pathlib.Path) -> "keras.Model":
    """Builds the generator that a file describes and gives it the file's weights.

    Args:
      name: a preset with packaged weights, a working directory or a `.safetensors` file.

    Returns:
      A `keras.Model`, as `networks.build_generator` makes it.

    Raises:
      UserError: no such file, or it is not whole or not one of this project's.
    """
    from tf_deblur.models import networks

    path = find(name)
    preset, arguments = _kind(path, describe(path))
    model = networks.build_generator(preset, **arguments)
    load_into(model, path)
    return model


def read(name: str | pathlib.Path) -> tuple[generators.Layers, dict[str, np.ndarray]]:
    """What a file holds, read without TensorFlow; for names and errors as `load`.

    Returns:
      (layers, tensors): as `generators.list_layers` has them; name -> float32 array.
    """
    path = find(name)
    preset, arguments = _kind(path, describe(path))
    layers = generators.list_layers(preset, arguments)
    kind = {"preset": preset, "arguments": arguments}
    return layers, _read_tensors(path, kind, generators.list_shapes(layers))


def load_into(model: "keras.Model", name: str | pathlib.Path) -> None:
    """Gives `model` the weights in a file, or in a SavedModel of this project's.

    Raises:
      UserError: they are another architecture's.
    """
    shapes = {key: value.shape for key, value in read_variables(model).items()}
    path = find_saved_model(name) or find(name)
    tensors = _read_tensors(path, json.loads(model.description), shapes)
    for layer in model.layers:
        if layer.weights:
            names = ("kernel", "bias")[: len(layer.weights)]
            layer.set_weights([tensors[f"{layer.name}/{n}"] for n in names])


def describe(name: str | pathlib.Path) -> dict[str, str]:
    """A file's metadata, read without TensorFlow: a dict of strings."""
    with _open(find(name)) as file:
        return dict(file.metadata() or {})


def describe_network(model: "keras.Model") -> dict[str, str]:
    """Preset and arguments of a generator, as the metadata holds them."""
    kind = json.loads(model.description)
    return {"preset": kind["preset"], "arguments": json.dumps(kind["arguments"])}


def hash_file(name: str | pathlib.Path) -> str:
    """SHA-256 of the file behind `name`, in hexadecimal."""
    return hashlib.sha256(find(name).read_bytes()).hexdigest()


def read_variables(model: "keras.Model") -> dict[str, np.ndarray]:
    """Layer and variable name -> array, for every weight of a functional model."""
    return {
        f"{layer.name}/{name}": np.ascontiguousarray(value)
        for layer in model.layers
        for name, value in zip(("kernel", "bias"), layer.get_weights())
    }


def _read_tensors(path, kind, mine):
    """Weights in float32; UserError where their shapes are other than `mine`."""
    if path.is_dir():
        tensors = _read_saved_model(path)
    else:
        with _open(path) as file:
            tensors = {key: file.get_tensor(key).astype("float32") for key in file.keys()}
    theirs = {key: value.shape for key, value in tensors.items()}
    if mine != theirs:
        odd = sorted(k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k))
        raise UserError(
            f"{path}: weights of another architecture than {kind}: "
            f"{odd[0]} is {theirs.get(odd[0])}, not {mine.get(odd[0])}"
        )
    return tensors


def find_saved_model(name: str | pathlib.Path) -> pathlib.Path | None:
    """The SavedModel that a folder is, or its newest version; None if it is no such thing."""
    if is_preset(name):
        return None
    versions = [path for path in pathlib.Path(name).glob("[0-9]*") if path.name.isdecimal()]
    newest_first = sorted(versions, key=lambda path: int(path.name), reverse=True)
    candidates = [pathlib.Path(name), *newest_first]
    return next((path for path in candidates if (path / "saved_model.pb").exists()), None)


def _read_saved_model(folder):
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))  # a signature alone does not keep its variables
        variables = loaded.signatures["float32"].variables
        return {variable.name.removesuffix(":0"): variable.numpy() for variable in variables}
    except (OSError, LookupError, ValueError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0][:80]
        raise UserError(f"{folder}: not a SavedModel of tf-deblur's ({reason})") from error


def _open(path):
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole .safetensors file ({error})") from error


def _kind(path, metadata):
    try:
        return metadata["preset"], json.loads(metadata.get("arguments", "{}"))
    except (KeyError, ValueError) as error:
        raise UserError(f"{path}: its metadata names no preset; not a file of tf-deblur") from error
