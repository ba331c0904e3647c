"""Output tensors -> a predict reply's JSON, laid out as TensorFlow Serving lays it out.

Large tensors of numbers are written by orjson: without white space, and floats in the fewest
digits that read back as the same float.
"""

import base64
import math

import numpy as np
import orjson

from tf_deblur.serving.quoting import INDENT, string
from tf_deblur.serving.requests import ROW
from tf_deblur.serving.status import invalid

MANY = 10_000  # numbers from which on a tensor is written by orjson
DIGITS = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")


def error(message):
    """An error's reply; `message` may hold bytes that are not UTF-8 as surrogate escapes."""
    return encode(f'{{\n{INDENT}"error": {string(message)}\n}}')


def encode(text):
    return text.encode("utf-8", "surrogateescape")


def reply(form, tensors):
    """A predict reply.

    Args:
      form: ROW or COLUMN, as the request came.
      tensors: {output's name: array}; strings are arrays of objects, bytes each.

    Returns:
      The reply's body, bytes.

    Raises:
      Failure: an output that has no JSON form.
    """
    if not tensors:
        raise invalid("Cannot convert empty tensor map to JSON")
    if form != ROW:
        return _column_reply(tensors)
    batch = None
    for name, array in tensors.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if batch not in (None, array.shape[0]):
            size = f"{array.shape[0]} expecting: {batch}"
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {size}")
        batch = array.shape[0]
    if not batch:
        return encode(f'{{\n{INDENT}"predictions": []\n}}')
    if len(tensors) == 1:
        (name, array), *_ = tensors.items()
        rows = [", " + _row(name, element, 2) for element in array]
        text = "".join(rows)[2:]
        return encode(f'{{\n{INDENT}"predictions": [{text}\n{INDENT}]\n}}')
    rows = []
    for index in range(batch):
        members = [
            f"\n{INDENT * 3}{string(name)}: {_row(name, array[index], 3)}"
            for name, array in tensors.items()
        ]
        rows.append(f"\n{INDENT * 2}{{{','.join(members)}\n{INDENT * 2}}}")
    return encode(f'{{\n{INDENT}"predictions": [{",".join(rows)}\n{INDENT}]\n}}')


def _column_reply(tensors):
    if len(tensors) == 1:
        (name, array), *_ = tensors.items()
        return encode(f'{{\n{INDENT}"outputs": {_column(name, array, 1)}\n}}')
    members = [
        f"\n{INDENT * 2}{string(name)}: {_column(name, array, 2)}"
        for name, array in tensors.items()
    ]
    return encode(f'{{\n{INDENT}"outputs": {{{",".join(members)}\n{INDENT}}}\n}}')


def _row(name, array, level):
    """A tensor on one line."""
    array = np.asarray(array, object) if isinstance(array, bytes) else array
    if _is_many(array):
        return _large(array)
    texts = _texts(name, array, level + array.ndim)
    return _join(texts, array.shape, lambda parts, _: f"[{', '.join(parts)}]", level)


def _column(name, array, level):
    """A tensor with each number on its own line."""
    if _is_many(array):
        return _large(array)

    def join(parts, level):
        if not parts:
            return "[]"
        lines = "".join(f",\n{INDENT * (level + 1)}{part}" for part in parts)[1:]
        return f"[{lines}\n{INDENT * level}]"

    return _join(_texts(name, array, level + array.ndim), array.shape, join, level)


def _join(texts, shape, join, level):
    """Nests flat texts by a shape."""
    if not shape:
        return texts[0]
    if len(shape) == 1:
        return join(texts, level)
    step = math.prod(shape[1:])
    parts = (texts[index * step : (index + 1) * step] for index in range(shape[0]))
    return join([_join(part, shape[1:], join, level + 1) for part in parts], level)


def _texts(name, array, level):
    """Each value of a tensor as JSON."""
    if not array.size:
        return []
    if array.dtype == object:
        values = [bytes(value) for value in array.reshape(-1)]
        if name.endswith("_bytes"):
            return [_base64(value, level) for value in values]
        return [string(value.decode("utf-8", "surrogateescape")) for value in values]
    if array.dtype == bool:
        return ["true" if value else "false" for value in array.reshape(-1)]
    if array.dtype.name in INTEGERS:
        return list(map(str, array.reshape(-1).tolist()))
    if array.dtype not in DIGITS:
        kind = {"float16": "half"}.get(array.dtype.name, array.dtype.name)
        raise invalid(f"Failed to write JSON value for tensor type: {kind}")
    flat = array.reshape(-1)
    tiny, digits, kind = np.finfo(array.dtype).tiny, DIGITS[array.dtype], array.dtype.type
    flat = np.where(np.abs(flat) < tiny, np.copysign(kind(0), flat), flat)
    return [_float(value, digits, kind) for value in flat.tolist()]


def _float(value, digits, kind):
    """%g with 6 digits if that reads back as the same number, else with 9 or 17."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    text = f"{value:.6g}"
    if kind(float(text)) != kind(value):
        text = f"{value:.{digits}g}"
    return text if "." in text or "e" in text else text + ".0"


def _base64(value, level):
    inside, outside = INDENT * (level + 1), INDENT * level
    return f'{{\n{inside}"b64": "{base64.b64encode(value).decode()}"\n{outside}}}'


def _is_many(array):
    if array.size < MANY:
        return False
    if array.dtype in DIGITS:  # NaN and infinities orjson would write as null
        return bool(np.isfinite(array).all())
    return array.dtype.name in INTEGERS


def _large(array):
    options = orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(np.ascontiguousarray(array), option=options).decode()
