"""Puts an EXIF block into the bytes of an encoded WebP or AVIF."""

import re
import struct

from tf_deblur.pictures import exif


def add_to_webp(data: bytes, block: bytes) -> bytes:
    """A WebP file with an EXIF block."""
    if data[12:16] == b"VP8 ":  # the simple kind, of one chunk
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", data[26:30]))
        sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        data = data[:12] + b"VP8X" + struct.pack("<LL", 10, 0) + sides + data[12:]
    chunks = bytearray(data)
    chunks[20] |= 8  # there is EXIF
    place = 12
    while place < len(data) and data[place : place + 4] != b"XMP ":  # which comes last
        (size,) = struct.unpack_from("<L", data, place + 4)
        place += 8 + size + size % 2
    chunks[place:place] = struct.pack("<4sL", b"EXIF", len(block)) + block + bytes(len(block) % 2)
    struct.pack_into("<L", chunks, 4, len(chunks) - 8)
    return bytes(chunks)


def add_to_avif(data: bytes, block: bytes) -> bytes:
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
