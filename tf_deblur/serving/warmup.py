"""Replays the requests that a version brings along, before it answers others."""

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from tf_deblur.serving import requests, values
from tf_deblur.serving.status import Failure, invalid, of_tensorflow

FILE = "assets.extra/tf_serving_warmup_requests"
MOST_RECORDS = 1000
BY_EXAMPLES = {"classify_log": "classify", "regress_log": "regress"}


def replay(path, loaded):
    """Runs what the version's warm-up file holds, a TFRecord of PredictionLogs, if there is one.

    Args:
      path: the version's folder.
      loaded: its `Loaded`.

    Raises:
      Failure: with TensorFlow Serving's words for the first record that does not run.
    """
    file = path / FILE
    if not file.exists():
        return
    try:
        # a tf.data.TFRecordDataset would say more than TensorFlow Serving where a file is damaged
        for count, record in enumerate(tf.compat.v1.io.tf_record_iterator(str(file)), 1):
            _run(_parse(record, file), loaded)
            if count > MOST_RECORDS:
                text = f"Number of warmup records exceeds the maximum ({MOST_RECORDS}) at {file}"
                raise invalid(text)
    except tf.errors.DataLossError as error:
        text = f"{error.message}. Please verify your warmup data is in TFRecord format."
        raise Failure("DATA_LOSS", text) from error
    except tf.errors.OpError as error:
        raise of_tensorflow(error) from error


def _parse(record, file):
    try:
        return prediction_log_pb2.PredictionLog.FromString(record)
    except Exception as error:  # protobuf's DecodeError is not one class in both dependency sets
        told = record.decode(errors="replace")
        raise invalid(f"Failed to parse warmup record: {told} from {file}") from error


def _run(log, loaded):
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        _predict(log.predict_log.request, loaded)
    elif kind in BY_EXAMPLES:
        name = getattr(log, kind).request.model_spec.signature_name
        raise requests.no_examples(name, loaded.signatures, BY_EXAMPLES[kind])
    elif kind:
        number = log.DESCRIPTOR.fields_by_name[kind].number
        raise Failure("UNIMPLEMENTED", f"Unsupported log_type for warmup: {number}")


def _predict(request, loaded):
    name = request.model_spec.signature_name or requests.SIGNATURE
    if name not in loaded.signatures:
        raise Failure("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
    signature = loaded.signatures[name]
    given, wanted = set(request.inputs), set(signature.inputs)
    if len(given) != len(wanted):
        raise invalid(
            f"input size does not match signature: {len(given)}!={len(wanted)} "
            f"len({_set(given)}) != len({_set(wanted)}). Sent extra: {_set(given - wanted)}. "
            f"Missing but required: {_set(wanted - given)}."
        )
    tensors = {key: _tensor(key, request.inputs, signature) for key in sorted(wanted)}
    for key in set(request.output_filter) - set(signature.outputs):
        expected = f"Outputs expected to be in the set {_set(signature.outputs)}."
        raise invalid(f"output tensor alias not found in signature: {key} {expected}")
    _check_types(request.inputs, signature)
    loaded.run(name, tensors)


def _tensor(key, inputs, signature):
    """An input of a record as an array."""
    if key not in inputs:
        raise invalid(
            f"Signature input alias: {key}(feed name: {signature.inputs[key].name}) not found in "
            "request and no default value provided. Inputs expected to be in the request "
            f"{_set(inputs)}, or default input alias set: "
        )
    try:
        return tf.make_ndarray(inputs[key])
    except Exception as error:  # whatever NumPy says of sizes and bytes that do not fit
        raise invalid(f"tensor parsing error: {key}") from error


def _check_types(inputs, signature):
    """What TensorFlow checks in a session's `run`, and not in a callable of it."""
    keys = sorted(inputs, key=lambda key: signature.inputs[key].name)
    for index, key in enumerate(keys):
        wanted, given = signature.inputs[key].dtype, inputs[key].dtype
        if given != wanted:
            wanted, given = (values.dtype_name(tf.as_dtype(each)) for each in (wanted, given))
            raise invalid(f"Expects arg[{index}] to be {wanted} but {given} is provided")


def _set(names):
    return f"{{{','.join(sorted(names))}}}"
