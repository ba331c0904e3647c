"""Directories of tags, of which TIFF files are made, and EXIF; and BigTIFF, for more than 4 GB."""

import struct

Bytes = bytes | bytearray
_ORDERS = {b"II": "<", b"MM": ">"}
_CLASSIC, _BIG = 42, 43
# by kind of value; others 1
BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# of the kinds of whole numbers, and of fractions
_LETTERS = {1: "B", 3: "H", 4: "L", 5: "LL", 6: "b", 8: "h", 9: "l", 13: "L", 16: "Q"}


def find_first(data: Bytes) -> tuple[int, str]:
    """(where the first directory lies, byte order as `struct` names it).

    ValueError or `struct.error` for a BigTIFF and what is no TIFF.
    """
    start, order, big = find_any(data)
    if big:
        raise ValueError("a BigTIFF")
    return start, order


def find_any(data: Bytes) -> tuple[int, str, bool]:
    """As `find_first`, and whether it is a BigTIFF."""
    order = _ORDERS.get(bytes(data[:2]), "<")
    magic = read_number(data, 2, order, "H")
    if magic not in (_CLASSIC, _BIG):
        raise ValueError("not a known format")
    big = magic == _BIG
    return read_number(data, 8 if big else 4, order, "Q" if big else "L"), order, big


def find_link(data: Bytes, start: int, order: str, big: bool = False) -> int:
    """The place behind a directory's tags, where it is told where the next one lies."""
    return _list_places(data, start, order, big).stop


def find_places(data: Bytes, start: int, order: str, big: bool = False) -> dict[int, int]:
    """{tag: place of its 12 bytes, in a BigTIFF 20} of a directory."""
    places = _list_places(data, start, order, big)
    found = (place for place in places if place + places.step <= len(data))
    return {read_number(data, place, order, "H"): place for place in found}


def _list_places(data, start, order, big):
    room, size, letter = (8, 20, "Q") if big else (2, 12, "H")
    count = read_number(data, start, order, letter)
    return range(start + room, start + room + size * count, size)


def read_number(data: Bytes, place: int, order: str, letter: str = "L") -> int:
    """A number of one of `struct`'s letters."""
    return struct.unpack_from(f"{order}{letter}", data, place)[0]


def find_values(data: Bytes, place: int, order: str, big: bool = False) -> tuple[int, int, int]:
    """(kind, how many, where they lie) of the values of the tag at this place.

    ValueError if they lie past the end.
    """
    address, at, room = ("Q", place + 12, 8) if big else ("L", place + 8, 4)
    kind, count = struct.unpack_from(f"{order}H{address}", data, place + 2)
    size = count * BYTES.get(kind, 1)
    if size > room:
        at = read_number(data, at, order, address)
    if at + size > len(data):
        raise ValueError("values past the end")
    return kind, count, at


def read_numbers(data: Bytes, place: int, order: str, big: bool = False) -> tuple:
    """The values of the tag at this place, as `find_values`; empty for what is no number."""
    kind, count, at = find_values(data, place, order, big)
    letters = _LETTERS.get(kind)
    if not letters:
        return ()
    values = struct.unpack_from(f"{order}{count * len(letters)}{letters[0]}", data, at)
    if kind == 5:
        values = tuple(a / b if b else 0 for a, b in zip(values[::2], values[1::2]))
    return values


def read_entries(data: Bytes, start: int, order: str) -> dict[int, tuple]:
    """{tag: (tag, kind, how many, value or its place)} of a directory of a TIFF."""
    places = find_places(data, start, order)
    return {tag: struct.unpack_from(f"{order}HHL4s", data, place) for tag, place in places.items()}
