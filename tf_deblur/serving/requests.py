"""A predict request's JSON -> tensors, with TensorFlow Serving's checks in its order and words."""

import math

import numpy as np
import tensorflow as tf

from tf_deblur.serving import values
from tf_deblur.serving.documents import Object
from tf_deblur.serving.quoting import quote
from tf_deblur.serving.status import Failure, invalid

SIGNATURE = "serving_default"  # of a request that names none
ROW, COLUMN = "row", "columnar"
MOST_DIMENSIONS = 32  # as NumPy 1 has them; TensorFlow 254


def check_object(document):
    """Raises Failure unless a request's document is an object whose signature name is a string."""
    if not isinstance(document, Object):
        raise values.make_refusal(document, "Is not object")
    if not isinstance(document.get("signature_name", ""), str):
        text = "not formatted correctly. 'signature_name' key must be a string value."
        raise values.make_refusal(document, text)


def tensors(document, dtypes):
    """The input tensors of a predict request.

    Args:
      document: what `documents.parse` found.
      dtypes: input's name -> `tf.DType`, from the signature.

    Returns:
      (ROW or COLUMN, {name: array}); strings are arrays of objects, bytes each.

    Raises:
      Failure: with TensorFlow Serving's message.
    """
    rows, columns = "instances" in document, "inputs" in document
    if rows and columns:
        text = (
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
        raise values.make_refusal(document, text)
    if not rows and not columns:
        raise invalid("Missing 'inputs' or 'instances' key")
    fill = _from_rows if rows else _from_columns
    found = fill(document, dtypes)
    return (ROW if rows else COLUMN), {name: found[name].array(name) for name in found}


class _Tensor:
    """An input that grows by one element after another."""

    def __init__(self, dtype):
        self.dtype, self.shape, self.values, self.rows = dtype, None, [], 0

    def add(self, value):
        shape = _shape(value)
        parts, count = [], 0
        for part in _values(value, shape, self.dtype):
            parts.append(part)
            count += len(part)
        if self.shape is None:
            self.shape = shape
        elif math.prod(self.shape) != count:
            size = math.prod(self.shape)
            raise invalid(f"Expecting tensor size: {size} but got: {count}")
        elif self.shape != shape:
            shapes = (str(list(each)).replace(" ", "") for each in (self.shape, shape))
            raise invalid("Expecting shape {} but got: {}".format(*shapes))
        self.values += parts

    def array(self, name):
        """All that was added; of an element named twice the first values count."""
        shape = (*([self.rows] if self.rows else []), *self.shape)
        if len(shape) > MOST_DIMENSIONS:
            raise invalid(f"tensor parsing error: {name}")
        if not self.values:
            return np.zeros(shape, self.dtype.as_numpy_dtype)
        flat = self.values[0] if len(self.values) == 1 else np.concatenate(self.values)
        return flat[: math.prod(shape)].reshape(shape)


def _from_rows(document, dtypes):
    rows = document.get("instances")
    if not isinstance(rows, list) or isinstance(rows, Object):
        raise values.make_refusal(document, "Expecting 'instances' to be an list/array")
    if not rows:
        raise values.make_refusal(document, "No values in 'instances' array")
    named = _is_named(rows[0])
    if not isinstance(rows[0], Object) and len(dtypes) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    found = {name: _Tensor(dtype) for name, dtype in dtypes.items()}
    for index, row in enumerate(rows):
        if _is_named(row) != named:
            kinds = ("object", "list") if named else ("value/list", "object")
            text = "Expecting {} but got {} at item {} of input list"
            raise invalid(text.format(*kinds, index))
        failed = f"Failed to process element: {index}"
        for name, value in row if named else [(name, row) for name in dtypes]:
            try:
                if name not in found:
                    raise invalid(f"JSON object: does not have named input: {name}")
                found[name].add(value)
            except Failure as error:
                key = f" key: {name}" if named else ""
                why = f"Error: {error.code}: {error.message}"
                raise invalid(f"{failed}{key} of 'instances' list. {why}") from error
        if named and {name for name, _ in row} != set(dtypes):
            text = f"JSON object: {quote(row)} keys must be equal to: {','.join(sorted(dtypes))}"
            raise invalid(f"{failed} of 'instances' list. {text}")
    for tensor in found.values():
        tensor.rows = len(rows)
    return found


def _from_columns(document, dtypes):
    value = document.get("inputs")
    if not _is_named(value):
        if len(dtypes) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        value = Object([(next(iter(dtypes)), value)])
    found = {}
    for name, dtype in dtypes.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        found[name] = _Tensor(dtype)
        found[name].add(value.get(name))
    return found


def _is_named(value):
    """Whether a value names inputs; {"b64": "…"} alone is a value itself."""
    return isinstance(value, Object) and not (
        len(value) == 1 and value[0][0] == values.B64 and isinstance(value[0][1], str)
    )


def _is_list(value):
    return isinstance(value, list) and not isinstance(value, Object)


def _shape(value):
    """Sizes as the first element at each level has them."""
    shape = []
    while _is_list(value):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _values(value, shape, dtype):
    """Yields the tensor's values in pieces, flat; a whole array of numbers at once if it can."""
    whole = _numbers(value, shape, dtype)
    if whole is not None:
        yield whole
        return
    stack = [iter([value])]
    while stack:
        for each in stack[-1]:
            level = len(stack) - 1
            if not _is_list(each):
                if level != len(shape):
                    raise invalid(
                        f"JSON Value: {quote(each)} found at incorrect level: {level + 1} in the "
                        f"JSON DOM. Expected at level: {len(shape)}"
                    )
                yield values.single(each, dtype)
                continue
            if level >= len(shape):
                raise invalid(f"Encountered list at unexpected level: {level} expected < {level}")
            if len(each) != shape[level]:
                raise invalid(
                    f"Encountered list at unexpected size: {len(each)} at level: {level} "
                    f"expected size: {shape[level]}"
                )
            stack.append(iter(each))
            break
        else:
            stack.pop()


def _numbers(value, shape, dtype):
    """A regular array of numbers in one go; None where a value has to be looked at by itself."""
    size = math.prod(shape)
    if (
        len(shape) > MOST_DIMENSIONS
        or size < 16
        or (dtype not in values.RANGES and dtype not in values.FLOATS)
    ):
        return None
    try:
        array = np.array(value)
    except (ValueError, OverflowError):
        return None
    if array.shape != shape or array.dtype.kind not in ("if" if dtype in values.FLOATS else "i"):
        return None
    if dtype in values.RANGES and dtype != tf.int64:
        low, high = values.RANGES[dtype]
        if array.min() < low or array.max() > high:
            return None
    if not _all_numbers(value, len(shape)):  # NumPy takes true for 1
        return None
    return values.cast(array.reshape(-1), dtype)


def _all_numbers(value, levels):
    """Whether there is no bool among some numbers."""
    for _ in range(levels - 1):
        value = [each for part in value for each in part]
    return bool not in set(map(type, value))


def check_examples(document):
    """Raises Failure unless a classify or regress request has examples."""
    if "examples" not in document:
        text = "When method is classify, key 'examples' is expected and was not found"
        raise values.make_refusal(document, text)
    examples = document.get("examples")
    if not _is_list(examples):
        raise values.make_refusal(document, "'examples' value is not an array")
    if not examples:
        raise values.make_refusal(document, "'examples' value is an empty array")


def no_examples(name, signatures, action):
    """The Failure for classify and regress: signatures of ours predict."""
    name = name or SIGNATURE
    if name not in signatures:
        return invalid(f"No signature was found with the name: {name}")
    kind = {"classify": "classification", "regress": "regression"}[action]
    return invalid(f"No {kind} inputs found in SignatureDef: {signatures[name]}")
