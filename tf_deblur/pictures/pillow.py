"""Pillow: the pixels of BMP and GIF, and a second opinion on other formats'.

Of a BMP libvips reads nothing, and OpenCV some wrongly without a word: white of 16 bits a pixel
comes dark, unused bits as transparency, and OS/2's colours grey. Where a GIF's frame is smaller
than its screen, libvips makes the rest black.
"""

import contextlib
import io
import struct
import threading

import numpy as np
from PIL import BmpImagePlugin, GifImagePlugin, Image

from tf_deblur.errors import UserError, quiet
from tf_deblur.pictures import libvips
from tf_deblur.pictures.libvips import pyvips

_LONGEST = 1_000_000  # pixels a side
_LIFTED = threading.Lock()
_V5 = 124  # bytes of the newest header
_EMBEDDED = b"DEBM"  # the profile is in the file


def check(data: bytes, kind: str, pixels: bool = True) -> None:
    """Raises what Pillow does if it does not know a file, or how to get whole pixels out of it.

    Where libvips is content with less, of damaged files a second opinion counts.

    Args:
      data: the file.
      kind: Pillow's name of its format, whose reader is asked for pictures of any size.
      pixels: whether they are decoded; if not, its head counts alone.
    """
    Image.init()
    with quiet(), _any_size():
        try:
            picture = Image.OPEN[kind][0](io.BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            raise ValueError("no whole picture for a second reader") from None
        if pixels:
            picture.load()


@contextlib.contextmanager
def _any_size():
    """Lifts Pillow's limit, since a picture's size has been looked at; for one thread at a time."""
    with _LIFTED:
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = kept


def open_bmp(data: bytes, loader: str) -> pyvips.Image:
    """A `pyvips.Image` of the file's size and resolution, with its ICC profile, without pixels."""
    picture = _open_bmp(data)
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
            image.set_type(pyvips.GValue.blob_type, libvips.PROFILE, profile)
    return image


def decode_bmp(image: pyvips.Image, data: bytes) -> tuple:
    """As `libvips.decode`: one channel where Pillow tells grey, four with alpha."""
    return _list_pixels(_open_bmp(data)), False, image


def decode_gif(image: pyvips.Image, data: bytes) -> tuple:
    """As `decode_bmp`; what its frame does not cover is transparent, or of the background."""
    return _list_pixels(GifImagePlugin.GifImageFile(io.BytesIO(data))), False, image


def _list_pixels(picture):
    clear = picture.mode == "RGBA" or "transparency" in picture.info
    wanted = "RGBA" if clear else "L" if picture.mode in ("1", "L") else "RGB"
    array = np.asarray(picture.convert(wanted))
    return array.reshape(*array.shape[:2], -1)


def _open_bmp(data):
    picture = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
    if min(picture.size) < 1:
        raise UserError("no pixels")
    return picture
