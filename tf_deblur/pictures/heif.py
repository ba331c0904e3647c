"""What libvips leaves to do for HEIC and AVIF.

It opens HEIC files with all their metadata, but lacks the decoder; and it puts samples of 10 and
12 bits into the upper ones of 16, where white is less than 65535. Nor does it tell what colours
a file has that holds no ICC profile.
"""

import os
import pathlib
import re

import numpy as np

from tf_deblur.errors import UserError
from tf_deblur.pictures import libvips
from tf_deblur.pictures.libvips import pyvips

_NCLX = re.compile(rb"colrnclx(..)(..)", re.DOTALL)  # primaries and transfer by ITU-T H.273
_UNKNOWN, _SRGB, _CURVES_OF_HDR = 2, 1, {8, 16, 18}  # the numbers: linear, PQ and HLG


def decode_avif(
    image: pyvips.Image, source: bytes | str | os.PathLike, name: object
) -> tuple[np.ndarray, bool]:
    """As `libvips.decode`, with samples of 10 and 12 bits over all 16."""
    array, gain_map = libvips.decode(image, source, name)
    if array.dtype == np.uint16:
        array = from_upper_bits(array, image.get("bits-per-sample"))
    return array, gain_map


def decode_heic(
    image: pyvips.Image, source: bytes | str | os.PathLike, name: object
) -> tuple[np.ndarray, bool]:
    """Decodes a HEIC's primary image.

    Args:
      image: the file as libvips opens it, which cannot decode it.
      source: a path, or the bytes of a file.
      name: for errors.

    Returns:
      (array, whether the file has a gain map too). The array is (height, width, channels) uint8,
      or uint16 if the file has more bits; upright, since the format has a turn of its own,
      beside which its EXIF orientation does not count.

    Raises:
      UserError: pillow-heif is missing, or the file damaged.
    """
    try:
        import pillow_heif
    except ImportError:
        raise UserError(
            f"{name}: HEIC wants a library of its own; pip install 'tf-deblur[heif]'"
        ) from None
    kept = {"convert_hdr_to_8bit": False, "hdr_to_16bit": False}
    try:
        picture = pillow_heif.open_heif(source, **kept)
        array = np.asarray(picture)
    except (ValueError, EOFError, SyntaxError, RuntimeError, OSError) as error:
        reason = (str(error).strip().splitlines() or ["unknown"])[0]
        raise UserError(f"{name}: not a whole picture that we can read ({reason})") from error
    if array.dtype == np.uint16:
        array = spread_over_16_bits(array, picture.info["bit_depth"])
    gain_map = any("gainmap" in kind for kind in picture.info["aux"])
    return array.reshape(*array.shape[:2], -1), gain_map


def has_other_colours(image: pyvips.Image, source: bytes | str | os.PathLike) -> bool:
    """Whether those of a HEIC's or AVIF's `pyvips.Image` differ from sRGB, with no ICC profile.

    Then they are HDR, by the curves PQ or HLG, or of wider primaries, and the file says so in a
    way that only viewers of the format know.
    """
    if image.get_typeof("icc-profile-data"):
        return False
    data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    found = _NCLX.search(data)  # the first is the primary image's
    if not found:
        return False
    primaries, curve = (int.from_bytes(number, "big") for number in found.groups())
    return primaries not in (_SRGB, _UNKNOWN) or curve in _CURVES_OF_HDR


def spread_over_16_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """uint16 of 10 or 12 bits -> of all 16: the largest value becomes 65535."""
    levels = np.rint(np.linspace(0, 65535, 2**bits)).astype(np.uint16)
    return _look_up(levels, array)


def from_upper_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """uint16 as libvips reads a file of 10 or 12 bits -> over its full range."""
    return spread_over_16_bits(array >> (16 - bits), bits)


def to_upper_bits(array: np.ndarray, bits: int) -> np.ndarray:
    """uint16 -> what libvips, which cuts the lower ones off, writes in 10 or 12 bits."""
    levels = np.rint(np.linspace(0, 2**bits - 1, 65536)).astype(np.uint16)
    return _look_up(levels << (16 - bits), array)


def _look_up(levels, array):
    made = np.empty_like(array)
    for row, into in zip(array, made):  # all at once, NumPy makes indices of 64 bits
        np.take(levels, row, mode="clip", out=into)
    return made
