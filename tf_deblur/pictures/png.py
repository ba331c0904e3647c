"""PNG files, chunk by chunk, for libvips reads no texts and no EXIF behind the pixels."""

import struct

from tf_deblur.pictures import libvips
from tf_deblur.pictures.libvips import pyvips


def open(data, loader) -> pyvips.Image:
    """As `libvips.open`; a file with an animation is refused as one of several pages."""
    image = libvips.open(data, loader)
    chunks = list(_read_chunks(data))
    for kind, content in chunks:
        if kind == b"acTL":
            libvips.refuse_pages(int.from_bytes(content[:4], "big"))
    return image


def _read_chunks(data):
    """(kind, content) of each chunk but the pixels."""
    place = 8
    while place + 12 <= len(data):
        size, kind = struct.unpack_from(">L4s", data, place)
        if kind not in (b"IDAT", b"fdAT"):
            yield kind, data[place + 8 : place + 8 + size]
        place += 12 + size
