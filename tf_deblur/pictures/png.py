"""PNG files, chunk by chunk, for libvips reads no texts and no EXIF behind the pixels."""

import struct
import zlib

import numpy as np

from tf_deblur.pictures import exif, heif, libvips
from tf_deblur.pictures.libvips import COLOURS, TEXTS, pyvips

_TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
_COLOUR_KINDS = (b"cICP", b"mDCV", b"cLLI", b"gAMA", b"cHRM", b"sRGB")
_XMP, _RAW = b"XML:com.adobe.xmp", b"Raw profile type "  # the second as ImageMagick writes it
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_LONGEST = 1 << 24  # bytes that a text may unpack to
_GAMMA = 45455  # of sRGB, and its white, red, green and blue
_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)


def open(data: bytes, loader: str) -> pyvips.Image:
    """As `libvips.open`, with all metadata; an animation is refused as one of several pages.

    `pyvips.Error`, too, for a wrong checksum of any chunk, and for a file without its end.
    """
    image = libvips.open(data, loader).copy(xres=1, yres=1)
    if _find_fault(data):
        raise pyvips.Error("not a whole file")  # which libvips would read
    kept: dict[str, list] = {TEXTS: [], COLOURS: []}
    found: dict[str, bytes] = {}
    for kind, content in _read_contents(data):
        if kind == b"acTL":
            libvips.refuse_pages(int.from_bytes(content[:4], "big"))
        elif kind == b"eXIf":
            found[libvips.EXIF] = content
        elif kind in _COLOUR_KINDS:
            kept[COLOURS].append(_pack(kind, content))
        elif kind == b"pHYs" and content[8:] == b"\1":  # pixels a metre
            across, down = struct.unpack_from(">LL", content)
            image = image.copy(xres=across / 1000, yres=down / 1000)
        elif kind in _TEXT_KINDS:
            name, field, value = _read_text(kind, content)
            if field:
                found.setdefault(field, value)
            elif not name.startswith(_RAW + b"exif"):
                kept[TEXTS].append(_pack(kind, content))
    found |= {name: b"".join(chunks) for name, chunks in kept.items() if chunks}
    for field, value in found.items():
        if value:
            image.set_type(pyvips.GValue.blob_type, field, value)
    turn = exif.read_orientation(exif.find(found.get(libvips.EXIF, b"")))
    if turn:
        image.set_type(pyvips.GValue.gint_type, "orientation", turn)
    return image


def has_other_colours(image: pyvips.Image, data: bytes) -> bool:
    """Whether a file's colours differ from sRGB, and no ICC profile says so."""
    chunks = libvips.get_bytes(image, COLOURS)
    told = dict(_read_contents(bytes(8) + chunks))
    if b"cICP" in told:
        return heif.differ_from_srgb(*told[b"cICP"][:2])
    if image.get_typeof(libvips.PROFILE) or b"sRGB" in told:
        return False
    gamma = int.from_bytes(told.get(b"gAMA", b""), "big") or _GAMMA
    primaries = struct.unpack(">8L", told[b"cHRM"]) if len(told.get(b"cHRM", b"")) == 32 else ()
    return abs(gamma - _GAMMA) > 1000 or any(
        abs(one - other) > 1000 for one, other in zip(primaries, _PRIMARIES)
    )


def describe_rest(image: pyvips.Image, data: bytes) -> list[str]:
    """What a file holds that goes into no other, in words."""
    told = dict(_read_contents(data))
    shape = told.get(b"pHYs", b"")
    words = ["its time of change"] if b"tIME" in told else []
    words += ["its background colour"] if b"bKGD" in told else []
    words += ["the shape of its pixels"] if shape[8:] == b"\0" and shape[:4] != shape[4:8] else []
    *_, (_, _, end) = _walk(data)
    return words + [f"the {size} bytes behind it" for size in [len(data) - end] if size > 0]


def save(pixels: np.ndarray, header: pyvips.Image | None, block: bytes, options: dict) -> bytes:
    """As `libvips.save`, with an EXIF block, texts and colours."""
    data = libvips.save(".png", pixels, header, options | {"compression": 6})
    more = _pack(b"eXIf", block) if block else b""
    for field in (COLOURS, TEXTS):
        more += libvips.get_bytes(header, field)
    rest = data[_HEAD:]
    if (
        not (header and libvips.has_resolution(header))
        and (place := rest.find(b"pHYs", 0, rest.find(b"IDAT"))) > 0
    ):
        rest = rest[: place - 4] + rest[place + 17 :]
    return data[:_HEAD] + more + rest


def explain(data: bytes) -> str:
    """What is wrong with a file, in words."""
    return _find_fault(data) or "damaged: its compressed pixels make no picture"


def _find_fault(data):
    """What is wrong with a file's chunks, in words; empty for nothing."""
    kind, view = b"", memoryview(data)
    for kind, place, end in _walk(data):
        if end > len(data):
            return f"cut short: {len(data)} bytes of at least {end}"
        if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            chunk = kind.decode("latin-1")
            return f"damaged: the checksum of chunk {chunk!r} at byte {place} is wrong"
    return "" if kind == b"IEND" else f"cut short: {len(data)} bytes, and no end"


_HEAD = 33  # bytes of the signature and the first chunk


def _read_text(kind, content):
    """(its name, the field of metadata that it is, or None, value)."""
    name, _, rest = content.partition(b"\0")
    if kind == b"iTXt" and name == _XMP:
        packed = rest[:1] == b"\1"
        text = rest[2:].split(b"\0", 2)[-1]
        return name, libvips.XMP, _unpack(text) if packed else text
    if not name.startswith(_RAW) or kind == b"iTXt":
        return name, None, b""
    text = _unpack(rest[1:]) if kind == b"zTXt" else rest
    try:  # "\nexif\n    1234\n" and hexadecimal digits
        value = bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return name, None, b""
    if name in (_RAW + b"APP1", _RAW + b"exif") and exif.find(value):
        return name, libvips.EXIF, value
    if name in (_RAW + b"APP1", _RAW + b"xmp"):
        return name, libvips.XMP, value.removeprefix(_XMP_IN_JPEG)
    return name, None, b""


def _unpack(data):
    try:
        return zlib.decompressobj().decompress(data, _LONGEST)
    except zlib.error:
        return b""


def _pack(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", checksum)


def _read_contents(data):
    """(kind, content) of each chunk but the pixels."""
    for kind, place, end in _walk(data):
        if kind not in (b"IDAT", b"fdAT"):
            yield kind, data[place + 8 : end - 4]


def _walk(data):
    """(kind, where it begins, where it ends) of each chunk, up to the last."""
    place, kind = 8, b""
    while place + 8 <= len(data) and kind != b"IEND":
        size, kind = struct.unpack_from(">L4s", data, place)
        yield kind, place, place + 12 + size
        place += 12 + size
