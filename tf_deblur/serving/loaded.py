"""A SavedModel in a session of its own: signatures, how they are run, what is told of them."""

import pathlib
import threading
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2

from tf_deblur.serving import warmup
from tf_deblur.serving.requests import SIGNATURE
from tf_deblur.serving.status import Failure, from_tensorflow, invalid

FILES = ({"image_bytes"}, {"restored_bytes"})  # what `serving_default` of an export takes and gives


class Loaded:
    """A version in memory.

    A session, not `tf.saved_model.load`: it has time limits, and a picture of another rank
    reaches the graph's own check instead of Python's.

    Attributes:
      signatures: name -> SignatureDef.
      takes_files: whether `export` wrote it, so that `uint8` does what `serving_default` does
        to a file's pixels.
    """

    def __init__(
        self,
        path: pathlib.Path,
        bfloat16: bool = False,
        timeout: float = 0,
        warm_up: bool = True,
    ):
        """Loads a version, and runs the requests of its warm-up file.

        Args:
          path: its folder.
          bfloat16: whether graphs multiply in it.
          timeout: seconds after which runs are cut off, if not 0.
          warm_up: False leaves the warm-up file alone.

        Raises:
          Failure: it cannot be loaded, or one of those requests fails.
        """
        if not any((path / f"saved_model.{kind}").exists() for kind in ("pb", "pbtxt")):
            raise Failure("NOT_FOUND", f"{path}: holds no saved_model.pb")
        config = config_pb2.ConfigProto()
        if bfloat16:
            rewrites = config.graph_options.rewrite_options
            rewrites.auto_mixed_precision_onednn_bfloat16 = rewriter_config_pb2.RewriterConfig.ON
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        self._timeout = int(timeout * 1000)
        self._lock = threading.Lock()
        self._runs: dict[str, Callable] = {}
        try:
            with graph.as_default():
                meta = tf.compat.v1.saved_model.load(self._session, ["serve"], str(path))
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from error
        except Exception as error:  # TensorFlow raises any kind where a file is damaged
            raise Failure("UNKNOWN", f"{path}: cannot be loaded ({error})") from error
        self.signatures = dict(meta.signature_def)
        default = self.signatures.get(SIGNATURE)
        ours = (path / "assets.extra/model.json").exists() and "uint8" in self.signatures
        self.takes_files = bool(
            ours and default and (set(default.inputs), set(default.outputs)) == FILES
        )
        if warm_up:
            warmup.replay(path, self)

    def list_inputs(self, name: str) -> dict[str, tf.DType]:
        """A signature's inputs, name -> type."""
        if name not in self.signatures:
            raise invalid(f"No signature {name}; there are {', '.join(sorted(self.signatures))}")
        inputs = self.signatures[name].inputs
        if not inputs:
            raise invalid(f"The signature {name} has no inputs")
        return {key: tf.as_dtype(info.dtype) for key, info in sorted(inputs.items())}

    def run(self, name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature: {input: array} -> {output: array}.

        Raises:
          Failure: with the code and message of the op that failed, or the time limit's.
        """
        signature = self.signatures[name]
        for key, info in signature.inputs.items():
            _check_picture(key, tensors[key].shape, info.tensor_shape)
        names, outputs = sorted(signature.inputs), sorted(signature.outputs)
        try:
            results = self._make_run(name, names, outputs)(*(tensors[key] for key in names))
        except tf.errors.OpError as error:
            raise from_tensorflow(error) from error
        # a scalar comes as a scalar; a string as bytes
        return {
            key: np.array(result, object) if isinstance(result, bytes) else np.asarray(result)
            for key, result in zip(outputs, results)
        }

    def _make_run(self, name, names, outputs):
        """The session's callable for a signature; `Session.run` would check shapes before it."""
        with self._lock:
            if name not in self._runs:
                signature, options = self.signatures[name], config_pb2.CallableOptions()
                options.feed.extend(signature.inputs[key].name for key in names)
                options.fetch.extend(signature.outputs[key].name for key in outputs)
                options.run_options.timeout_in_ms = self._timeout
                self._runs[name] = self._session._make_callable_from_options(options)
            return self._runs[name]

    def describe(self, model: str, version: int) -> dict:
        """The reply to a metadata request."""
        told = {name: _describe_signature(each) for name, each in self.signatures.items()}
        spec = {"name": model, "version": str(version), "signature_name": ""}
        return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": told}}}


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


def _describe_signature(signature):
    inputs, outputs = (
        {name: _describe_tensor(info) for name, info in sorted(tensors.items())}
        for tensors in (signature.inputs, signature.outputs)
    )
    method = signature.method_name
    return {"inputs": inputs, "outputs": outputs, "method_name": method, "defaults": {}}


def _describe_tensor(info):
    shape = info.tensor_shape
    return {
        "name": info.name,
        "dtype": types_pb2.DataType.Name(info.dtype),
        "tensor_shape": {
            "dim": [{"size": str(dim.size), "name": dim.name} for dim in shape.dim],
            "unknown_rank": shape.unknown_rank,
        },
    }
