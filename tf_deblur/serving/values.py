"""One value of a JSON document -> an element of a tensor, with TensorFlow Serving's checks."""

import base64
import binascii
import re

import numpy as np
import tensorflow as tf

from tf_deblur.serving.documents import Object
from tf_deblur.serving.quoting import quote
from tf_deblur.serving.status import Failure, invalid

B64 = "b64"
BLANK = re.compile(r"[ \t\n\v\f\r]+")
FLOATS = (tf.float32, tf.float64)
# What an integer must lie in to be taken; the narrower types then wrap.
INT32 = (-(1 << 31), (1 << 31) - 1)
RANGES = dict.fromkeys((tf.int8, tf.int16, tf.int32, tf.uint8), INT32)
RANGES[tf.int64] = (-(1 << 63), (1 << 63) - 1)
RANGES[tf.uint32] = (0, (1 << 32) - 1)
RANGES[tf.uint64] = (0, (1 << 64) - 1)


def single(value, dtype):
    """A single value as an array of one element."""
    if dtype == tf.string:
        return np.array([_bytes(value)], object)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if dtype in FLOATS:
        fits = number
    elif dtype in RANGES:
        low, high = RANGES[dtype]
        fits = number and isinstance(value, int) and low <= value <= high
    elif dtype == tf.bool:
        fits = isinstance(value, bool)
    else:
        text = f"Conversion of JSON Value: {quote(value)} to type: {dtype_name(dtype)}"
        raise Failure("UNIMPLEMENTED", text)
    if not fits:
        raise _wrong_type(value, dtype)
    wide = np.float64 if dtype in FLOATS else np.uint64 if dtype == tf.uint64 else np.int64
    return cast(np.array([value], bool if dtype == tf.bool else wide), dtype)


def cast(array, dtype):
    """As C++ casts: integers wrap, doubles beyond float become infinite, subnormals zero."""
    with np.errstate(over="ignore"):
        array = array.astype(dtype.as_numpy_dtype)
    if dtype in FLOATS:
        small = np.abs(array) < np.finfo(array.dtype).tiny
        array[small] = np.copysign(0, array[small])
    return array


def _bytes(value):
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if not isinstance(value, Object):
        raise _wrong_type(value, tf.string)
    encoded = value.get(B64)
    if len(value) != 1 or not isinstance(encoded, str):
        raise make_refusal(value, "not formatted correctly for base64 data")
    try:
        encoded = encoded if encoded.isascii() and not BLANK.search(encoded) else _dense(encoded)
        if len(encoded) % 4 and "=" not in encoded:
            encoded += "=" * (-len(encoded) % 4)
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _dense(encoded):
    return BLANK.sub("", encoded)


def _wrong_type(value, dtype):
    kind = {type(None): "Null", str: "String", Object: "Object", list: "Array"}.get(type(value))
    kind = kind or (str(value) if isinstance(value, bool) else "Number")
    text = f"JSON Value: {quote(value)} Type: {kind} is not of expected type: {dtype_name(dtype)}"
    return invalid(text)


def make_refusal(value, text):
    return invalid(f"JSON Value: {quote(value)} {text}")


def dtype_name(dtype):
    """A type as TensorFlow prints it in messages."""
    return {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, dtype.name)
