"""WebP files, chunk by chunk: with EXIF, which goes in byte for byte."""

import struct

import numpy as np

from tf_deblur.pictures import libvips
from tf_deblur.pictures.libvips import pyvips


def save(pixels: np.ndarray, header: pyvips.Image | None, block: bytes, options: dict) -> bytes:
    """As `libvips.save`, with an EXIF block."""
    data = libvips.save(".webp", pixels, header, options)
    return add_exif(data, block) if block else data


def add_exif(data: bytes, block: bytes) -> bytes:
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


def explain(data: bytes) -> str:
    """What is wrong with a file, in words, if that is its length."""
    size = int.from_bytes(data[4:8], "little") + 8
    return f"cut short: {len(data)} bytes of {size}" if len(data) < size else ""
