"""IPTC's words, which lie bare in a TIFF and inside Photoshop's blocks in a JPEG."""

_PHOTOSHOP, _BLOCK = b"Photoshop 3.0\0", b"8BIM\4\4"


def wrap(data: bytes) -> bytes:
    """As a JPEG holds it."""
    if not data or data.startswith(_PHOTOSHOP):
        return data
    return (
        _PHOTOSHOP + _BLOCK + bytes(2) + len(data).to_bytes(4, "big") + data + bytes(len(data) % 2)
    )


def unwrap(data: bytes) -> bytes:
    """As a TIFF holds it; empty for other blocks of Photoshop's alone."""
    if not data.startswith(_PHOTOSHOP):
        return data
    _, _, rest = data.partition(_BLOCK)
    start = (rest[0] + 2) // 2 * 2 if rest else 0  # behind a name
    return rest[start + 4 :][: int.from_bytes(rest[start : start + 4], "big")]
