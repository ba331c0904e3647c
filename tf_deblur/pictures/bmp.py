"""BMP files, which libvips does not read, by Pillow.

OpenCV reads some of them wrongly without a word: white of 16 bits a pixel comes dark, unused bits
as transparency, and OS/2's colours grey.
"""

import struct

import numpy as np
from PIL import BmpImagePlugin

from tf_deblur.errors import UserError
from tf_deblur.pictures import libvips
from tf_deblur.pictures.libvips import Data, pyvips

_LONGEST = 1_000_000  # pixels a side
_V5 = 124  # bytes of the newest header
_EMBEDDED = b"DEBM"  # the profile is in the file


def open(data: Data, loader: str) -> pyvips.Image:
    """A `pyvips.Image` of the file's size and resolution, with its ICC profile, without pixels."""
    picture = _open(data)
    if max(picture.size) > _LONGEST:
        raise UserError(f"claims {picture.width}x{picture.height} pixels")
    image = pyvips.Image.black(*picture.size)
    xres, yres = (dots / 25.4 for dots in picture.info.get("dpi", (0, 0)))
    if xres > 0 and yres > 0:
        image = image.copy(xres=xres, yres=yres)
    image = image.copy()
    image.set_type(pyvips.GValue.gstr_type, "vips-loader", loader)
    if struct.unpack_from("<L", data, 14) == (_V5,) and data[70:74] == _EMBEDDED:
        start, size = struct.unpack_from("<LL", data, 126)
        if profile := data[14 + start : 14 + start + size]:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image


def decode(image: pyvips.Image, data: Data) -> tuple:
    """As `libvips.decode`: one channel if all its colours are grey, four with alpha."""
    picture = _open(data)
    if picture.mode in ("1", "L", "P"):
        wanted = "RGB" if picture.mode == "P" else "L"
    else:
        wanted = "RGBA" if picture.mode == "RGBA" else "RGB"
    array = np.asarray(picture.convert(wanted))
    return array.reshape(*array.shape[:2], -1), False, image


def _open(data):
    picture = BmpImagePlugin.BmpImageFile(libvips.open_file(data))
    if min(picture.size) < 1:
        raise UserError("no pixels")
    return picture
