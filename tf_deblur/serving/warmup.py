"""Replays the requests that a version brings along, before it answers others."""

import pathlib
import typing

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tf_deblur.serving.requests import SIGNATURE
from tf_deblur.serving.status import Failure, from_tensorflow, invalid

if typing.TYPE_CHECKING:
    from tf_deblur.serving.loaded import Loaded

FILE = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000


def replay(path: pathlib.Path, loaded: "Loaded") -> None:
    """Runs what the version's warm-up file holds, a TFRecord of PredictionLogs, if there is one.

    Args:
      path: the version's folder.
      loaded: what it became.

    Raises:
      Failure: a record that does not run.
    """
    file = path / FILE
    if not file.exists():
        return
    try:
        for count, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(file)), 1):
            if count > MOST_RECORDS:
                raise invalid(f"{file}: more than {MOST_RECORDS} records")
            _run(record, loaded)
    except tf.errors.OpError as error:
        raise from_tensorflow(error) from error


def _run(record, loaded):
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except Exception as error:  # protobuf's DecodeError is not one class in both dependency sets
        raise invalid("A warm-up record is no PredictionLog") from error
    if not (kind := log.WhichOneof("log_type")):
        return
    if kind != "predict_log":
        raise Failure("UNIMPLEMENTED", f"A warm-up record is a {kind}, not a predict_log")
    request = log.predict_log.request
    name = request.model_spec.signature_name or SIGNATURE
    dtypes = loaded.list_inputs(name)
    given = {key: tf.as_dtype(proto.dtype) for key, proto in request.inputs.items()}
    outputs = loaded.signatures[name].outputs
    if given != dtypes or not set(request.output_filter) <= set(outputs):
        raise invalid(f"A warm-up record does not fit the signature {name}: {sorted(given)}")
    try:
        tensors = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}
    except Exception as error:  # whatever NumPy says of sizes and bytes that do not fit
        raise invalid(f"A warm-up record's tensors are damaged ({error})") from error
    loaded.run(name, tensors)
