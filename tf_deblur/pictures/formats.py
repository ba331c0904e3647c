"""The formats that photographs come in: one row of `FORMATS` is all that we know of one.

What is looked for in a folder, what a result's name ends in, the command's choices and the table
in docs/restoring.md follow from the rows.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from tf_deblur.pictures import arrays, bmp, containers, exif, heif, libvips
from tf_deblur.pictures.libvips import pyvips


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
      name: as people call it.
      suffixes: of its files, the usual one first.
      loader: what the name of libvips' loader for it begins with.
      starts: what its files begin with, any of these.
      codec: by which its files are told from others of the same loader; None for all others.
      decode: (image, source, name) -> (pixels, whether there is a gain map); `image` is the file
        as libvips opens it, and `name` for errors.
      describe_rest: (data, gain_map) -> what a file holds behind its picture, in words; if it can.
      becomes: the suffix that a result has, of a format that is not written.
      save: (format, pixels, header, EXIF block, options) -> bytes; a header of None for none.
      add_exif: (data, block) -> the file with it.
      options: what libvips' saver is told.
      lossy: whether it takes a quality.
      bits: how many of 16 it holds.
      alpha: whether it holds an alpha channel.
      longest: the longest side, in pixels; None for more than anybody has.
      refuse_exif: block -> why it is left out, in words; empty for one that is not.
    """

    name: str
    suffixes: tuple[str, ...]
    loader: str
    starts: tuple[bytes, ...] = ()
    codec: str | None = None
    decode: Callable = libvips.decode
    describe_rest: Callable | None = None
    becomes: str | None = None
    save: Callable | None = None
    add_exif: Callable | None = None
    options: dict = dataclasses.field(default_factory=dict)
    lossy: bool = False
    bits: int = 8
    alpha: bool = False
    longest: int | None = None
    refuse_exif: Callable = lambda block: ""

    @property
    def suffix(self) -> str:
        """What a result has that was a file of this format."""
        return self.becomes or self.suffixes[0]


def _write(format, pixels, header, options, more=""):
    """The file that libvips writes, with all that a header has but EXIF."""
    grey, deep = pixels.shape[-1] < 3, pixels.dtype == np.uint16
    kind = {(0, 0): "srgb", (0, 1): "rgb16", (1, 0): "b-w", (1, 1): "grey16"}[grey, deep]
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation=kind)
    if header:
        image = libvips.copy_metadata(image, header)
    keep = f"xmp|iptc|icc|other{more}" if header else "none"
    return image.write_to_buffer(format.suffix, keep=keep, **options)


def _save(format, pixels, header, block, options):
    data = _write(format, pixels, header, options)
    return format.add_exif(data, block) if block else data


def _save_jpeg(format, pixels, header, block, options):
    data = _write(format, pixels, header, options)
    if header and not exif.has(block, exif.RESOLUTION):
        data = containers.add_density(data, header.xres)
    return format.add_exif(data, block) if block else data


def _save_tiff(format, pixels, header, block, options):
    swapped = block and pixels.dtype == np.uint16 and exif.read_order(block) == ">"
    if swapped:  # its numbers are in the order of the EXIF's, which libvips would not write
        pixels = arrays.subtract_left(pixels).byteswap()
        options = options | {"predictor": "none"}
    data = _write(format, pixels, header, options)
    return format.add_exif(data, block, predicted=swapped) if block else data


def _save_avif(format, pixels, header, block, options):
    if pixels.dtype == np.uint16:
        pixels = heif.to_upper_bits(pixels, format.bits)
        options = options | {"bitdepth": format.bits}
    if not block:
        return _write(format, pixels, header, options)
    # with some EXIF, for the block to replace
    return format.add_exif(_write(format, pixels, header, options, "|exif"), block)


# fmt: off
FORMATS = (
    Format(
        "PNG", (".png",), loader="png", starts=(b"\x89PNG\r\n",),
        save=_save, add_exif=containers.add_to_png, options={"compression": 6}, bits=16, alpha=True,
    ),
    Format(
        "JPEG", (".jpg", ".jpeg"), loader="jpeg", starts=(b"\xff\xd8",),
        save=_save_jpeg, add_exif=containers.add_to_jpeg, lossy=True, longest=65500,
        refuse_exif=containers.refuse_in_jpeg, describe_rest=containers.describe_rest_of_jpeg,
    ),
    Format(
        "TIFF", (".tif", ".tiff"), loader="tiff", starts=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        save=_save_tiff, options={"compression": "deflate", "predictor": "horizontal"},
        add_exif=exif.add_to_tiff, refuse_exif=exif.refuse_in_tiff, bits=16, alpha=True,
    ),
    Format(
        "WebP", (".webp",), loader="webp", starts=(b"RIFF",),
        save=_save, add_exif=containers.add_to_webp, lossy=True, alpha=True, longest=16383,
    ),
    Format(
        "HEIC", (".heic", ".heif", ".hif"), loader="heif", codec="hevc", decode=heif.decode_heic,
        becomes=".jpg",
    ),
    Format(
        "AVIF", (".avif",), loader="heif", decode=heif.decode_avif,
        save=_save_avif, add_exif=containers.add_to_avif, options={"effort": 1}, lossy=True,
        bits=12, alpha=True, longest=16384,
    ),
    Format("GIF", (".gif",), loader="gif", starts=(b"GIF8",), becomes=".png"),
    Format("BMP", (".bmp",), loader=bmp.LOADER, decode=bmp.decode, becomes=".png"),
)
# fmt: on
BY_SUFFIX = {suffix: row for row in FORMATS for suffix in row.suffixes}
READ = tuple(BY_SUFFIX)
WRITTEN = tuple(suffix for suffix, row in BY_SUFFIX.items() if row.save)
CHOICES = tuple(row.suffix[1:] for row in FORMATS if row.save)  # without the dot


def find_by_image(image: pyvips.Image) -> Format | None:
    """The format of an opened file; None for what libvips reads and is no photograph."""
    loader = image.get("vips-loader")
    codec = image.get("heif-compression") if image.get_typeof("heif-compression") else None
    fits = (row for row in FORMATS if loader.startswith(row.loader))
    return next((row for row in fits if row.codec in (None, codec)), None)


def name_by_start(data: bytes) -> str | None:
    """What a file's first bytes say that it is; None if nothing that we know."""
    if data[4:8] == b"ftyp":
        return "HEIF"
    return next((row.name for row in FORMATS if data.startswith(row.starts)), None)


def choose_suffix(path: pathlib.Path) -> str:
    """The suffix that a photograph's result has: its own, or of what its format becomes."""
    row = BY_SUFFIX.get(path.suffix.lower())
    return row.becomes if row and row.becomes else path.suffix
