"""IPTC's words among Photoshop's blocks: in a JPEG one list, in a TIFF a tag of each."""

PREFIX = b"Photoshop 3.0\0"  # of each segment of a JPEG that holds a part of the list
_WORDS = b"8BIM\4\4"


def join(words: bytes, others: bytes) -> bytes:
    """The list of words and all other blocks."""
    head = _WORDS + bytes(2) + len(words).to_bytes(4, "big")
    return (head + words + bytes(len(words) % 2) if words else b"") + others


def split(blocks: bytes) -> tuple[bytes, bytes]:
    """(words, all other blocks) of a list."""
    words, others, place = b"", b"", 0
    while place + 12 <= len(blocks) and blocks[place : place + 4].isalnum():
        start = place + 6 + (blocks[place + 6] + 2) // 2 * 2 + 4  # behind a name and the size
        size = int.from_bytes(blocks[start - 4 : start], "big")
        end = start + size + size % 2
        if blocks[place : place + 6] == _WORDS:
            words += blocks[start : start + size]
        else:
            others += blocks[place:end]
        place = end
    return words, others
