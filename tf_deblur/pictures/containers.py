"""Puts an EXIF block into the bytes of an encoded picture, where each format holds it; and says
what a JPEG file holds beside its picture."""

import re
import struct
import zlib

from tf_deblur.pictures import exif

LONGEST_IN_JPEG = 65535 - 2 - len(exif.PREFIX)  # of an EXIF block: one segment counts its bytes so
_AFTER_PIXELS = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # a marker that is no part of them
_PICTURE = re.compile(rb"\xff\xd8\xff[\xc0-\xef]")


def add_to_jpeg(data: bytes, block: bytes) -> bytes:
    """A JPEG file with an EXIF block, as `exif.update` makes it."""
    return data[:2] + _segment(0xE1, exif.PREFIX + block) + data[2:]


def refuse_in_jpeg(block: bytes) -> str:
    """Why a JPEG file cannot have an EXIF block, in words; empty if it can."""
    return "more than a JPEG holds" if len(block) > LONGEST_IN_JPEG else ""


def add_density(data: bytes, xres: float) -> bytes:
    """A JPEG file with the resolution, in pixels a millimetre, that no EXIF tells."""
    dots = min(max(round(xres * 25.4), 1), 65535)  # an inch
    content = struct.pack(">5sHBHHBB", b"JFIF", 0x101, 1, dots, dots, 0, 0)
    return data[:2] + _segment(0xE0, content) + data[2:]


def _segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def add_to_png(data: bytes, block: bytes) -> bytes:
    """A PNG file with an EXIF block."""
    chunk = b"eXIf" + block
    chunk = struct.pack(">L", len(block)) + chunk + struct.pack(">L", zlib.crc32(chunk))
    return data[:33] + chunk + data[33:]  # behind its header


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


def describe_rest_of_jpeg(data: bytes, gain_map: bool) -> str:
    """What a JPEG file holds after its picture, in words; empty for nothing but padding.

    Args:
      data: the file.
      gain_map: whether a picture there is one, told elsewhere.
    """
    rest = data[_find_end_of_jpeg(data) :].strip(b"\0\n\r ")
    film = rest.find(b"ftyp")
    parts = []
    if _PICTURE.search(rest, 0, film if film >= 0 else len(rest)):
        parts += [] if gain_map else ["picture"]
    elif rest and film < 0:
        parts.append(f"{len(rest)} bytes")
    if film >= 0:
        parts.append("film")
    return " and the ".join(parts)


def _find_end_of_jpeg(data):
    """Where the first picture ends; where the file does, if it is damaged."""
    place = 2
    while (place := data.find(b"\xff", place)) >= 0 and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == 0xFF:
            place += 1
        elif marker in (0x01, *range(0xD0, 0xD8)):
            place += 2
        elif marker == 0xD9:
            return place + 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
            if marker == 0xDA:
                found = _AFTER_PIXELS.search(data, place)
                place = found.start() if found else len(data)
    return len(data)
