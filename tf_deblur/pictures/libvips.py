"""libvips, silent: pixels, metadata, and in words for people why it cannot do a file."""

import logging
import os
import re
import struct
from collections.abc import Callable

import numpy as np

# Read when it starts. pyvips hands warnings to `logging`, but not those of the process's end.
os.environ.setdefault("VIPS_WARNING", "0")
logging.getLogger("pyvips").setLevel(logging.CRITICAL)
import pyvips  # noqa: E402

from tf_deblur.errors import UserError  # noqa: E402

# of what libvips logs of damaged files, pyvips would print that it is no UTF-8
pyvips._to_string = lambda text: pyvips.ffi.string(text).decode(errors="replace")
pyvips.cache_set_max(0)  # by name: a file written anew would be the old one
pyvips.block_untrusted_set(True)  # their readers are not made for files of strangers

# Names of its fields, and of ours: whether there is a gain map; parts of a file as they lie in it.
EXIF, XMP, PROFILE, IPTC = "exif-data", "xmp-data", "icc-profile-data", "iptc-data"
PHOTOSHOP, GAIN_MAP = "photoshop-data", "gainmap-data"
EXTENDED_XMP, COMMENTS = "xmp-extended", "jpeg-comments"
TEXTS, COLOURS = "png-texts", "png-colours"
_KEPT = [PROFILE, XMP, IPTC, PHOTOSHOP, "resolution-unit"]
_KEPT += [EXTENDED_XMP, COMMENTS, TEXTS, COLOURS]
_TYPES = ("uchar", "ushort")
_UNSUPPORTED = re.compile(r"not (configured|supported|implemented)|unsupported", re.IGNORECASE)
_SHORT = re.compile(
    r"premature end|unexpected end|end of file|too small|no image|missing SOS|outside of file"
    r"|not enough|read error|truncated",
    re.IGNORECASE,
)


def load(data: bytes | pyvips.Source, loader: str, **options: object) -> pyvips.Image:
    """A file, its pixels not decoded yet; what is not whole fails then."""
    kind = "source" if isinstance(data, pyvips.Source) else "buffer"
    options = {"fail_on": "error", **options}
    return getattr(pyvips.Image, f"{loader}load_{kind}")(data, **options)


def open(data: bytes, loader: str) -> pyvips.Image:
    """As `load`, of one picture a file."""
    image = load(data, loader)
    refuse_pages(image.get("n-pages") if image.get_typeof("n-pages") else 1)
    return image


def refuse_pages(count: int) -> None:
    """UserError if a file holds more than one picture of the same rank."""
    if count > 1:
        raise UserError(f"{count} pages or frames; one picture a file is wanted")


def decode(image: pyvips.Image, data: bytes) -> tuple:
    """An opened file's pixels.

    Args:
      image: the file as its format opens it.
      data: the file.

    Returns:
      (pixels, whether it has a gain map too, an image with what else it holds). Pixels are
      (height, width, channels) uint8 or uint16, upright, grey or sRGB or as a profile says.
    """
    image = image.autorot()
    if image.interpretation == "cmyk":
        depth = 16 if image.format == "ushort" else 8
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=depth)
    if image.format not in _TYPES or image.bands > 4:
        raise UserError(f"{image.bands} channels of {image.format}; 8 or 16 bits are read")
    pixels = image.numpy().reshape(image.height, image.width, image.bands)
    return pixels, bool(image.get_typeof(GAIN_MAP)), image


def save(
    suffix: str,
    pixels: np.ndarray,
    header: pyvips.Image | None,
    options: dict,
    keep: str = "xmp|iptc|icc|other",
) -> bytes:
    """The bytes of a file with all that a header has but EXIF; `options` are the saver's."""
    grey, deep = pixels.shape[-1] < 3, pixels.dtype == np.uint16
    kind = {(0, 0): "srgb", (0, 1): "rgb16", (1, 0): "b-w", (1, 1): "grey16"}[grey, deep]
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation=kind)
    if header:
        image = copy_metadata(image, header)
    return image.write_to_buffer(suffix, keep=keep if header else "none", **options)


def copy_metadata(image: pyvips.Image, header: pyvips.Image) -> pyvips.Image:
    """The image with another's profile, XMP and resolution; it is upright now."""
    image = image.copy(xres=header.xres, yres=header.yres)
    for field in _KEPT:  # by name: pyvips lists none if one is damaged
        if header.get_typeof(field):
            image.set_type(header.get_typeof(field), field, header.get(field))
    image.set_type(pyvips.GValue.gint_type, "orientation", 1)
    return image


def set_bytes(image: pyvips.Image, field: str, data: bytes) -> pyvips.Image:
    """An image with another value of a field of metadata; without it for none."""
    image = image.copy()
    if data:
        image.set_type(pyvips.GValue.blob_type, field, data)
    else:
        image.remove(field)
    return image


def get_bytes(image: pyvips.Image | None, field: str) -> bytes:
    """What an image has of a field of metadata; empty for none."""
    return bytes(image.get(field)) if image and image.get_typeof(field) else b""


def has_resolution(image: pyvips.Image) -> bool:
    """Whether a file tells how large its pixels are; if not, they are of libvips' millimetre."""
    return image.xres != 1


def to_srgb(pixels: np.ndarray, profile: bytes) -> np.ndarray:
    """Pixels of a profile's colours -> of sRGB's, the same type; those of about sRGB stay.

    Args:
      pixels: (height, width, channels) uint8 or uint16, one channel if the profile is of grey.
      profile: an ICC profile.

    Returns:
      (height, width, 3), or what it was given where the profile is damaged.
    """

    def convert(array):
        kind = ("b-w", "srgb", "grey16", "rgb16")[2 * (array.itemsize - 1) + (array.shape[-1] > 1)]
        image = pyvips.Image.new_from_array(np.ascontiguousarray(array)).copy(interpretation=kind)
        image.set_type(pyvips.GValue.blob_type, PROFILE, profile)
        middle = image.icc_import(embedded=True)  # at once, 16 bits go through a coarse table
        return middle.icc_export(output_profile="srgb", depth=8 * array.itemsize).numpy()

    try:
        most = np.iinfo(pixels.dtype).max
        steps = np.rint(np.linspace(0, most, 9)).astype(pixels.dtype)
        axes = np.meshgrid(*[steps] * pixels.shape[-1])
        colours = np.stack(axes, axis=-1).reshape(1, -1, pixels.shape[-1])
        if np.abs(convert(colours).astype(int) - colours).max() <= most / 128:
            return pixels
        return convert(pixels)
    except pyvips.Error:
        return pixels


def explain_reading(error: Exception, data: bytes, kind: str, explain: Callable) -> str:
    """Why a file cannot be read.

    Args:
      error: what libvips, or another library, raised.
      data: the file's bytes, not none.
      kind: the format that they begin like.
      explain: data -> what is wrong with a file of this format, if that can be told.

    Returns:
      Words: what is wrong, and where if that can be told.
    """
    if isinstance(error, pyvips.Error):
        lines = [line.partition(": ")[2] for line in error.detail.splitlines() if ": " in line]
    else:
        lines = str(error).strip().splitlines()
    if any(_UNSUPPORTED.search(line) for line in lines):
        return f"a kind of {kind} that is not read: {lines[0]}"
    if isinstance(error, pyvips.Error) and (told := explain(data)):
        return f"its {kind} data is {told}"
    if any("known format" in line for line in lines):
        where = "the list of its contents is missing"
        return f"its {kind} data is cut short or damaged: {where}"
    if any(_SHORT.search(line) for line in lines):
        return f"its {kind} data is cut short: {len(data)} bytes are too few"
    reasons = [line for line in lines if line not in ("load error",) and "seek" not in line]
    return (
        f"its {kind} data is damaged{': ' * bool(reasons)}{reasons[-1].strip() if reasons else ''}"
    )


def explain_writing(error: Exception) -> str:
    """Why libvips cannot write a picture, in words; `error` is any exception."""
    text = (getattr(error, "detail", None) or str(error)).strip()
    if isinstance(error, struct.error) or "file size exceeded" in text:
        return "more than the 4 GB that a TIFF file holds"
    return text.splitlines()[0].rpartition(": ")[2] if text else "the encoder does not say why"
