"""A predict request's JSON -> tensors."""

import base64
import binascii
import gc
import itertools
import json
import re
import zlib

import numpy as np
import orjson
import tensorflow as tf

from tf_deblur.serving.status import Failure, invalid

SIGNATURE = "serving_default"  # of a request that names none
B64 = "b64"
MOST_DIMENSIONS = 32  # as NumPy 1 has them
MOST_ELEMENTS = 20_000_000  # numbers, lists and members of a document: four megapixels are 17
MOST_SLOW = 4_000_000  # of one with NaN or Infinity, which orjson does not read
BLANK = re.compile(r"[ \t\n\v\f\r]+")
FLOATS = (tf.float32, tf.float64)
# What an integer must lie in to be taken; the narrower types then wrap.
INT32 = (-(1 << 31), (1 << 31) - 1)
RANGES = dict.fromkeys((tf.int8, tf.int16, tf.int32, tf.uint8), INT32)
RANGES[tf.int64] = (-(1 << 63), (1 << 63) - 1)
RANGES[tf.uint32] = (0, (1 << 32) - 1)
RANGES[tf.uint64] = (0, (1 << 64) - 1)


def unpack(body: bytes, most: float) -> bytes:
    """A gzip body's content; Failure where it is damaged, or of more than `most` bytes."""
    unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(body, int(most) + 1)
    except zlib.error as error:
        raise invalid(f"The body is not gzip, as its header says ({error})") from error
    if len(content) > most:
        text = f"Unpacked, the body is larger than {most / 1e6:g} MB, see --max_request_mb"
        raise Failure("INVALID_ARGUMENT", text, http=413)
    if not unpacker.eof or unpacker.unused_data:
        raise invalid("The body is cut short, or more than one gzip file")
    return content


def parse(body: bytes) -> dict:
    """The object that a body holds; NaN and Infinity, which JSON has not, are numbers."""
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body:
        raise invalid("The body is empty; send JSON")
    gc.disable()  # it would look through all those lists again and again, three times as long
    try:
        if _has_more_elements(body, MOST_ELEMENTS):
            raise invalid(f"More than {MOST_ELEMENTS} elements; send pictures as files")
        try:
            document = orjson.loads(body)
        except ValueError:
            if b"NaN" not in body and b"Infinity" not in body:
                raise
            if _has_more_elements(body, MOST_SLOW):
                raise invalid(f"NaN or Infinity among more than {MOST_SLOW} elements") from None
            document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"The body is no JSON that can be read: {error}") from error
    finally:
        gc.enable()
    if not isinstance(document, dict):
        raise invalid('The body is no object; send {"instances": […]} or {"inputs": …}')
    if not isinstance(document.get("signature_name", ""), str):
        raise invalid("signature_name must be a string")
    return document


def _has_more_elements(body, most):
    return len(body) > most and sum(map(body.count, (b",", b"[", b"{"))) > most


def make_tensors(document: dict, dtypes: dict[str, tf.DType]) -> tuple[bool, dict]:
    """The input tensors of a predict request.

    Args:
      document: what `parse` found.
      dtypes: input's name -> type, from the signature.

    Returns:
      (whether in rows, {name: array}); strings are arrays of objects, bytes each.

    Raises:
      Failure: says what is wrong with which input.
    """
    if ("instances" in document) == ("inputs" in document):
        raise invalid("Send either instances, a list of rows, or inputs, whole tensors")
    if "instances" in document:
        try:
            return True, _read_rows(document["instances"], dtypes)
        except Failure as failure:
            raise invalid(failure.message) from failure
    return False, _read_columns(document["inputs"], dtypes)


def _read_rows(rows, dtypes):
    if not isinstance(rows, list) or not rows:
        raise invalid("instances must be a list of at least one row")
    if not _names_inputs(rows[0]):
        return {_only(dtypes): make_tensor(_only(dtypes), rows, dtypes[_only(dtypes)])}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != dtypes.keys():
            raise invalid(f"instances: row {index} must be an object of {_list(dtypes)}")
    return {
        name: make_tensor(name, [row[name] for row in rows], dtype)
        for name, dtype in dtypes.items()
    }


def _read_columns(value, dtypes):
    columns = value if _names_inputs(value) else {_only(dtypes): value}
    if missing := dtypes.keys() - columns.keys():
        raise invalid(f"inputs: {_list(missing)} is missing")
    return {name: make_tensor(name, columns[name], dtype) for name, dtype in dtypes.items()}


def _names_inputs(value):
    """Whether a value names inputs; {"b64": "…"} alone is a value itself."""
    if not isinstance(value, dict):
        return False
    return value.keys() != {B64} or not isinstance(value[B64], str)


def _only(dtypes):
    if len(dtypes) > 1:
        raise invalid(f"There are several inputs, {_list(dtypes)}: give each by its name")
    return next(iter(dtypes))


def _list(names):
    return ", ".join(sorted(names))


def make_tensor(name: str, value: object, dtype: tf.DType) -> np.ndarray:
    """A value of nested lists as an array; Failure unless they are regular and of one type.

    Each level is joined, and only then looked at as a whole: the time and memory that it takes
    are those of what came, whatever that is.
    """
    flat: list = [value]
    shape: list[int] = []
    while flat and isinstance(flat[0], list):
        if set(map(type, flat)) != {list} or len(set(map(len, flat))) > 1:
            raise invalid(f"{name}: lists at one level must be of one length")
        shape.append(len(flat[0]))
        if len(shape) > MOST_DIMENSIONS:
            raise invalid(f"{name}: more than {MOST_DIMENSIONS} dimensions")
        flat = list(itertools.chain.from_iterable(flat))
    return _fill(name, flat, dtype).reshape(shape)


def _fill(name, flat, dtype):
    """Values as an array of one dimension."""
    if dtype == tf.string:
        values = [_read_bytes(name, value) for value in flat]  # ends at the first that is none
        array = np.empty(len(flat), object)
        array[:] = values
        return array
    kinds = set(map(type, flat))
    if dtype in FLOATS:
        fits = kinds <= {int, float}
    elif dtype in RANGES:
        low, high = RANGES[dtype]
        fits = kinds <= {int} and (not flat or low <= min(flat) <= max(flat) <= high)
    elif dtype == tf.bool:
        fits = kinds <= {bool}
    elif flat:
        raise Failure("UNIMPLEMENTED", f"{name}: {dtype.name} has no form in JSON")
    else:
        fits = True
    if not fits:
        raise invalid(f"{name}: every value must be of type {dtype.name}, in its range")
    if dtype in RANGES and dtype != tf.uint64:
        return np.array(flat, np.int64).astype(dtype.as_numpy_dtype)  # wraps
    with np.errstate(over="ignore"):  # beyond float is infinite
        return np.array(flat, dtype.as_numpy_dtype)


def _read_bytes(name, value):
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if not isinstance(value, dict) or _names_inputs(value):
        raise invalid(f'{name}: every value must be a string, or {{"b64": "…"}}')
    encoded = BLANK.sub("", value[B64])
    if "=" not in encoded:
        encoded += "=" * (-len(encoded) % 4)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid(f"{name}: not base64 of the standard alphabet ({error})") from error
