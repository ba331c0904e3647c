"""BMP files, which libvips does not read, by Pillow.

OpenCV reads some of them wrongly without a word: white of 16 bits a pixel comes dark, unused bits
as transparency, and OS/2's colours grey.
"""

import io
import os
import pathlib
import struct

import numpy as np
from PIL import BmpImagePlugin

from tf_deblur.errors import UserError
from tf_deblur.pictures.libvips import pyvips

LOADER = "bmp"
_V5 = 124  # bytes of the newest header
_EMBEDDED = b"DEBM"  # the profile is in the file


def is_bmp(source: bytes | str | os.PathLike) -> bool:
    """Whether a path's or a file's first bytes say so."""
    if isinstance(source, bytes):
        return source[:2] == b"BM"
    with open(source, "rb") as file:
        return file.read(2) == b"BM"


def read_header(source: bytes | str | os.PathLike, name: object) -> pyvips.Image:
    """A `pyvips.Image` of the file's size and resolution, with its ICC profile, without pixels."""
    picture, data = _open(source, name)
    image = pyvips.Image.black(*picture.size)
    xres, yres = (dots / 25.4 for dots in picture.info.get("dpi", (0, 0)))
    if xres > 0 and yres > 0:
        image = image.copy(xres=xres, yres=yres)
    image = image.copy()
    image.set_type(pyvips.GValue.gstr_type, "vips-loader", LOADER)
    if struct.unpack_from("<L", data, 14) == (_V5,) and data[70:74] == _EMBEDDED:
        start, size = struct.unpack_from("<LL", data, 126)
        if profile := data[14 + start : 14 + start + size]:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image


def decode(
    image: pyvips.Image, source: bytes | str | os.PathLike, name: object
) -> tuple[np.ndarray, bool]:
    """Pixels, uint8: one channel if all its colours are grey, four with alpha; and no gain map."""
    picture, _ = _open(source, name)
    try:
        if picture.mode in ("1", "L", "P"):
            wanted = "RGB" if picture.mode == "P" else "L"
        else:
            wanted = "RGBA" if picture.mode == "RGBA" else "RGB"
        array = np.asarray(picture.convert(wanted))
    except (OSError, ValueError, SyntaxError, IndexError, struct.error) as error:
        raise _unreadable(name, error) from error
    return array.reshape(*array.shape[:2], -1), False


def _open(source, name):
    data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    try:
        picture = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
        if min(picture.size) < 1:
            raise OSError("no pixels")
    except (OSError, ValueError, SyntaxError, IndexError, struct.error) as error:
        raise _unreadable(name, error) from error
    return picture, data


def _unreadable(name, error):
    reason = (str(error).strip().splitlines() or ["damaged"])[0]
    return UserError(f"{name}: not a BMP that we can read; use PNG or JPEG ({reason})")
