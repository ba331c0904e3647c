"""A .tflite file, of ours or of others, on LiteRT, or on TensorFlow's own interpreter."""

import hashlib
import pathlib
import struct
import threading
from importlib import metadata

import numpy as np

from tf_deblur import devices, errors
from tf_deblur.errors import UserError
from tf_deblur.restoring import describing, engine, foreign

FACTS = ("name", "sha256", "variant", "signature", "fixed_size", "inputs", "outputs")
# Where such files run, memory is for others too, and 12 megapixels restore in 0.7 GB with all else.
MEMORY = 0.43e9
# by which the interpreter, and who reads a file as flatbuffers lay it out, say that it is broken
BROKEN = (ValueError, RuntimeError, TypeError, IndexError, struct.error)


class TFLiteEngine(engine.Engine):
    """A `.tflite` file of `tf-deblur export`, with its JSON beside it."""

    def __init__(self, name, precision, threads=None):
        path = pathlib.Path(name)
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        told = engine.read_facts(path.with_suffix(".json"), FACTS)
        if hashlib.sha256(path.read_bytes()).hexdigest() != told["sha256"]:
            # the interpreter checks nothing: what is cut short ends the process
            engine.refuse(path, "another file than its .json tells of")
        make, runtime = find_interpreter()
        threads = threads or devices.count_cores()
        where = f"{threads} thread{'s' * (threads > 1)} of {runtime}"
        size = tuple(told["fixed_size"] or ()) or None
        facts = engine.make_facts(
            told, fixed_size=size, **({} if size else {"most_memory": MEMORY})
        )
        super().__init__(facts, told["variant"], "its only one", where)
        self._image, self._restored = told["inputs"][0], told["outputs"][0]
        self.takes_bytes = _is_bytes(self._image) and _is_bytes(self._restored)
        try:
            with errors.quiet():  # it says its delegate
                opened = make(str(path), num_threads=threads)
                if size:
                    opened.allocate_tensors()
                self._runner = _find_runner(opened, told)
                if not size:
                    side = facts.size_multiple
                    self.run(np.zeros((1, side, side, facts.channels), np.float32))
        except (ValueError, RuntimeError) as error:
            engine.refuse(path, error)

    def run(self, batch: np.ndarray) -> np.ndarray:
        restored = [self._run_one(picture[None]) for picture in batch]
        return restored[0] if len(restored) == 1 else np.concatenate(restored)

    def _run_one(self, picture):
        if picture.dtype == np.uint8:
            return self._invoke(picture)
        restored = self._invoke(_quantise(picture, self._image["quantisation"]))
        return _dequantise(restored, self._restored["quantisation"])

    def _invoke(self, given):
        return self._runner(**{self._image["name"]: given})[self._restored["name"]]


class ForeignTFLiteEngine(foreign.ForeignEngine):
    """A `.tflite` file of others; `model_facts` as `describing.read_told` takes them."""

    def __init__(self, name, precision, threads=None, model_facts=None):
        path, told = pathlib.Path(name), describing.read_told(name, model_facts)
        make, runtime = find_interpreter()
        threads = threads or devices.count_cores()
        try:
            _check_whole(path.read_bytes())
            with errors.quiet():
                opened = make(str(path), num_threads=threads)
            images, outputs = opened.get_input_details(), opened.get_output_details()
        except (OSError, *BROKEN) as error:
            engine.refuse(path, error, "no whole .tflite file")
        names = [it["name"] for it in images], {it["name"]: it for it in outputs}
        restored = describing.choose_output(name, *names, told)
        [image], one_at_a_time, size = images, threading.Lock(), None

        def run(given):
            nonlocal size
            with one_at_a_time:
                if size != given.shape:
                    size = None  # of a shape that it refuses nothing stays
                    opened.resize_tensor_input(image["index"], given.shape)
                    opened.allocate_tensors()
                    size = given.shape
                opened.set_tensor(image["index"], _quantise(given, _read_quantisation(image)))
                opened.invoke()
                made = opened.get_tensor(restored["index"])
                return _dequantise(made, _read_quantisation(restored))

        shape = tuple(None if side < 0 else int(side) for side in image["shape_signature"])
        network = foreign.Network(run, shape, "float32")
        if by := _read_quantisation(image):  # all that it can be told is from black to white
            ends = np.iinfo(by["dtype"])
            network.told["range"] = _dequantise(np.array([ends.min, ends.max]), by).tolist()
        where = f"{threads} thread{'s' * (threads > 1)} of {runtime}"
        super().__init__(name, network, told, np.dtype(image["dtype"]).name, "its only one", where)


def _check_whole(data):
    """ValueError and others for what is no such file, or cut: the interpreter would end with it."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ModuleNotFoundError:
        from tensorflow.lite.python import schema_py_generated as schema
    if data[4:8] != b"TFL3":
        raise ValueError("it does not begin as one")
    model = schema.Model.GetRootAsModel(data, 0)
    for number in range(model.BuffersLength()):
        model.Buffers(number).DataAsNumpy()
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            tensor.ShapeAsNumpy(), tensor.Name(), model.Buffers(tensor.Buffer()).DataLength()
        for op in map(graph.Operators, range(graph.OperatorsLength())):
            op.InputsAsNumpy(), op.OutputsAsNumpy(), model.OperatorCodes(op.OpcodeIndex())


def _read_quantisation(details):
    """As a JSON of ours tells it; None where numbers stand for themselves."""
    scale, zero_point = details["quantization"]
    if np.issubdtype(details["dtype"], np.floating):
        return None
    return {"scale": scale or 1.0, "zero_point": zero_point, "dtype": details["dtype"]}


def find_interpreter() -> tuple[type, str]:
    """(class, name and version) of the interpreter: LiteRT's where it is installed.

    Raises:
      UserError: neither it nor TensorFlow is.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter  # tf.lite's successor, and faster

        return Interpreter, f"ai-edge-litert {metadata.version('ai-edge-litert')}"
    except ModuleNotFoundError:
        pass
    try:
        with errors.quiet():
            import tensorflow as tf
    except ModuleNotFoundError as error:
        raise UserError(
            "neither ai-edge-litert nor TensorFlow is installed; pip install ai-edge-litert"
        ) from error
    return tf.lite.Interpreter, f"TensorFlow {metadata.version('tensorflow')}"


def _find_runner(opened, facts):
    """The signature that the JSON tells of; ValueError if the file has another."""
    [image], [restored] = facts["inputs"], facts["outputs"]
    names = {"inputs": [image["name"]], "outputs": [restored["name"]]}
    found = opened.get_signature_list()
    if found.get(facts["signature"]) != names:
        raise ValueError(f"its signatures are {found or 'none'}, not {facts['signature']}: {names}")
    runner = opened.get_signature_runner(facts["signature"])
    for end, details in (
        (image, runner.get_input_details()),
        (restored, runner.get_output_details()),
    ):
        shape = details[end["name"]]["shape_signature"].tolist()
        if shape != end["shape"]:
            raise ValueError(f"{end['name']} has shape {shape}, not {end['shape']}")
    return runner


def _is_bytes(end):
    """Whether an 8-bit pixel goes in, or comes out, as it is."""
    by = end["quantisation"]
    return by and round(by["scale"] * 255, 6) == 1 and by["zero_point"] == 0


def _quantise(picture, by):
    """[0, 1] -> what a file takes."""
    if not by:
        return picture
    whole = np.rint(picture / by["scale"])
    whole += by["zero_point"]
    kind = by.get("dtype", np.uint8)
    return np.clip(whole, np.iinfo(kind).min, np.iinfo(kind).max, out=whole).astype(kind)


def _dequantise(restored, by):
    """What a file gives -> float32."""
    if not by:
        return restored
    return (restored.astype(np.float32) - by["zero_point"]) * np.float32(by["scale"])
