"""How large an encoded picture claims to be, from its first bytes: before anything decodes it."""

import struct

from tf_deblur.serving.status import invalid

JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the markers that hold height and width
JPEG_BARE = {0x01, *range(0xD0, 0xDA)}  # those that have no length
JPEG_XL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")


def check(tensors, megapixels):
    """Raises Failure where a string among the inputs is a picture of more than this."""
    for array in tensors.values():
        for data in array.reshape(-1) if array.dtype == object else ():
            if data.startswith(JPEG_XL):
                raise invalid("JPEG XL is not taken, since its size is not known; use JPEG or PNG")
            width, height = size(data) or (0, 0)
            if width * height > megapixels * 1e6:
                told = f"The picture claims to be {width}x{height} pixels"
                raise invalid(f"{told}; at most {megapixels:g} megapixels are taken")


def size(data):
    """(width, height) of a PNG, JPEG, GIF, BMP or WebP file; None if it is none, or cut short."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack(">II", data[16:24])
        if data.startswith((b"GIF87a", b"GIF89a")):
            return struct.unpack("<HH", data[6:10])
        if data.startswith(b"BM"):
            return tuple(map(abs, struct.unpack("<ii", data[18:26])))
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
    except (struct.error, IndexError):
        pass
    return None


def _webp(data):
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    return width, height


def _jpeg(data):
    """Walks over the segments; the largest frame header counts, if there are several."""
    at, found = 2, None
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        marker = data[at + 1]
        if marker in JPEG_BARE or marker in (0x00, 0xFF):
            at += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if marker in JPEG_SIZES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            if not found or width * height > found[0] * found[1]:
                found = width, height
        if marker == 0xDA:  # from here on it is picture data
            return found
        at += 2 + length
    return found
