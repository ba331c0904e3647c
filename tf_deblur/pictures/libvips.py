"""libvips, silent: pixels, metadata, and in words for people why it cannot do a file."""

import logging
import os
import re
import struct
import zlib

# Read when it starts. pyvips hands warnings to `logging`, but not those of the process's end.
os.environ.setdefault("VIPS_WARNING", "0")
logging.getLogger("pyvips").setLevel(logging.CRITICAL)
import pyvips  # noqa: E402

pyvips.cache_set_max(0)  # by name: a file written anew would be the old one

GAIN_MAP = "gainmap-data"
_KEPT = ("icc-profile-data", "xmp-data", "iptc-data", "resolution-unit")
_SHORT = re.compile(
    r"premature end|unexpected end|end of file|too small|no image|missing SOS|outside of file"
    r"|not enough|read error",
    re.IGNORECASE,
)


def decode(image: pyvips.Image, source: bytes | str | os.PathLike, name: object) -> tuple:
    """An opened file's pixels, (height, width, channels), and whether it has a gain map too."""
    pixels = image.numpy().reshape(image.height, image.width, image.bands)
    return pixels, bool(image.get_typeof(GAIN_MAP))


def copy_metadata(image: pyvips.Image, header: pyvips.Image) -> pyvips.Image:
    """The image with another's profile, XMP and resolution; it is upright now."""
    image = image.copy(xres=header.xres, yres=header.yres)
    for field in _KEPT:  # by name: pyvips lists none if one is damaged
        if header.get_typeof(field):
            image.set_type(header.get_typeof(field), field, header.get(field))
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def explain_reading(error: pyvips.Error, data: bytes, kind: str | None) -> str:
    """Why libvips cannot read a file.

    Args:
      error: the `pyvips.Error`.
      data: the file's bytes.
      kind: the format that they begin like; None for none.

    Returns:
      Words: what is wrong, and where if that can be told.
    """
    if not data:
        return "it is empty"
    lines = [line.partition(": ")[2] for line in error.detail.splitlines() if ": " in line]
    if kind == "PNG":
        return f"its PNG data is {_find_damage_in_png(data)}"
    if kind == "WebP" and len(data) < (size := int.from_bytes(data[4:8], "little") + 8):
        return f"its WebP data is cut short: {len(data)} bytes of {size}"
    if not kind:
        return "no format that we know"
    if any("known format" in line for line in lines):
        where = "the list of its contents is missing"
        return f"its {kind} data is cut short or damaged: {where}"
    if any(_SHORT.search(line) for line in lines):
        return f"its {kind} data is cut short: {len(data)} bytes are too few"
    reasons = [line for line in lines if line not in ("load error",) and "seek" not in line]
    return (
        f"its {kind} data is damaged{': ' * bool(reasons)}{reasons[-1].strip() if reasons else ''}"
    )


def _find_damage_in_png(data):
    place = 8
    while place < len(data):
        size, name = struct.unpack(">L4s", data[place : place + 8].ljust(8, b"\0"))
        end = place + 12 + size
        if end > len(data):
            return f"cut short: {len(data)} bytes of at least {end}"
        chunk = name.decode("latin-1")
        if zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return f"damaged: the checksum of chunk {chunk!r} at byte {place} is wrong"
        if name == b"IEND":
            return "damaged: its compressed pixels make no picture"
        place = end
    return f"cut short: {len(data)} bytes, and no end"


def explain_writing(error: Exception) -> str:
    """Why libvips cannot write a picture, in words; `error` is any exception."""
    text = (getattr(error, "detail", None) or str(error)).strip()
    if isinstance(error, struct.error) or "file size exceeded" in text:
        return "more than the 4 GB that a TIFF file holds"
    return text.splitlines()[0].rpartition(": ")[2] if text else "the encoder does not say why"
