"""Output tensors -> a predict reply's JSON; floats in the fewest digits that read back as they."""

import base64
import json

import numpy as np
import orjson

from tf_deblur.serving.status import invalid

FLOATS = ("float32", "float64")
KINDS = (*FLOATS, "bool", "int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")


def encode(rows: bool, tensors: dict[str, np.ndarray]) -> bytes:
    """A predict reply.

    Args:
      rows: whether the request came in rows.
      tensors: {output's name: array}; strings are arrays of objects, bytes each.

    Raises:
      Failure: an output that has no JSON form, or does not come in rows.
    """
    if not tensors:
        raise invalid("The signature has no outputs")
    if not rows:
        outputs = {name: _encode_array(name, array) for name, array in tensors.items()}
        return orjson.dumps({"outputs": outputs if len(outputs) > 1 else outputs.popitem()[1]})
    counts = {array.shape[:1] for array in tensors.values()}
    if len(counts) > 1 or () in counts:
        raise invalid("The outputs have no common number of rows; ask with inputs")
    if len(tensors) == 1:
        return orjson.dumps({"predictions": _encode_array(*tensors.popitem())})
    each = [
        {name: _encode_array(name, array[index]) for name, array in tensors.items()}
        for index in range(*counts.pop())
    ]
    return orjson.dumps({"predictions": each})


def _encode_array(name, array):
    """A tensor's JSON."""
    array = np.asarray(array, object) if isinstance(array, bytes) else np.asarray(array)
    if array.dtype == object:
        kept = np.vectorize(lambda data: _encode_bytes(name, data), otypes=[object])
        return kept(array).tolist() if array.size else array.tolist()
    if array.size and array.dtype.name not in KINDS:
        raise invalid(f"{name}: {array.dtype.name} has no form in JSON")
    if array.dtype.name in FLOATS and not np.isfinite(array).all():  # orjson has null for them
        return orjson.Fragment(json.dumps(array.tolist()))
    if not array.size:
        return array.tolist()
    value = np.ascontiguousarray(array) if array.ndim else array[()]
    return orjson.Fragment(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))


def _encode_bytes(name, data):
    if name.endswith("_bytes"):
        return {"b64": base64.b64encode(data).decode()}
    return data.decode("utf-8", "replace")
