"""Integer arrays <-> float32 in [0, 1]. The only place that rounds."""

import numpy as np
import numpy.typing


def to_float(array: np.ndarray) -> np.ndarray:
    """uint8, uint16, or floats in [0, 1] already -> float32 in [0, 1], the same shape."""
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(np.float32)
    return np.divide(array, _largest(array.dtype), dtype=np.float32)  # in one go: no other copy


def from_float(array: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """[0, 1] -> uint8 or uint16, clipped and rounded half to even; or another float type."""
    if np.issubdtype(dtype, np.floating):
        return array.astype(dtype)
    scaled = np.clip(array, 0, 1)
    scaled *= np.float32(_largest(dtype))  # in place: a large picture's copies are memory too
    return np.rint(scaled, out=scaled).astype(dtype)


def to_uint8(array: np.ndarray) -> np.ndarray:
    """[0, 1] -> uint8, as a saved picture has it: clipped, rounded half to even."""
    return from_float(array, np.uint8)


def blend(blurred: np.ndarray, restored: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
    """Between two pictures of one type: the first at strength 0, the second at 1."""
    mixed = (1 - strength) * to_float(blurred) + strength * to_float(restored)
    return from_float(mixed, restored.dtype)


def join_side_by_side(*pictures: np.ndarray) -> np.ndarray:
    """Pictures of one height and type in a row."""
    return np.concatenate(pictures, axis=1)


def subtract_left(array: np.ndarray) -> np.ndarray:
    """Each pixel less its left neighbour, around zero; TIFF's horizontal predictor."""
    made = array.copy()
    made[:, 1:] -= array[:, :-1]
    return made


def _largest(dtype):
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a picture of {np.dtype(dtype)}; use uint8, uint16 or floats in [0, 1]")
    return np.iinfo(dtype).max
