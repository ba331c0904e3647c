"""EXIF in TIFF files, which libvips neither reads nor writes.

EXIF is itself a TIFF file without pixels: directories of tags, 12 bytes each, whose longer values
lie elsewhere. So one function moves a directory from the one to the other.
"""

import mmap
import struct
import zlib

import numpy as np
import pyvips

# Of the first directory, what tells of the photograph; the other tags are for its pixels.
_TOLD = {
    *range(0x9C9B, 0x9CA0),
    0x10E,
    0x10F,
    0x110,
    0x131,
    0x132,
    0x13B,
    0x13C,
    0x4746,
    0x4749,
    0x8298,
    0x8769,
    0x8825,
}
_DIRECTORIES = {0x8769, 0x8825, 0xA005}  # tags that point to one: camera's details, GPS, versions
_SIDES = {0xA002, 0xA003}  # width and height, of which a TIFF file has its own
_BYTES = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}  # of one number by kind; others 1
_FRACTIONS = {5, 10}  # two numbers each
_ORDERS = {b"II": "<", b"MM": ">"}
_LIMIT = 1 << 24  # bytes of all of it; more is no camera's


def read(image, source):
    """A `pyvips.Image` with the EXIF of the TIFF file that it comes from: a path, or bytes.

    The same image where the file has none, or is a BigTIFF, whose directories are others.
    """
    try:
        if isinstance(source, bytes):
            exif = _exif(source)
        else:
            with open(source, "rb") as file:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    exif = _exif(data)
    except (struct.error, ValueError, OSError):  # damaged there, or in a file system that maps
        return image  # no files into memory; but the picture is whole
    if not exif:  # libvips would make one up
        return image
    # libvips takes EXIF apart where it opens a file, and only there
    png = pyvips.Image.black(1, 1).write_to_buffer(".png")
    chunk = b"eXIf" + exif
    chunk = struct.pack(">L", len(exif)) + chunk + struct.pack(">L", zlib.crc32(chunk))
    opened = pyvips.Image.new_from_buffer(png[:33] + chunk + png[33:], "")  # behind its header
    image = image.copy()
    for field in opened.get_fields():
        if field.startswith("exif-"):
            image.set_type(opened.get_typeof(field), field, opened.get(field))
    return image


def added(data, image):
    """A TIFF file's bytes with the EXIF of a `pyvips.Image`, if it has any.

    A new first directory at the end has the old one's tags and those of EXIF; pixels stay where
    they are.
    """
    if not image.get_typeof("exif-data"):
        return data
    png = image.crop(0, 0, 1, 1).write_to_buffer(".png", keep="exif")  # brings it up to date
    exif = pyvips.Image.new_from_buffer(png, "").get("exif-data").removeprefix(b"Exif\0\0")
    order = _ORDERS[data[:2]]
    padding = bytes(len(data) % 2)
    start = len(data) + len(padding)
    told = _directory(exif, *_first(exif), start, order)
    tags = _entries(data, *_first(data)) | _entries(told, 0, order)
    packed = [struct.pack(f"{order}HHL4s", *tags[tag]) for tag in sorted(tags)]
    new = struct.pack(f"{order}H", len(tags)) + b"".join(packed) + bytes(4)
    where = struct.pack(f"{order}L", start + len(told))
    view = memoryview(data)  # whose parts are no copies
    return b"".join([view[:4], where, view[8:], padding, told, new])


def _exif(data):
    """A TIFF file's EXIF, as other formats hold it; empty if nothing is told."""
    start, order = _first(data)
    if not _TOLD & _entries(data, start, order).keys():
        return b""
    head = struct.pack(f"{order}HL", 42, 8)
    return data[:2] + head + _directory(data, start, order, 8, order)


def _first(data):
    """(where the first directory lies, byte order as `struct` names it)."""
    order = _ORDERS.get(data[:2], "<")
    magic, start = struct.unpack(f"{order}HL", data[2:8])
    if magic != 42:
        raise ValueError  # a BigTIFF, for more than 4 GB, or damaged
    return start, order


def _entries(data, start, order):
    """{tag: (tag, kind, how many, value or its place)} of a directory."""
    (count,) = struct.unpack_from(f"{order}H", data, start)
    places = range(start + 2, start + 2 + 12 * count, 12)
    entries = [struct.unpack_from(f"{order}HHL4s", data, place) for place in places]
    return {entry[0]: entry for entry in entries}


def _directory(data, start, order, base, into, depth=0, room=_LIMIT):
    """A directory and its values as bytes that will lie at `base`, in the byte order `into`.

    ValueError if they are more than `room`.
    """
    entries = [e for e in _entries(data, start, order).values() if depth or e[0] in _TOLD]
    entries = sorted(e for e in entries if e[0] not in _SIDES)
    head = 2 + 12 * len(entries) + 4
    packed, values = bytearray(), bytearray()
    for tag, kind, count, value in entries:
        (place,) = struct.unpack(f"{order}L", value)
        new_place, left = base + head + len(values), room - head - len(values)
        if tag in _DIRECTORIES and depth < 2:
            kind, count = 4, 1
            value = _directory(data, place, order, new_place, into, depth + 1, left)
        else:
            width = _BYTES.get(kind, 1)
            size = count * width * (2 if kind in _FRACTIONS else 1)
            if size > min(left, len(data)):
                raise ValueError
            value = value[:size] if size <= 4 else data[place : place + size]
            if len(value) < size:
                raise ValueError
            value = np.frombuffer(value, f"{order}u{width}").astype(f"{into}u{width}").tobytes()
        if len(value) > 4:
            values += value + bytes(len(value) % 2)
            value = struct.pack(f"{into}L", new_place)
        packed += struct.pack(f"{into}HHL4s", tag, kind, count, value)
    return b"".join([struct.pack(f"{into}H", len(entries)), packed, bytes(4), values])
