"""Picture files and integer arrays <-> float32 in [0, 1]. The only place that rounds."""

import os
import pathlib

import numpy as np

from tf_deblur.errors import UserError
from tf_deblur.files import whole

# What OpenCV would print of a damaged file is said by our own error.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
try:
    import cv2
except ImportError as error:  # its window parts want libraries that a bare Debian lacks
    raise UserError(
        f"OpenCV does not start ({error}); on Debian and Ubuntu: "
        "sudo apt-get install libgl1 libglib2.0-0"
    ) from error

# What each suffix's encoder is told, and whether it keeps 16 bits.
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 95]
_WEBP = [cv2.IMWRITE_WEBP_QUALITY, 95]
_FORMATS = {
    ".png": ([], True),
    ".jpg": (_JPEG, False),
    ".jpeg": (_JPEG, False),
    ".tif": ([], True),
    ".tiff": ([], True),
    ".webp": (_WEBP, False),
    ".bmp": ([], False),
}
SUFFIXES = tuple(_FORMATS)


def read(path):
    """Reads a picture, turned upright as its EXIF orientation says.

    Args:
      path: a file of any format that OpenCV reads, whatever its suffix.

    Returns:
      (height, width, 3) RGB, uint16 if the file has 16 bits a channel, else uint8. Alpha
      is dropped, grey is repeated three times.

    Raises:
      UserError: the file is missing, a folder, or not a whole picture.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise UserError(f"{path}: a folder, not a picture; name the pictures in it")
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return decode(data, path)


def decode(data, path):
    """Decodes a file's bytes, a uint8 vector; `path` is for the error's text."""
    try:
        array = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:  # no bytes at all, or a size beyond OpenCV's limit
        array = None
    if array is None or array.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: not a whole picture that we can read; use PNG or JPEG")
    return np.ascontiguousarray(array[..., ::-1])


def write(path, array):
    """Writes a picture in the format of its suffix; it appears whole or not at all.

    JPEG and WebP at quality 95, the others lossless. 16 bits become 8 where the format
    holds no more.

    Args:
      path: the file; missing parents are made.
      array: (height, width, 3) RGB, uint8 or uint16.

    Raises:
      UserError: a suffix that is no format of ours, or the file cannot be written.
    """
    path = pathlib.Path(path)
    check_suffix(path)
    settings, sixteen_bits = _FORMATS[path.suffix.lower()]
    if array.dtype == np.uint16 and not sixteen_bits:
        array = to_uint8(to_float(array))
    _, data = cv2.imencode(path.suffix, array[..., ::-1], settings)
    try:
        with whole(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def check_suffix(path):
    """UserError if pictures of this name cannot be written."""
    if pathlib.Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: not a format that we write; use one of {', '.join(SUFFIXES)}")


def to_float(array):
    """uint8, uint16, or floats in [0, 1] already -> float32 in [0, 1], the same shape."""
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(np.float32)
    return array.astype(np.float32) / _largest(array.dtype)


def from_float(array, dtype):
    """[0, 1] -> uint8 or uint16, clipped and rounded half to even; or another float type."""
    if np.issubdtype(dtype, np.floating):
        return array.astype(dtype)
    return np.rint(np.clip(array, 0, 1) * np.float32(_largest(dtype))).astype(dtype)


def to_uint8(array):
    """[0, 1] -> uint8, as a saved picture has it: clipped, rounded half to even."""
    return from_float(array, np.uint8)


def _largest(dtype):
    if dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a picture of {np.dtype(dtype)}; use uint8, uint16 or floats in [0, 1]")
    return np.iinfo(dtype).max
