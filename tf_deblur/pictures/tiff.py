"""TIFF files: which of their pages is the picture, and what libvips reads wrongly or not at all."""

import io
import itertools
import struct

import numpy as np
from PIL import TiffImagePlugin

from tf_deblur.errors import UserError, quiet
from tf_deblur.pictures import arrays, exif, libvips, pillow
from tf_deblur.pictures.directories import (
    BYTES,
    find_any,
    find_first,
    find_link,
    find_places,
    find_values,
    read_entries,
    read_number,
    read_numbers,
)
from tf_deblur.pictures.libvips import pyvips

KIND, OLD_KIND, BITS, CODEC, COLOURS, CHANNELS = 254, 255, 258, 259, 262, 277
PLANES, COLOUR_MAP, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES = 284, 320, 322, 323, 324, 325
EXTRA, NUMBERS, BLACK_AND_WHITE = 338, 339, 532
_NO_ALPHA = 0  # of EXTRA: a channel that means nothing known
_SMALLER, _MASK, _OLD_SMALLER = 1, 4, 2
_WHITE_IS_0, _GREY, _PALETTE, _YCBCR, _LABS = 0, 1, 3, 6, {8, 9, 10}
_LEAST = {_WHITE_IS_0: 1, _GREY: 1, 2: 3, _PALETTE: 1, 5: 4, _YCBCR: 3}  # channels by colours
_UNSIGNED = 1
_JPEG = 7
_BY_LIBVIPS = {1, 2, 3, 4, 5, _JPEG, 8, 32773, 32946}
_BY_PILLOW = {6: "old-style JPEG", 34925: "LZMA", 50000: "ZSTD"}
_MODES = {mode: mode for mode in ("L", "LA", "RGB", "RGBA", "CMYK", "I;16", "I;16B")}  # Pillow's
_MODES |= {"1": "L", "P": "RGB", "PA": "RGBA", "RGBX": "RGB", "YCbCr": "RGB"}
_MOST = 10_000  # pages; more is no photograph
# Of an EXIF block's first directory, what a TIFF file says of its own pixels.
_OF_PIXELS = {
    *range(0xFE, 0x10B),
    *(0x111, exif.ORIENTATION, *range(0x115, 0x11A), 0x11C, *range(0x122, 0x126), 0x12D, 0x13D),
    *range(0x140, 0x160),
    *range(0x200, 0x216),
}
_SWAPPED = {5: 4, 10: 4}  # kinds of value: fractions are two numbers


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
    colours = _get(tags, COLOURS, _GREY)
    channels = _get(tags, CHANNELS, len(tags.get(BITS, [1])))
    colour_map = 3 << _get(tags, BITS, 1) if colours == _PALETTE else 0
    if channels < _LEAST.get(colours, channels + 1) or len(tags.get(COLOUR_MAP, ())) < colour_map:
        raise UserError("its channels or colours are not all there: cut short or damaged")
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
    array, *others = libvips.decode(image, data)
    if codec != 1 and _is_doubtful(data):
        pillow.check(data, "TIFF")
    if array.shape[-1] in (2, 4) and _get(tags, EXTRA) == _NO_ALPHA:
        array = array[..., :-1]
    return array, *others


def _is_doubtful(data):
    """Whether libvips warns of a file's pixels."""
    try:
        pyvips.Image.tiffload_buffer(data, fail_on="warning", access="sequential").avg()
    except pyvips.Error:
        return True
    return False


def describe_rest(image: pyvips.Image, data: bytes) -> list[str]:
    """What a file holds beside its picture, in words."""
    pages = list(_read_pages(data))
    words = ["a channel of no known meaning"] if _get(pages[0], EXTRA) == _NO_ALPHA else []
    if count := len(pages) - 1:
        words.append(f"the {'smaller page' if count == 1 else f'{count} smaller pages'} behind it")
    return words


def save(pixels: np.ndarray, header: pyvips.Image | None, block: bytes, options: dict) -> bytes:
    """As `libvips.save`, with an EXIF block, and without a resolution that nobody knows."""
    options = options | {"compression": "deflate", "predictor": "horizontal"}
    swapped = bool(block) and pixels.dtype == np.uint16 and find_first(block)[1] == ">"
    if swapped:  # its numbers are in the order of the EXIF's, which libvips would not write
        pixels = arrays.subtract_left(pixels).byteswap()
        options["predictor"] = "none"
    if header:
        words = libvips.get_bytes(header, libvips.IPTC)
        # of which libvips writes a quarter, for it takes bytes for numbers of 32 bits
        header = libvips.set_bytes(header, libvips.IPTC, words.ljust(4 * len(words), b"\0"))
    data = libvips.save(".tif", pixels, header, options)
    if not header or not libvips.has_resolution(header):  # which libvips writes none the less
        data = _drop_resolution(data)
    return add_exif(data, block, predicted=swapped) if block else data


def _drop_resolution(data):
    """A TIFF file without a unit of its resolution, as one has that does not know it."""
    changed = bytearray(data)
    start, order = find_first(data)
    exif.set_number(changed, find_places(data, start, order).get(exif.UNIT), order, 1)
    return bytes(changed)


def refuse_exif(block: bytes) -> str:
    """Why a TIFF file, whose own tags a block's become, cannot have it; empty if it can."""
    try:
        return "" if read_entries(block, *find_first(block)) else "which is damaged"
    except (struct.error, ValueError):
        return "which is damaged"


def add_exif(data: bytes, block: bytes, predicted: bool = False) -> bytes:
    """A TIFF file's bytes with an EXIF block before its pixels, so that nothing in that moves.

    A new first directory at the end has the file's tags and those of the block.

    Args:
      data: a TIFF file of little-endian numbers and one picture.
      block: the EXIF, which `refuse_exif` lets pass.
      predicted: whether each pixel is the difference to its neighbour, which the file's own
        tags do not say.

    Raises:
      struct.error: more than 4 GB.
    """
    tags_of_block = read_entries(block, *find_first(block))
    into, own = find_first(block)[1], read_entries(data, *find_first(data))
    block += bytes(len(block) % 2)
    moved = len(block) - 8  # all of the file but its header
    kept = {tag: tags_of_block[tag] for tag in tags_of_block.keys() - _OF_PIXELS if tag not in own}
    if exif.RESOLUTIONS <= tags_of_block.keys():
        kept |= {tag: tags_of_block[tag] for tag in exif.RESOLUTIONS}
    if predicted:
        own[0x13D] = (0x13D, 3, 1, struct.pack("<HH", 2, 0))
    tags = sorted(own.keys() | kept.keys())
    start = moved + len(data) + (moved + len(data)) % 2
    values, packed = bytearray(), bytearray()
    behind = start + 2 + 12 * len(tags) + 4
    for tag in tags:
        if tag in kept:
            packed += struct.pack(f"{into}HHL4s", *kept[tag])
            continue
        _, kind, count, value = own[tag]
        size = count * BYTES.get(kind, 1)
        place = read_number(value, 0, "<")
        if size > 4 and kind not in BYTES:  # profile and XMP stay where they are
            value = struct.pack(f"{into}L", place + moved)
        else:
            width = _SWAPPED.get(kind, BYTES.get(kind, 1))
            letter = {1: "B", 2: "H", 4: "L", 8: "Q"}[width]
            value = value[:size] if size <= 4 else data[place : place + size]
            numbers = [*struct.unpack(f"<{size // width}{letter}", value)]
            if tag in (0x111, 0x144):  # where its pixels lie
                numbers = [number + moved for number in numbers]
            value = struct.pack(f"{into}{len(numbers)}{letter}", *numbers)
            if size > 4:
                values += value
                value = struct.pack(f"{into}L", behind + len(values) - size)
                values += bytes(len(values) % 2)
        packed += struct.pack(f"{into}HHL4s", tag, kind, count, value)
    directory = struct.pack(f"{into}H", len(tags)) + packed + bytes(4) + values
    head = block[:4] + struct.pack(f"{into}L", start)
    padding = bytes(start - moved - len(data))
    return b"".join([head, block[8:], memoryview(data)[8:], padding, directory])


def _read_by_pillow(image, data, tags):
    codec = _BY_PILLOW.get(_get(tags, CODEC, 1), "YCbCr")
    bits = max(tags.get(BITS, [1]))
    if set(tags.get(NUMBERS, [])) - {_UNSIGNED}:
        raise UserError(f"a TIFF of signed numbers or floats by {codec}, which is not read")
    if bits not in {1, 2, 4, 8, 16} or bits > 8 and _get(tags, CHANNELS, 1) > 1:
        raise UserError(f"a TIFF of {bits} bits by {codec}, which is not read; use PNG or JPEG")
    if (tags.get(BLACK_AND_WHITE) or _WHOLE) != _WHOLE:
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
    start, order, big = find_any(data)
    seen = set()
    while start and start not in seen and len(seen) < _MOST:
        seen.add(start)
        try:
            link = read_number(data, find_link(data, start, order, big), order, "LQ"[big])
        except struct.error:  # a directory past the file's end
            return
        places = find_places(data, start, order, big)
        wanted = places.keys() & _WANTED
        try:
            for place in places.values():
                find_values(data, place, order, big)
            tags = {tag: read_numbers(data, places[tag], order, big) for tag in wanted}
        except ValueError as error:
            raise UserError("its tags are not all there: cut short or damaged") from error
        yield tags
        start = link


_WANTED = {KIND, OLD_KIND, BITS, CODEC, COLOURS, CHANNELS, PLANES, COLOUR_MAP, EXTRA, NUMBERS}
_WANTED |= {TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, BLACK_AND_WHITE}
