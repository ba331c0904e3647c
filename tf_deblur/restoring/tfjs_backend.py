"""A graph model of TensorFlow.js: model.json with its shards, or npm's package with both.

Its graph is TensorFlow's own as JSON, whose constants lie in the shards.
"""

import json
import math
import pathlib
import posixpath
import re
import tarfile
import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

from tf_deblur import memory
from tf_deblur.restoring import describing, engine, graph_backend

# UpscalerJS's packages say so in their scripts.
RANGE = re.compile(rb"inputRange:\s*\[\s*(-?[0-9]+),\s*([0-9]+),?\s*\]")
MULTIPLE = re.compile(rb"divisibilityFactor:\s*([0-9]+)")
LONGEST = 10_000_000  # bytes of a script
LARGEST = 1_000_000_000  # of model.json
PROBLEMS = (
    *(OSError, tarfile.TarError, EOFError, zlib.error, RecursionError),
    *(ValueError, LookupError, TypeError, AttributeError),
)


class TFJSEngine(graph_backend.GraphEngine):
    """model.json, its folder, or a .tgz; `model_facts` as `describing.read_told` takes them."""

    def __init__(self, name, precision, model_facts=None):
        path, told = pathlib.Path(name), describing.read_told(name, model_facts)
        try:
            graph, images, outputs, said = _read(path)
        except (*PROBLEMS, json_format.ParseError) as error:
            engine.refuse(path, error, "no graph model of TensorFlow.js, or not whole")
        super().__init__(name, precision, graph, images, outputs, said | told)


def _read(path):
    """(graph, the names of what goes in, those of what comes out, what is said of both)."""
    if path.name.lower().endswith((".tgz", ".tar.gz")):
        with tarfile.open(path) as package:
            return _read_package(package)
    path = path / "model.json" if path.is_dir() else path
    return *_read_model(lambda name: (path.parent / name).open("rb"), path.name), {}


def _read_package(package):
    files = {}
    for member in package:
        _refuse_outside(member.name)
        if member.isfile():
            files[member.name] = member
    found = [name for name in files if posixpath.basename(name) == "model.json"]
    if len(found) != 1:
        raise ValueError(f"{len(found)} files called model.json in it")
    scripts = [member for name, member in files.items() if name.endswith(".js")]
    text = b"".join(package.extractfile(script).read(LONGEST) for script in scripts)
    said: dict = {}
    if match := RANGE.search(text):
        said["range"] = [int(end) for end in match.groups()]
    if match := MULTIPLE.search(text):
        said["size_multiple"] = int(match[1])
    folder = posixpath.dirname(found[0])
    return *_read_model(
        lambda name: package.extractfile(files[posixpath.join(folder, name)]), "model.json"
    ), said


def _read_model(open_file, name):
    """As `_read`, but for what is said."""
    with open_file(name) as file:
        model = json.loads(file.read(LARGEST))
    if model.get("format") != "graph-model":
        raise ValueError(f"its format is {model.get('format')}; graph-model is wanted")
    signature = model.get("signature") or model["userDefinedMetadata"]["signature"]
    images = [it["name"] for it in signature["inputs"].values()]
    outputs = {key: it["name"] for key, it in signature["outputs"].items()}
    return read_graph(model, open_file), images, outputs


def _refuse_outside(name):
    if posixpath.isabs(name) or ".." in name.split("/"):
        raise ValueError(f"{name}: a path that leads out of it")


def read_graph(model: dict, open_file: Callable) -> graph_backend.GraphDef:
    """The graph, its constants put back.

    Args:
      model: what model.json holds.
      open_file: name of a shard -> a file of its bytes.

    Raises:
      ValueError, LookupError, TypeError, OSError: something of it lacks, or is cut.
    """
    constants: dict[str, np.ndarray] = {}
    for group in model["weightsManifest"]:
        constants |= _read_constants(group, open_file)
    graph, parsed = graph_backend.GraphDef(), {}
    for told in model["modelTopology"]["node"]:
        node = graph.node.add(name=told["name"], op=told["op"], input=told.get("input", ()))
        if node.op == "Const":
            proto = tf.make_tensor_proto(constants[node.name])
            node.attr["value"].tensor.CopyFrom(proto)
            node.attr["dtype"].type = proto.dtype
            continue
        for key, value in told.get("attr", {}).items():
            text = json.dumps(value)  # few are different, and reading one is slow
            if text not in parsed:
                parsed[text] = json_format.ParseDict(value, tf.compat.v1.AttrValue())
            node.attr[key].CopyFrom(parsed[text])
    library = model["modelTopology"].get("library") or {}
    json_format.ParseDict(library, graph.library)
    return graph


def _read_constants(group, open_file):
    """Name -> array, of the weights of some shards."""
    packed = [told.get("quantization", {}) for told in group["weights"]]
    kinds = [
        np.dtype(how.get("dtype", told["dtype"])) for how, told in zip(packed, group["weights"])
    ]
    counts = [math.prod(told["shape"]) for told in group["weights"]]
    size, data = sum(kind.itemsize * count for kind, count in zip(kinds, counts)), bytearray()
    if not 0 <= size < memory.measure_free() / 4:  # the graph holds them too, and its session
        raise ValueError(f"it has {size / 1e9:.1f} GB of weights")
    for name in group["paths"]:
        _refuse_outside(name)
        with open_file(name) as file:
            data += file.read(size + 1 - len(data))
    if len(data) != size:
        raise ValueError(f"its shards have not the {size} bytes that it tells of")
    found, start = {}, 0
    for told, how, kind, count in zip(group["weights"], packed, kinds, counts):
        values = np.frombuffer(data, kind, count, start).reshape(told["shape"])
        start += values.nbytes
        if "scale" in how:
            values = values * np.float32(how["scale"]) + np.float32(how["min"])
        found[told["name"]] = values.astype(told["dtype"], copy=False)
    return found
