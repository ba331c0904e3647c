"""EXIF as the block of bytes that it is, carried over unchanged but for what is no longer true.

A block is a TIFF file without pixels: directories of tags, 12 bytes each, whose longer values lie
elsewhere. Makers' notes hold offsets from its begin, in ways that only their makers know: so
nothing in it may move, and in a TIFF file, whose offsets count from the file's begin, it comes
first.
"""

import struct

from tf_deblur.pictures.directories import (
    BYTES,
    find_first,
    find_link,
    find_places,
    find_values,
    read_entries,
    read_number,
)
from tf_deblur.pictures.libvips import EXIF, get_bytes, pyvips

ORIENTATION, RESOLUTION, UNIT, DETAILS, NOTE = 0x112, 0x11A, 0x128, 0x8769, 0x927C
SOFTWARE = 0xB  # that has processed the picture, where 0x131 is often the camera's
MARK = b"tf-deblur\0"
PREFIX = b"Exif\0\0"  # before a block in most formats
_DIRECTORIES = {DETAILS, 0x8825, 0xA005}  # tags that point to one: camera's details, GPS, versions
_SIDES = ({0x100, 0xA002}, {0x101, 0xA003})  # tags of width and of height
RESOLUTIONS = {RESOLUTION, 0x11B, UNIT}  # across, down, their unit
_THUMBNAILS = ((0x201, 0x202), (0x111, 0x117))  # where and how long: JPEG, uncompressed
# Of a TIFF file's first directory, what tells of the photograph; the others are for its pixels
# or other programs' work, which can be larger than the picture.
_OF_PHOTOGRAPH = {
    *range(0x9C9B, 0x9CA0),
    *(0x10D, 0x10E, 0x10F, 0x110, 0x11D, 0x131, 0x132, 0x13B, 0x13C, 0x4746, 0x4749, 0x8298),
    *(0x830E, 0x8482, 0x85D8, 0x87AF, 0x87B0, 0x87B1, 0xC4A5, 0xC614, 0xC62F),
    *(SOFTWARE, DETAILS, 0x8825),
}
_LIMIT = 1 << 24  # bytes of all of it; more is no camera's
# Up to here a maker's note of a TIFF file stays where it is, or no JPEG holds it.
_IN_PLACE = 60_000


def read(image: pyvips.Image, data: bytes) -> bytes:
    """The EXIF block of a file.

    Args:
      image: the `pyvips.Image` of it.
      data: its bytes.

    Returns:
      bytes; empty if it has none, or is a BigTIFF, whose directories are others.
    """
    if image.get("vips-loader").startswith("tiff"):
        try:
            return _collect(data)
        except (struct.error, ValueError):  # damaged there; but the picture is whole
            return b""
    return find(get_bytes(image, EXIF))


def find(data: bytes) -> bytes:
    """A block without what formats put before it; empty for none."""
    if data[:2] == b"\xff\xe1":  # a JPEG's segment in a HEIC, and more than EXIF behind it
        data = data[: 2 + int.from_bytes(data[2:4], "big")]
    starts = [at for order in (b"II*\0", b"MM\0*") if (at := data.find(order, 0, 32)) >= 0]
    return data[min(starts) :] if starts else b""


def update(block: bytes, width: int, height: int) -> bytes:
    """A block for a picture of this size that is upright, without its thumbnail.

    Only the values of these tags are changed, in place; a thumbnail at the end is cut off,
    and one elsewhere becomes zeros. What is damaged is left alone.
    """
    data = bytearray(block)
    try:
        first, order = find_first(data)
        tags = find_places(data, first, order)
        set_number(data, tags.get(ORIENTATION), order, 1)
        directories = [tags]
        if DETAILS in tags:
            start = read_number(data, tags[DETAILS] + 8, order)
            directories.append(find_places(data, start, order))
        for found in directories:
            for names, side in zip(_SIDES, (width, height)):
                for tag in names & found.keys():
                    set_number(data, found[tag], order, side)
        _drop_thumbnail(data, first, order)
    except (struct.error, ValueError):
        pass
    return bytes(data)


def read_orientation(block: bytes) -> int:
    """Which of the eight ways a picture is turned; 0 if a block does not say."""
    try:
        start, order = find_first(block)
        places = find_places(block, start, order)
        turn = read_number(block, places[ORIENTATION] + 8, order, "H")
    except (struct.error, ValueError, KeyError):
        return 0
    return turn if 1 <= turn <= 8 else 0


def has(block: bytes, tag: int) -> bool:
    """Whether a block's first directory holds a tag."""
    try:
        return tag in find_places(block, *find_first(block))
    except (struct.error, ValueError):
        return False


def mark(block: bytes) -> bytes:
    """A block, or none, whose ProcessingSoftware says that the picture was restored.

    Its first directory goes to the end, where it has room for a tag more; nothing else moves. What
    is damaged is left alone.
    """
    data = block or struct.pack("<2sHLHL", b"II", 42, 8, 0, 0)
    try:
        first, order = find_first(data)
        tags = read_entries(data, first, order)
        link = read_number(data, find_link(data, first, order), order)
    except (struct.error, ValueError):
        return block
    data += bytes(len(data) % 2)
    start, count = len(data), len(tags.keys() | {SOFTWARE})
    place = struct.pack(f"{order}L", start + 6 + 12 * count)
    tags[SOFTWARE] = SOFTWARE, 2, len(MARK), place
    packed = [struct.pack(f"{order}HHL4s", *tags[tag]) for tag in sorted(tags)]
    begin, end = struct.pack(f"{order}H", count), struct.pack(f"{order}L", link)
    head = data[:4] + struct.pack(f"{order}L", start)
    return b"".join([head, data[8:], begin, *packed, end, MARK])


def is_marked(block: bytes) -> bool:
    """Whether `mark` made a block."""
    try:
        first, order = find_first(block)
        _, _, at = find_values(block, find_places(block, first, order)[SOFTWARE], order)
    except (struct.error, ValueError, KeyError):
        return False
    return block[at : at + len(MARK)] == MARK


def _collect(data):
    """A TIFF file's EXIF as a block of its own, in which a maker's note lies where it lay."""
    start, order = find_first(data)
    tags = read_entries(data, start, order)
    if not _OF_PHOTOGRAPH & tags.keys():
        return b""
    note, size = _find_note(data, tags, order)
    pinned = note if 8 <= note and note + size <= _IN_PLACE else None
    base = 8
    directory = _pack_directory(data, start, order, base, pinned)
    if pinned and base + len(directory) > pinned:  # the note comes first then
        base = pinned + size + (pinned + size) % 2
        directory = _pack_directory(data, start, order, base, pinned)
    block = bytearray(data[:4] + struct.pack(f"{order}L", base)).ljust(base, b"\0") + directory
    if pinned:
        block = block.ljust(pinned + size, b"\0")
        block[pinned : pinned + size] = data[pinned : pinned + size]
    return bytes(block)


def _find_note(data, tags, order):
    """(where a maker's note lies, its bytes); zeros for none."""
    if DETAILS in tags:
        details = read_entries(data, read_number(tags[DETAILS][3], 0, order), order)
        if NOTE in details and details[NOTE][2] > 4:
            _, _, size, value = details[NOTE]
            place = read_number(value, 0, order)
            if place + size <= len(data):
                return place, size
    return 0, 0


def _pack_directory(data, start, order, base, pinned, depth=0, room=_LIMIT):
    """A directory and its values as bytes that will lie at `base`.

    ValueError if they are more than `room`.
    """
    entries = read_entries(data, start, order).values()
    entries = [e for e in entries if depth or e[0] in _OF_PHOTOGRAPH | RESOLUTIONS]
    entries = sorted(entries)
    head = 2 + 12 * len(entries) + 4
    packed, values = bytearray(), bytearray()
    for tag, kind, count, value in entries:
        place = read_number(value, 0, order)
        new_place, left = base + head + len(values), room - head - len(values)
        if tag in _DIRECTORIES and depth < 2:
            kind, count = 4, 1
            value = _pack_directory(data, place, order, new_place, pinned, depth + 1, left)
        elif tag != NOTE or place != pinned:
            size = count * BYTES.get(kind, 1)
            if size > min(left, len(data)):
                raise ValueError
            value = value if size <= 4 else data[place : place + size]
            if len(value) < size:
                raise ValueError
        if len(value) > 4:
            values += value + bytes(len(value) % 2)
            value = struct.pack(f"{order}L", new_place)
        packed += struct.pack(f"{order}HHL4s", tag, kind, count, value)
    return b"".join([struct.pack(f"{order}H", len(entries)), packed, bytes(4), values])


def _drop_thumbnail(data, first, order):
    link = find_link(data, first, order)
    second = read_number(data, link, order)
    data[link : link + 4] = bytes(4)
    if not second:
        return
    places = find_places(data, second, order)
    for where, how_long in _THUMBNAILS:
        if where not in places or how_long not in places:
            continue
        start, size = (read_number(data, places[tag] + 8, order) for tag in (where, how_long))
        end = min(start + size, len(data))
        if start >= end or any(
            start < stop and begin < end for begin, stop in _find_used(data, order)
        ):
            continue
        if any(data[end:]):
            data[start:end] = bytes(end - start)
        else:
            del data[start:]


def _find_used(data, order, start=None, depth=0):
    """(from, to) of the directories and of their longer values, but the thumbnail's."""
    start = find_first(data)[0] if start is None else start
    entries = read_entries(data, start, order)
    yield start, start + 6 + 12 * len(entries)
    for tag, kind, count, value in entries.values():
        place, size = read_number(value, 0, order), count * BYTES.get(kind, 1)
        if tag in _DIRECTORIES and depth < 2:
            yield from _find_used(data, order, place, depth + 1)
        elif size > 4:
            yield place, place + size


def set_number(data: bytearray, place: int | None, order: str, value: int) -> None:
    """Gives a tag at this place, if it has one number, another one."""
    if place is None:
        return
    kind, count = struct.unpack_from(f"{order}HL", data, place + 2)
    if kind in (3, 4) and count == 1:
        kind = 4 if value > 65535 else kind
        struct.pack_into(f"{order}H", data, place + 2, kind)
        data[place + 8 : place + 12] = bytes(4)
        struct.pack_into(f"{order}{'H' if kind == 3 else 'L'}", data, place + 8, value)
