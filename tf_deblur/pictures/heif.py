"""What libvips leaves to do for HEIC and AVIF.

It opens HEIC files with all their metadata, but lacks the decoder; and it puts samples of 10 and
12 bits into the upper ones of 16, where white is less than 65535. Nor does it tell what colours
a file has that holds no ICC profile, and what other pictures.
"""

import io
import mmap
import re
import struct
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tf_deblur.errors import UserError
from tf_deblur.pictures import exif, libvips, pillow
from tf_deblur.pictures.libvips import pyvips

# primaries, transfer and matrix by ITU-T H.273, and whether black is 0 and white the largest value
_NCLX = re.compile(rb"colrnclx(..)(..)..(.)", re.DOTALL)
_AV1 = re.compile(rb"av1C\x81.(.)", re.DOTALL)
_MONOCHROME, _FULL, _HIDDEN = 0x10, 0x80, 1  # bits
_PICTURES = {b"hvc1", b"av01", b"grid", b"iden", b"iovl", b"jpeg", b"avc1", b"j2k1", b"vvc1"}
_MANY_TILES = "box contains"  # more than libheif's limit of 256, as phones' 200 megapixels have
BITS = 12  # that an AVIF holds
_UNKNOWN, _SRGB, _CURVES_OF_HDR = 2, 1, {8, 16, 18}  # the numbers: linear, PQ and HLG


def open(data: bytes, loader: str) -> pyvips.Image:
    """As `libvips.open`, of the primary image, of any number of tiles."""
    if b"moov" in _name_boxes(data)[0]:
        raise UserError("an animation; one picture a file is wanted")
    try:
        return libvips.load(data, loader)
    except pyvips.Error as error:
        if _MANY_TILES not in str(error):
            raise
        return libvips.load(data, loader, unlimited=True)


def decode_avif(image: pyvips.Image, data: bytes) -> tuple:
    """As `libvips.decode`, with samples of 10 and 12 bits over all 16."""
    array, _, image = libvips.decode(image, data)
    bits = image.get("bits-per-sample")
    if array.dtype == np.uint16:
        array = from_upper_bits(array, bits)
    codec = _AV1.search(read_properties(data))
    if codec and codec[1][0] & _MONOCHROME:  # three times the same, and alpha
        array = _widen(array[..., [0, 3] if array.shape[-1] == 4 else [0]], bits, data)
    if Image.registered_extensions().get(".avif"):  # which Pillow has for some years
        pillow.check(data, "AVIF")
    return array, b"tmap" in _read_items(data)[0].values(), image


def decode_heic(image: pyvips.Image, data: bytes) -> tuple:
    """Decodes a HEIC's primary image, as `libvips.decode`, which lacks the decoder.

    It is upright, since the format has a turn of its own, beside which its EXIF orientation does
    not count. UserError where pillow-heif is missing.
    """
    try:
        import pillow_heif
    except ImportError:
        wanted = "HEIC wants a library of its own; pip install 'tf-deblur[heif]'"
        raise UserError(wanted) from None
    kept = {"convert_hdr_to_8bit": False, "hdr_to_16bit": False}
    picture = pillow_heif.open_heif(data, **kept)
    array = np.asarray(picture)
    if array.dtype == np.uint16:
        array = spread_over_16_bits(array, picture.info["bit_depth"])
    array = array.reshape(*array.shape[:2], -1)
    if array.shape[-1] < 3:
        array = _widen(array, picture.info["bit_depth"], data)
    gain_map = any("gainmap" in kind for kind in picture.info["aux"])
    return array, gain_map, image


def describe_rest(image: pyvips.Image, data: bytes) -> list[str]:
    """What a file holds beside its picture, in words: tiles, thumbnails and masks do not count."""
    items, refers, hidden = _read_items(data)
    seen = {item for item, kind in items.items() if kind in _PICTURES} - hidden
    seen -= {item for kind, item, _ in refers if kind in (b"thmb", b"auxl")}
    tiles = {item for kind, _, to in refers if kind == b"dimg" for item in to}
    left = max(len(seen - tiles), 1) - 1  # the picture itself may be one that another is made of
    words = ["second picture" if left == 1 else f"{left} other pictures"] if left else []
    words += ["film"] * _name_boxes(data)[1]
    return [f"the {' and the '.join(words)} behind it"] if words else []


def has_other_colours(image: pyvips.Image, data: bytes) -> bool:
    """Whether those of a HEIC's or AVIF's `pyvips.Image` differ from sRGB, with no ICC profile.

    Then they are HDR, by the curves PQ or HLG, or of wider primaries, and the file says so in a
    way that only viewers of the format know.
    """
    if image.get_typeof(libvips.PROFILE):
        return False
    found = _NCLX.search(read_properties(data))
    if not found:
        return False
    primaries, curve, _ = (int.from_bytes(number, "big") for number in found.groups())
    return differ_from_srgb(primaries, curve)


def differ_from_srgb(primaries: int, curve: int) -> bool:
    """Whether colours do, by the numbers of ITU-T H.273."""
    return primaries not in (_SRGB, _UNKNOWN) or curve in _CURVES_OF_HDR


def _widen(array, bits, data):
    """Grey as libheif gives it -> over its full range, which it does of colours alone."""
    if not _is_limited(data):
        return array
    most = np.iinfo(array.dtype).max
    black, white = ((level << (bits - 8)) / (2**bits - 1) for level in (16, 235))
    shares = (np.linspace(0, 1, most + 1) - black) / (white - black)
    levels = np.rint(shares.clip(0, 1) * most).astype(array.dtype)
    return np.concatenate([_look_up(levels, array[..., :1]), array[..., 1:]], axis=-1)


def _is_limited(data):
    """Whether black is 16 and white 235 of 8 bits, as the file says or its first picture does."""
    if colours := _NCLX.search(read_properties(data)):
        return not colours[3][0] & _FULL
    try:
        import av

        with av.open(io.BytesIO(data)) as file:
            return next(file.decode(video=0)).color_range == av.video.reformatter.ColorRange.MPEG
    except Exception:  # without FFmpeg, or what it does not read: as libheif has it
        return False


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


def save_avif(
    pixels: np.ndarray, header: pyvips.Image | None, block: bytes, options: dict
) -> bytes:
    """As `libvips.save`, with an EXIF block, of an AVIF."""
    options = options | {"effort": 1}
    if pixels.dtype == np.uint16:
        pixels = to_upper_bits(pixels, BITS)
        options["bitdepth"] = BITS
    if not block:
        return libvips.save(".avif", pixels, header, options)
    # with some EXIF, for the block to replace
    return add_exif(libvips.save(".avif", pixels, header, options, keep="all"), block)


def add_exif(data: bytes, block: bytes) -> bytes:
    """An AVIF file with an EXIF block in place of the one that it has, at the file's end."""
    item = re.search(rb"infe\x02...(..)..Exif", data, re.DOTALL)
    places = data.find(b"iloc\0\0\0\0\x44\x40")  # how libheif writes it: all numbers of 32 bits
    if not item or places < 0:
        return data
    (count,) = struct.unpack_from(">H", data, places + 10)
    changed = bytearray(data)
    content = struct.pack(">L", len(exif.PREFIX)) + exif.PREFIX + block
    for place in range(places + 12, places + 12 + 18 * count, 18):
        if data[place : place + 2] == item[1]:
            extent = (len(data) + 8, 1, 0, len(content))
            struct.pack_into(">LHLL", changed, place + 4, *extent)
    return bytes(changed) + struct.pack(">L4s", len(content) + 8, b"mdat") + content


def _look_up(levels, array):
    made = np.empty_like(array)
    for row, into in zip(array, made):  # all at once, NumPy makes indices of 64 bits
        np.take(levels, row, mode="clip", out=into)
    return made


def _name_boxes(data):
    """(kinds of a file's boxes, whether a film follows, which has the same)."""
    kinds = []
    for kind, _, _ in read_boxes(data, 0, len(data)):
        if kind == b"mpvd" or kind == b"ftyp" and kinds:
            return kinds, True
        kinds.append(kind)
    return kinds, False


def _read_items(data):
    """({item: its kind}, [(kind, item, to which others it refers)], {hidden items})."""
    items, refers, hidden = {}, [], set()
    for kind, start, end in _read_meta(data):
        if kind == b"iinf":
            for _, at, _ in read_boxes(data, start + (8 if data[start] else 6), end):
                item, _, name = struct.unpack_from(
                    ">LH4s" if data[at] > 2 else ">HH4s", data, at + 4
                )
                items[item] = name
                hidden |= {item} if data[at + 3] & _HIDDEN else set()
        elif kind == b"iref":
            head, letter = (">LH", "L") if data[start] else (">HH", "H")
            for name, at, _ in read_boxes(data, start + 4, end):
                item, count = struct.unpack_from(head, data, at)
                to = struct.unpack_from(f">{count}{letter}", data, at + struct.calcsize(head))
                refers.append((name, item, to))
    return items, refers, hidden


def read_properties(data: bytes) -> bytes:
    """The primary image's properties, then its first tile's; `data` if none are told.

    Other images' (transparency, a gain map) may lie before them.
    """
    image, boxes = None, []
    belong: dict[int, list[int]] = {}
    for kind, start, end in _read_meta(data):
        if kind == b"pitm":
            image = int.from_bytes(data[start + 4 : end], "big")
        elif kind == b"iprp":
            for inner, at, stop in read_boxes(data, start, end):
                if inner == b"ipco":
                    boxes = [name + data[a:b] for name, a, b in read_boxes(data, at, stop)]
                elif inner == b"ipma":
                    belong |= _read_associations(data, at)
    parts = {item: to[0] for kind, item, to in _read_items(data)[1] if kind == b"dimg" and to}
    numbers = []
    while image is not None:
        numbers += belong.get(image, [])
        image = parts.pop(image, None)
    return b"".join(boxes[number - 1] for number in numbers if 0 < number <= len(boxes)) or data


def _read_associations(data, start):
    """{item: the numbers of its properties, from 1 on}."""
    item_letter, letter, most = "L" if data[start] else "H", "B", 0x7F
    if data[start + 3] & 1:
        letter, most = "H", 0x7FFF
    (count,) = struct.unpack_from(">L", data, start + 4)
    belong, place = {}, start + 8
    for _ in range(count):
        item, size = struct.unpack_from(f">{item_letter}B", data, place)
        place += struct.calcsize(f">{item_letter}B")
        numbers = struct.unpack_from(f">{size}{letter}", data, place)
        place += struct.calcsize(f">{size}{letter}")
        belong[item] = [number & most for number in numbers]
    return belong


def _read_meta(data):
    metas = (place for kind, *place in read_boxes(data, 0, len(data)) if kind == b"meta")
    begin, stop = next(metas, (0, 0))
    return read_boxes(data, begin + 4, stop)


def read_boxes(data: bytes | mmap.mmap, start: int, end: int) -> Iterator[tuple]:
    """(kind, where it begins, where it ends) of each box."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">L4s", data, start)
        head = 8
        if size == 1 and start + 16 <= end:
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        stop = end if size == 0 else start + size
        if size and size < head or stop > end:
            return
        yield kind, start + head, stop
        start = stop
