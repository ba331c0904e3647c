"""The formats that photographs come in: one row of `FORMATS` is all that we know of one.

What is looked for in a folder, what a result's name ends in, the command's choices and the table
in docs/restoring.md follow from the rows.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import numpy as np

from tf_deblur.pictures import arrays, bmp, containers, exif, heif, jpeg, libvips, png, tiff
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
      open: (data, loader) -> a `pyvips.Image` without pixels; as `libvips.open`.
      decode: (image, data) -> pixels and more, of what `open` gave; as `libvips.decode`.
      check: (data, loader) -> raises if the pixels that were decoded are not to be trusted.
      other_colours: (image, data) -> whether they differ from sRGB (HDR, wider) and no profile
        says so.
      describe_rest: (image, data) -> what a file holds beside its picture, in words; if it can.
      becomes: the suffix that a result has, of a format that is not written.
      save: (format, pixels, header, EXIF block, options) -> bytes; a header of None for none.
      add_exif: (data, block) -> the file with it.
      options: what libvips' saver is told.
      lossy: whether it takes a quality.
      bits: how many of 16 it holds.
      alpha: whether it holds an alpha channel.
      longest: the longest side, in pixels; None for more than anybody has.
      longest_xmp: in bytes; None for more than anybody has.
      refuse_exif: block -> why it is left out, in words; empty for one that is not.
    """

    name: str
    suffixes: tuple[str, ...]
    loader: str
    starts: tuple[bytes, ...] = ()
    codec: str | None = None
    open: Callable = libvips.open
    decode: Callable = libvips.decode
    check: Callable = lambda data, loader: None
    other_colours: Callable = lambda image, data: False
    describe_rest: Callable | None = None
    becomes: str | None = None
    save: Callable | None = None
    add_exif: Callable | None = None
    options: dict = dataclasses.field(default_factory=dict)
    lossy: bool = False
    bits: int = 8
    alpha: bool = False
    longest: int | None = None
    longest_xmp: int | None = None
    refuse_exif: Callable = lambda block: ""

    @property
    def suffix(self) -> str:
        """What a result has that was a file of this format."""
        return self.becomes or self.suffixes[0]


def _write(format, pixels, header, options, keep="xmp|iptc|icc|other"):
    """The file that libvips writes, with all that a header has but EXIF."""
    grey, deep = pixels.shape[-1] < 3, pixels.dtype == np.uint16
    kind = {(0, 0): "srgb", (0, 1): "rgb16", (1, 0): "b-w", (1, 1): "grey16"}[grey, deep]
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation=kind)
    if header:
        image = libvips.copy_metadata(image, header)
    keep = keep if header else "none"
    return image.write_to_buffer(format.suffix, keep=keep, **options)


def _save(format, pixels, header, block, options):
    data = _write(format, pixels, header, options)
    return format.add_exif(data, block) if block else data


def _save_png(format, pixels, header, block, options):
    data = _write(format, pixels, header, options)
    return png.add_metadata(data, header or pyvips.Image.black(1, 1), block)


def _save_jpeg(format, pixels, header, block, options):
    data = _write(format, pixels, header, options, keep="icc|iptc")
    return jpeg.add_metadata(data, header, block) if header else data


def _save_tiff(format, pixels, header, block, options):
    swapped = block and pixels.dtype == np.uint16 and exif.read_order(block) == ">"
    if swapped:  # its numbers are in the order of the EXIF's, which libvips would not write
        pixels = arrays.subtract_left(pixels).byteswap()
        options = options | {"predictor": "none"}
    data = _write(format, pixels, header, options)
    if not header or not libvips.has_resolution(header):  # which libvips writes none the less
        data = exif.drop_resolution(data)
    return format.add_exif(data, block, predicted=swapped) if block else data


def _save_avif(format, pixels, header, block, options):
    if pixels.dtype == np.uint16:
        pixels = heif.to_upper_bits(pixels, format.bits)
        options = options | {"bitdepth": format.bits}
    if not block:
        return _write(format, pixels, header, options)
    # with some EXIF, for the block to replace
    return format.add_exif(_write(format, pixels, header, options, "all"), block)


# fmt: off
FORMATS = (
    Format(
        "PNG", (".png",), loader="png", starts=(b"\x89PNG\r\n",), open=png.open,
        other_colours=png.has_other_colours,
        save=_save_png, options={"compression": 6}, bits=16, alpha=True,
    ),
    Format(
        "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), loader="jpeg", starts=(b"\xff\xd8",),
        open=jpeg.open, check=jpeg.check,
        save=_save_jpeg, lossy=True, longest=65500,
        longest_xmp=jpeg.LONGEST_XMP,
        refuse_exif=jpeg.refuse_exif, describe_rest=jpeg.describe_rest,
    ),
    Format(
        "TIFF", (".tif", ".tiff"), loader="tiff", starts=(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        open=tiff.open, decode=tiff.decode, check=tiff.check, describe_rest=tiff.describe_rest,
        save=_save_tiff, options={"compression": "deflate", "predictor": "horizontal"},
        add_exif=exif.add_to_tiff, refuse_exif=exif.refuse_in_tiff, bits=16, alpha=True,
    ),
    Format(
        "WebP", (".webp",), loader="webp", starts=(b"RIFF",),
        save=_save, add_exif=containers.add_to_webp, lossy=True, alpha=True, longest=16383,
    ),
    Format(
        "HEIC", (".heic", ".heif", ".hif"), loader="heif", codec="hevc",
        open=heif.open, decode=heif.decode_heic, other_colours=heif.has_other_colours,
        describe_rest=heif.describe_rest,
        becomes=".jpg",
    ),
    Format(
        "AVIF", (".avif",), loader="heif",
        open=heif.open, decode=heif.decode_avif, check=libvips.check_by_pillow,
        other_colours=heif.has_other_colours,
        describe_rest=heif.describe_rest,
        save=_save_avif, add_exif=containers.add_to_avif, options={"effort": 1}, lossy=True,
        bits=12, alpha=True, longest=16384,
    ),
    Format(
        "GIF", (".gif",), loader="gif", starts=(b"GIF8",), check=libvips.check_by_pillow,
        becomes=".png",
    ),
    Format(
        "BMP", (".bmp",), loader="bmp", starts=(b"BM",), open=bmp.open, decode=bmp.decode,
        becomes=".png",
    ),
)
# fmt: on
BY_SUFFIX = {suffix: row for row in FORMATS for suffix in row.suffixes}
READ = tuple(BY_SUFFIX)
WRITTEN = tuple(suffix for suffix, row in BY_SUFFIX.items() if row.save)
CHOICES = tuple(row.suffix[1:] for row in FORMATS if row.save)  # without the dot


def open_image(data: bytes) -> tuple[pyvips.Image, Format]:
    """A file as its format opens it, its pixels not decoded yet, told by what is in it."""
    row = _find_row(data)
    image = row.open(data, row.loader)
    codec = image.get("heif-compression") if image.get_typeof("heif-compression") else None
    rows = (other for other in FORMATS if other.loader == row.loader)
    return image, next(row for row in rows if row.codec in (None, codec))


def open_header(path: str | os.PathLike) -> pyvips.Image:
    """A file's image, of which no more is read than its header; ValueError where that cannot be.

    Its pages and boxes are not looked at, and its pixels are for `open_image`.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError("not a file")
    with path.open("rb") as file:
        row = _find_row(file.read(12))
    if row.loader not in _READ_BY_PARTS:
        raise ValueError("read whole")
    return libvips.load(pyvips.Source.new_from_file(os.fsencode(path)), row.loader)


_READ_BY_PARTS = {"png", "jpeg", "tiff"}  # libvips maps others' files: cut then, they end us


def _find_row(data):
    kind = name_by_start(data)
    row = next((row for row in FORMATS if kind in (row.name, row.loader.upper())), None)
    if not row:
        raise ValueError("no format of ours")
    return row


def name_by_start(data: bytes) -> str | None:
    """What a file's first bytes say that it is; None if nothing that we know."""
    if data[4:8] == b"ftyp":
        return "HEIF"
    start = data[:12]
    return next((row.name for row in FORMATS if row.starts and start.startswith(row.starts)), None)


def choose_suffix(path: pathlib.Path) -> str:
    """The suffix that a photograph's result has: its own, or of what its format becomes."""
    row = BY_SUFFIX.get(path.suffix.lower())
    return row.becomes if row and row.becomes else path.suffix
