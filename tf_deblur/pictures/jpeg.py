"""JPEG files, segment by segment: what lies beside and behind the picture."""

import re
import struct

import numpy as np

from tf_deblur.errors import UserError
from tf_deblur.pictures import exif, iptc, libvips, pillow
from tf_deblur.pictures.libvips import COMMENTS, EXTENDED_XMP, IPTC, PHOTOSHOP, pyvips

LONGEST = 65535 - 2  # bytes of a segment, which counts its own length
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
# Ultra HDR's and ISO 21496's; libultrahdr, asked, prints what it thinks of damaged ones
_GAIN_MAPS = b"http://ns.adobe.com/hdr-gain-map/1.0/", b"urn:iso:std:iso:ts:21496:-1"
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
LONGEST_XMP = LONGEST - len(_XMP)
LONGEST_EXIF = LONGEST - len(exif.PREFIX)
_AFTER_PIXELS = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # a marker that is no part of them
_PICTURE = re.compile(rb"\xff\xd8\xff[\xc0-\xef]")


def open(data: bytes, loader: str, fail_on: str = "warning") -> pyvips.Image:
    """As `libvips.open`, with GAIN_MAP if the file has one, and what has many segments."""
    image = libvips.load(data, loader, fail_on=fail_on).copy()
    told, gain_map, blocks, kept = False, False, b"", {COMMENTS: b"", EXTENDED_XMP: b""}
    for marker, start, end in _read_segments(data):
        content = data[start + 4 : end]
        if marker == 0xE0 and content[:5] == b"JFIF\0" and len(content) > 7:
            told = content[7] in (1, 2)
        elif marker == 0xE1 and content.startswith(_MORE_XMP):
            kept[EXTENDED_XMP] += data[start:end]
        elif marker == 0xED and content.startswith(iptc.PREFIX):
            blocks += content.removeprefix(iptc.PREFIX)
        elif marker == 0xFE:
            kept[COMMENTS] += data[start:end]
        gain_map |= any(mark in content for mark in _GAIN_MAPS)
    if not told and not exif.has(exif.read(image, data), exif.RESOLUTION):
        image = image.copy(xres=1, yres=1)
    kept[IPTC], kept[PHOTOSHOP] = iptc.split(blocks)
    for field, content in kept.items():
        image = libvips.set_bytes(image, field, content)
    if gain_map:
        image.set_type(pyvips.GValue.gint_type, libvips.GAIN_MAP, 1)
    return image


def decode(image: pyvips.Image, data: bytes) -> tuple:
    """As `libvips.decode`; what libjpeg warns of is for Pillow to judge, too."""
    try:
        decoded = libvips.decode(image, data)
    except pyvips.Error as error:
        if "premature end of data segment" in str(error):  # the rest would be grey
            raise UserError("its pixels end too early: cut short or damaged") from error
        pillow.check(data, "JPEG")
        turned, image = image, open(data, "jpeg", fail_on="error")
        if turned.get_typeof("orientation"):
            image.set_type(pyvips.GValue.gint_type, "orientation", turned.get("orientation"))
        decoded = libvips.decode(image, data)
    else:
        pillow.check(data, "JPEG", pixels=False)
    return decoded


def save(pixels: np.ndarray, header: pyvips.Image | None, block: bytes, options: dict) -> bytes:
    """As `libvips.save`, with all else that a JPEG holds, of which that drops some."""
    data = libvips.save(".jpg", pixels, header, options, keep="icc")
    if not header:
        return data
    head = b""
    if libvips.has_resolution(header) and not exif.has(block, exif.RESOLUTION):
        dots = min(max(round(header.xres * 25.4), 1), 65535)  # an inch
        content = struct.pack(">5sHBHHBB", b"JFIF", 0x101, 1, dots, dots, 0, 0)
        head += _segment(0xE0, content)
    if block:
        head += _segment(0xE1, exif.PREFIX + block)
    if xmp := libvips.get_bytes(header, libvips.XMP):
        head += _segment(0xE1, _XMP + xmp)
    words, others = iptc.split(libvips.get_bytes(header, PHOTOSHOP))  # a TIFF may hold both twice
    blocks = iptc.join(libvips.get_bytes(header, IPTC) or words, others)
    room = LONGEST - len(iptc.PREFIX)
    for place in range(0, len(blocks), room):
        head += _segment(0xED, iptc.PREFIX + blocks[place : place + room])
    for field in (EXTENDED_XMP, COMMENTS):
        head += libvips.get_bytes(header, field)
    return data[:2] + head + data[2:]


def refuse_exif(block: bytes) -> str:
    """Why a JPEG file cannot have an EXIF block, in words; empty if it can."""
    return "more than a JPEG holds" if len(block) > LONGEST_EXIF else ""


def _segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def describe_rest(image: pyvips.Image, data: bytes) -> list[str]:
    """What a JPEG file holds after its picture, in words; nothing for padding.

    A gain map is told elsewhere.
    """
    rest = data[_find_end(data) :].strip(b"\0\n\r ")
    film = rest.find(b"ftyp")
    words = []
    if _PICTURE.search(rest, 0, film if film >= 0 else len(rest)):
        words += [] if image.get_typeof(libvips.GAIN_MAP) else ["picture"]
    elif rest and film < 0:
        words.append(f"{len(rest)} bytes")
    if film >= 0:
        words.append("film")
    return [f"the {' and the '.join(words)} behind it"] if words else []


def _find_end(data):
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


def _read_segments(data):
    """(marker, where it begins, where it ends) of each segment before the pixels."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != 0xDA:
        if data[place + 1] == 0xFF:
            place += 1
            continue
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        yield data[place + 1], place, end
        place = end
