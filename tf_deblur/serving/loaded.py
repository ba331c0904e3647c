"""A SavedModel in a session of its own: signatures, how they are run, what is told of them."""

import json
import threading

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2, saved_model_pb2

from tf_deblur.serving import warmup
from tf_deblur.serving.requests import SIGNATURE
from tf_deblur.serving.status import Failure, invalid, of_tensorflow


class Loaded:
    """A version in memory.

    A session, not `tf.saved_model.load`: it is what TensorFlow Serving runs, so that errors,
    names and time limits are the same, and a picture of another rank reaches the graph's own
    check instead of Python's.

    Attributes:
      signatures: name -> SignatureDef.
    """

    def __init__(self, path, bfloat16=False, timeout=0, warm_up=True):
        """Loads a version, and runs the requests of its warm-up file.

        Args:
          path: its folder.
          bfloat16: whether graphs multiply in it.
          timeout: seconds after which runs are cut off, if not 0.
          warm_up: False leaves the warm-up file alone.

        Raises:
          Failure: it cannot be loaded, or one of those requests fails.
        """
        _check(path)
        config = config_pb2.ConfigProto()
        if bfloat16:
            rewrites = config.graph_options.rewrite_options
            rewrites.auto_mixed_precision_onednn_bfloat16 = rewriter_config_pb2.RewriterConfig.ON
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        self._timeout = int(timeout * 1000)
        self._runs, self._lock = {}, threading.Lock()
        try:
            with graph.as_default():
                meta = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        except tf.errors.OpError as error:
            raise of_tensorflow(error) from error
        except Exception as error:  # TensorFlow raises any kind where a file is damaged
            raise Failure("UNKNOWN", f"{path}: cannot be loaded ({error})") from error
        self.signatures = dict(meta.signature_def)
        if warm_up:
            warmup.replay(path, self)

    def inputs(self, name):
        """A signature's inputs, name -> `tf.DType`; its default one's for an empty name."""
        signature = self.signatures.get(name or SIGNATURE)
        if signature is None:
            text = f'Serving signature name: "{name or SIGNATURE}" not found in signature def'
            raise invalid(text)
        if not signature.inputs:
            raise invalid(f"Failed to get input map for signature: {name or 'DEFAULT'}")
        return {key: tf.as_dtype(info.dtype) for key, info in sorted(signature.inputs.items())}

    def run(self, name, tensors):
        """Runs a signature: {input: array} -> {output: array}.

        Raises:
          Failure: with the code and message of the op that failed, or the time limit's.
        """
        signature = self.signatures[name or SIGNATURE]
        for key, info in signature.inputs.items():
            _check_picture(key, tensors[key].shape, info.tensor_shape)
        names, outputs = sorted(signature.inputs), sorted(signature.outputs)
        try:
            results = self._run(name or SIGNATURE, names, outputs)(*(tensors[key] for key in names))
        except tf.errors.OpError as error:
            raise of_tensorflow(error) from error
        # a scalar comes as a scalar; a string as bytes
        arrays = (
            np.array(result, object) if isinstance(result, bytes) else np.asarray(result)
            for result in results
        )
        return dict(zip(outputs, arrays))

    def _run(self, name, names, outputs):
        """The session's callable for a signature; `Session.run` would check shapes before it."""
        with self._lock:
            if name not in self._runs:
                signature, options = self.signatures[name], config_pb2.CallableOptions()
                options.feed.extend(signature.inputs[key].name for key in names)
                options.fetch.extend(signature.outputs[key].name for key in outputs)
                options.run_options.timeout_in_ms = self._timeout
                self._runs[name] = self._session._make_callable_from_options(options)
            return self._runs[name]

    def metadata(self, model, version):
        """The reply to a metadata request, as bytes."""
        told = {name: _signature(each) for name, each in self.signatures.items()}
        spec = {"name": model, "version": str(version), "signature_name": ""}
        reply = {"model_spec": spec, "metadata": {"signature_def": {"signature_def": told}}}
        return (json.dumps(reply, indent=1) + "\n").encode()


def _check(path):
    """Raises what TensorFlow Serving says of a folder without a readable `saved_model.pb`."""
    file = path / "saved_model.pb"
    if not file.exists() and not file.with_suffix(".pbtxt").exists():
        raise Failure(
            "NOT_FOUND",
            "Specified file path does not appear to contain a SavedModel bundle (should have a "
            f"file called `saved_model.pb`)\nSpecified file path: {path}",
        )
    try:
        if file.exists():
            saved_model_pb2.SavedModel.FromString(file.read_bytes())
    except Exception as error:  # protobuf's DecodeError is not one class in both dependency sets
        raise Failure("DATA_LOSS", f"Can't parse {file} as binary proto") from error


def _check_picture(name, shape, expected):
    """A tensor that a graph takes for a picture and that is none can end the process."""
    sizes = [dim.size for dim in expected.dim]
    if expected.unknown_rank or len(sizes) < 3:
        return  # the graph says what it does not like
    fits = len(shape) == len(sizes) and all(size in (-1, own) for size, own in zip(sizes, shape))
    if not fits:
        wanted = ",".join("?" if size < 0 else str(size) for size in sizes)
        given = ",".join(map(str, shape))
        text = f"Shape of tensor {name} [{given}] is not compatible with expected shape [{wanted}]."
        raise invalid(text)


def _signature(signature):
    return {
        "inputs": {name: _tensor(info) for name, info in sorted(signature.inputs.items())},
        "outputs": {name: _tensor(info) for name, info in sorted(signature.outputs.items())},
        "method_name": signature.method_name,
        "defaults": {},
    }


def _tensor(info):
    shape = info.tensor_shape
    return {
        "name": info.name,
        "dtype": types_pb2.DataType.Name(info.dtype),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in shape.dim],
            "unknown_rank": shape.unknown_rank,
        },
    }
