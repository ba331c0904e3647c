"""XMP, the XML that programs write beside EXIF: only what is no longer true is changed in it."""

import re

_VALUE = rb"(%s(?:\s*=\s*[\"']|\s*>\s*))(\d+)"  # of an attribute, or of an element
_ORIENTATION = re.compile(_VALUE % b"tiff:Orientation")
_WIDTH = re.compile(_VALUE % b"(?:tiff:ImageWidth|exif:PixelXDimension)")
_HEIGHT = re.compile(_VALUE % b"(?:tiff:ImageLength|exif:PixelYDimension)")
_EXTENSION = re.compile(
    rb"\s*\bxmpNote:HasExtendedXMP\s*=\s*(?:\"\w*\"|'\w*')"
    rb"|<xmpNote:HasExtendedXMP>\s*\w*\s*</xmpNote:HasExtendedXMP>"
)


def read_orientation(xmp: bytes) -> int:
    """Which of EXIF's eight a picture has; 0 if none is told."""
    found = _ORIENTATION.search(xmp)
    return int(found[2]) if found and 1 <= int(found[2]) <= 8 else 0


def update(xmp: bytes, width: int, height: int) -> bytes:
    """XMP of a picture of this size that is upright."""
    for pattern, number in ((_ORIENTATION, 1), (_WIDTH, width), (_HEIGHT, height)):
        xmp = pattern.sub(rb"\g<1>%d" % number, xmp)
    return xmp


def drop_extension(xmp: bytes) -> bytes:
    """XMP that no longer says that more of it lies elsewhere in the file."""
    return _EXTENSION.sub(b"", xmp)
