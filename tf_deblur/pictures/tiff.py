"""TIFF files: which of their pages is the picture, and what libvips reads wrongly or not at all."""

import io
import itertools
import struct

import numpy as np
from PIL import TiffImagePlugin

from tf_deblur.errors import UserError, quiet
from tf_deblur.pictures import libvips
from tf_deblur.pictures.libvips import pyvips

KIND, OLD_KIND, BITS, CODEC, COLOURS, CHANNELS = 254, 255, 258, 259, 262, 277
PLANES, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES = 284, 322, 323, 324, 325
NUMBERS, BLACK_AND_WHITE = 339, 532
_SMALLER, _MASK, _OLD_SMALLER = 1, 4, 2
_WHITE_IS_0, _YCBCR, _LABS = 0, 6, {8, 9, 10}
_UNSIGNED = 1
_JPEG = 7
_BY_LIBVIPS = {1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946}
_BY_PILLOW = {6: "old-style JPEG", 34925: "LZMA", 50000: "ZSTD"}
_MODES = {mode: mode for mode in ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16B")}  # Pillow's
_MODES |= {"1": "L", "P": "RGB", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
_NUMBERS = {1: "B", 3: "H", 4: "L", 13: "L", 16: "Q"}  # kinds of value that are whole numbers
_MOST = 10_000  # pages; more is no photograph


def open(data: bytes, loader: str) -> pyvips.Image:
    """As `libvips.open`; pages that are smaller copies or masks of the first do not count."""
    pages = list(_read_pages(data))
    if not pages:
        raise ValueError("not a known format")
    if _is_extra(pages[0]):
        raise UserError("begins with a preview, as raw files do; develop it to a picture first")
    libvips.refuse_pages(1 + sum(not _is_extra(page) for page in pages[1:]))
    tags = pages[0]
    codec = _get(tags, CODEC, 1)
    if codec not in _BY_LIBVIPS | _BY_PILLOW.keys():
        raise UserError(f"a TIFF of compression {codec}, which is not read; use PNG or JPEG")
    if _get(tags, COLOURS) in _LABS:
        raise UserError("a TIFF of Lab colours, which are not read; use PNG or JPEG")
    if _get(tags, PLANES, 1) == 2 and TILE_WIDTH in tags:
        raise UserError("a TIFF of tiles for each channel, which is not read; use PNG or JPEG")
    _refuse_missing_tiles(tags, len(data))
    return libvips.load(data, loader)


def _refuse_missing_tiles(tags, size):
    """UserError unless all tiles lie in the file whole: libvips makes up those that do not."""
    least = 1
    if _get(tags, CODEC, 1) == 1 and TILE_WIDTH in tags:
        values = _get(tags, TILE_WIDTH, 0) * _get(tags, TILE_HEIGHT, 0) * _get(tags, CHANNELS, 1)
        least = values * _get(tags, BITS, 1) // 8
    for place, count in itertools.zip_longest(tags.get(TILES, ()), tags.get(TILE_SIZES, ())):
        if not place or not count or count < least or place + count > size:
            raise UserError("its tiles are not all there: cut short or damaged")


def decode(image: pyvips.Image, data: bytes) -> tuple:
    """As `libvips.decode`, by Pillow where libvips lacks the codec or takes YCbCr for RGB."""
    tags = next(_read_pages(data))
    codec = _get(tags, CODEC, 1)
    if codec in _BY_PILLOW or _get(tags, COLOURS) == _YCBCR and codec != _JPEG:
        image = _read_by_pillow(image, data, tags)
    return libvips.decode(image, data)


def check(data: bytes, loader: str) -> None:
    """As `libvips.check_by_pillow`, of compressed files of which libvips warns."""
    if _get(next(_read_pages(data)), CODEC, 1) == 1:
        return
    try:
        pyvips.Image.tiffload_buffer(data, fail_on="warning", access="sequential").avg()
    except pyvips.Error:
        libvips.check_by_pillow(data, loader)


def describe_rest(image: pyvips.Image, data: bytes) -> str:
    """What a file holds beside its picture, in words."""
    count = len(list(_read_pages(data))) - 1
    return "" if not count else "smaller page" if count == 1 else f"{count} smaller pages"


def _read_by_pillow(image, data, tags):
    codec = _BY_PILLOW.get(_get(tags, CODEC, 1), "YCbCr")
    bits = max(tags.get(BITS, [1]))
    if set(tags.get(NUMBERS, [])) - {_UNSIGNED}:
        raise UserError(f"a TIFF of signed numbers or floats by {codec}, which is not read")
    if bits not in {1, 2, 4, 8, 16} or bits > 8 and _get(tags, CHANNELS, 1) > 1:
        raise UserError(f"a TIFF of {bits} bits by {codec}, which is not read; use PNG or JPEG")
    if tags.get(BLACK_AND_WHITE, _WHOLE) != _WHOLE:
        raise UserError("a YCbCr TIFF of a limited range, which is not read; use PNG or JPEG")
    picture = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    with quiet():  # libtiff says on standard error what it thinks of a file
        picture.load()  # upright
    mode = _MODES.get(picture.mode)
    if not mode:  # what `convert` makes of others may be black or white
        raise UserError(f"a TIFF of kind {picture.mode} by {codec}, which is not read")
    array = np.asarray(picture if picture.mode == mode else picture.convert(mode))
    if mode.startswith("I;16"):
        mode, array = "I;16", array.astype(np.uint16)  # in the machine's order
        if _get(tags, COLOURS) == _WHITE_IS_0:  # to which Pillow sees in 8 bits alone
            array = 65535 - array
    made = pyvips.Image.new_from_array(array)
    kind = {"CMYK": "cmyk", "L": "b-w", "LA": "b-w", "I;16": "grey16"}.get(mode, "srgb")
    made = libvips.copy_metadata(made.copy(interpretation=kind), image)
    made.set_type(pyvips.GValue.gstr_type, "vips-loader", image.get("vips-loader"))
    return made


_WHOLE = (0, 255, 128, 255, 128, 255)  # range of brightness and of both colours, as of JPEG


def _is_extra(tags):
    """Whether a page is a smaller copy of another, or its mask."""
    return _get(tags, KIND, 0) & (_SMALLER | _MASK) or _get(tags, OLD_KIND) == _OLD_SMALLER


def _get(tags, tag, default=None):
    return tags[tag][0] if tags.get(tag) else default


def _read_pages(data):
    """{tag: its numbers} of each page, of those that are whole numbers or fractions of 1."""
    order = "<" if data[:2] == b"II" else ">"
    large = struct.unpack_from(f"{order}H", data, 2)[0] == 43
    address, count, room = ("Q", "Q", 8) if large else ("L", "H", 4)
    (place,) = struct.unpack_from(f"{order}{address}", data, 8 if large else 4)
    seen = set()
    while place and place not in seen and len(seen) < _MOST:
        seen.add(place)
        if place + struct.calcsize(count) > len(data):
            return
        (entries,) = struct.unpack_from(f"{order}{count}", data, place)
        place += struct.calcsize(count)
        size = 4 + 2 * room
        end = place + size * entries
        if end + room > len(data):
            return
        tags = {}
        for at in range(place, end, size):
            tag, kind, number = struct.unpack_from(f"{order}HH{address}", data, at)
            if tag in _WANTED and number <= (len(data) if tag in (TILES, TILE_SIZES) else 64):
                tags[tag] = _read_numbers(data, order, address, at + 4 + room, kind, number, room)
        yield tags
        (place,) = struct.unpack_from(f"{order}{address}", data, end)


_WANTED = {KIND, OLD_KIND, BITS, CODEC, COLOURS, CHANNELS, PLANES, TILE_WIDTH, NUMBERS}
_WANTED |= {BLACK_AND_WHITE, TILE_HEIGHT, TILES, TILE_SIZES}


def _read_numbers(data, order, address, at, kind, number, room):
    if kind == 5:
        letters = "LL" * number
    elif kind in _NUMBERS:
        letters = _NUMBERS[kind] * number
    else:
        return ()
    size = struct.calcsize(f"={letters}")
    if size > room:
        (at,) = struct.unpack_from(f"{order}{address}", data, at)
    if at + size > len(data):
        return ()
    values = struct.unpack_from(f"{order}{letters}", data, at)
    if kind == 5:
        values = tuple(a / b if b else 0 for a, b in zip(values[::2], values[1::2]))
    return values
