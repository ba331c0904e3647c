"""A graph model of TensorFlow.js: model.json with its shards, or npm's package with both.

Its graph is TensorFlow's own as JSON, whose constants lie in the shards.
"""

import json
import math
import pathlib
import posixpath
import re
import tarfile
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from google.protobuf import json_format

from tf_deblur.restoring import engine, foreign, graph_backend

# UpscalerJS's packages say so in their scripts.
RANGE = re.compile(rb"inputRange:\s*\[\s*(-?[0-9]+),\s*([0-9]+),?\s*\]")
MULTIPLE = re.compile(rb"divisibilityFactor:\s*([0-9]+)")
WRONG = "no graph model of TensorFlow.js, or not whole"
PROBLEMS = (OSError, tarfile.TarError, EOFError, ValueError, LookupError, TypeError, AttributeError)


class TFJSEngine(graph_backend.GraphEngine):
    """model.json, its folder, or a .tgz; `model_facts` as `foreign.read_told` takes them."""

    def __init__(self, name, precision, model_facts=None):
        path, told = pathlib.Path(name), foreign.read_told(name, model_facts)
        try:
            graph, image, outputs, said = _read(path)
        except (*PROBLEMS, json_format.ParseError) as error:
            engine.refuse(path, error, WRONG)
        restored = foreign.choose_output(name, outputs, told)
        super().__init__(name, precision, graph, image, restored, said | told)


def _read(path):
    """(graph, the name of what goes in, those of what comes out, what is said of both)."""
    model, read, said = _open(path)
    if model.get("format") != "graph-model":
        raise ValueError(f"its format is {model.get('format')}; graph-model is wanted")
    signature = model.get("signature") or model["userDefinedMetadata"]["signature"]
    [image] = (it["name"] for it in signature["inputs"].values())
    outputs = {key: it["name"] for key, it in signature["outputs"].items()}
    return read_graph(model, read), image, outputs, said


def _open(path):
    """(what model.json holds, name of a shard -> its bytes, what scripts beside it say)."""
    if path.name.endswith((".tgz", ".tar.gz")):
        with tarfile.open(path) as package:
            return _open_package(package.getmembers(), package)
    path = path / "model.json" if path.is_dir() else path
    return json.loads(path.read_bytes()), lambda name: (path.parent / name).read_bytes(), {}


def _open_package(members, package):
    files = {}
    for member in members:
        _refuse_outside(member.name)
        if member.isfile():
            files[member.name] = package.extractfile(member).read()
    found = [name for name in files if posixpath.basename(name) == "model.json"]
    if len(found) != 1:
        raise ValueError(f"{len(found)} files called model.json in it")
    scripts = b"".join(data for name, data in files.items() if name.endswith(".js"))
    said: dict = {}
    if match := RANGE.search(scripts):
        said["range"] = [int(end) for end in match.groups()]
    if match := MULTIPLE.search(scripts):
        said["size_multiple"] = int(match[1])
    folder = posixpath.dirname(found[0])
    return json.loads(files[found[0]]), lambda name: files[posixpath.join(folder, name)], said


def _refuse_outside(name):
    if posixpath.isabs(name) or ".." in name.split("/"):
        raise ValueError(f"{name}: a path that leads out of it")


def read_graph(model: dict, read: Callable) -> graph_backend.GraphDef:
    """The graph, its constants put back.

    Args:
      model: what model.json holds.
      read: name of a shard -> its bytes.

    Raises:
      ValueError, LookupError, TypeError, OSError: something of it lacks, or is cut.
    """
    constants: dict[str, np.ndarray] = {}
    for group in model["weightsManifest"]:
        for name in group["paths"]:
            _refuse_outside(name)
        shards = b"".join(map(read, group["paths"]))
        constants |= _read_constants(group["weights"], shards)
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


def _read_constants(weights, data):
    """Name -> array."""
    found, start = {}, 0
    for told in weights:
        packed = told.get("quantization", {})
        kind = np.dtype(packed.get("dtype", told["dtype"]))
        count = math.prod(told["shape"])
        values = np.frombuffer(data, kind, count, start).reshape(told["shape"])
        start += count * kind.itemsize
        if "scale" in packed:
            values = values * np.float32(packed["scale"]) + np.float32(packed["min"])
        found[told["name"]] = values.astype(told["dtype"], copy=False)
    if start != len(data):
        raise ValueError(f"its shards have {len(data)} bytes, and not {start}")
    return found
