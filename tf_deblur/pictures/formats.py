"""The formats that photographs come in: one row of `FORMATS` is all that we know of one.

What is looked for in a folder, what a result's name ends in, the command's choices and the table
in docs/reference/formats.md follow from the rows.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Collection

from tf_deblur.pictures import heif, jpeg, libvips, pillow, png, tiff, webp
from tf_deblur.pictures.libvips import (
    COLOURS,
    COMMENTS,
    EXTENDED_XMP,
    IPTC,
    PHOTOSHOP,
    TEXTS,
    pyvips,
)

RESOLUTION = "resolution"  # among what a format keeps
START = 12  # bytes of a file that tell its format


@dataclasses.dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
      name: as people call it.
      suffixes: of its files, the usual one first.
      starts: what its files begin with, a regular expression.
      loader: what the name of libvips' loader for it begins with.
      codec: what its picture's properties hold, of files of many codecs; None for others.
      by_parts: whether libvips reads a file's head alone; others it maps: cut then, they end us.
      open: (data, loader) -> a `pyvips.Image` without pixels; as `libvips.open`.
      decode: (image, data) -> pixels and more, of what `open` gave; as `libvips.decode`. It
        raises if the pixels are not to be trusted.
      explain: data -> what is wrong with a file, in words; empty where that is not known.
      other_colours: (image, data) -> whether they differ from sRGB (HDR, wider) and no profile
        says so.
      describe_rest: (image, data) -> what a file holds that goes into no result, in words.
      becomes: the suffix that a result has, of a format that is not written.
      save: (pixels, header, EXIF block, options of libvips' saver) -> bytes; a header of None
        for none.
      lossy: whether it takes a quality.
      bits: how many of 16 it holds.
      alpha: whether it holds an alpha channel.
      longest: the longest side, in pixels; None for more than anybody has.
      longest_xmp: in bytes; None for more than anybody has.
      refuse_exif: block -> why it is left out, in words; empty for one that is not.
      keeps: which fields of metadata it holds, of those that not every format does.
    """

    name: str
    suffixes: tuple[str, ...]
    starts: bytes
    loader: str
    codec: bytes | None = None
    by_parts: bool = False
    open: Callable = libvips.open
    decode: Callable = libvips.decode
    explain: Callable = lambda data: ""
    other_colours: Callable = lambda image, data: False
    describe_rest: Callable = lambda image, data: []
    becomes: str | None = None
    save: Callable | None = None
    lossy: bool = False
    bits: int = 8
    alpha: bool = False
    longest: int | None = None
    longest_xmp: int | None = None
    refuse_exif: Callable = lambda block: ""
    keeps: Collection[str] = ()

    @property
    def suffix(self) -> str:
        """What a result has that was a file of this format."""
        return self.becomes or self.suffixes[0]


# what all files of boxes begin with, but films
_BOXES = rb".{4}ftyp(?!iso|mp4|mp7|qt  |M4|3g|avc1|dash|MSNV|XAVC|f4v|F4V|mmp4)"

# fmt: off
FORMATS = (
    Format(
        "PNG", (".png",), rb"\x89PNG\r\n", loader="png", by_parts=True,
        open=png.open, explain=png.explain,
        other_colours=png.has_other_colours, describe_rest=png.describe_rest,
        save=png.save, bits=16, alpha=True, keeps={TEXTS, COLOURS, RESOLUTION},
    ),
    Format(
        "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), rb"\xff\xd8", loader="jpeg",
        by_parts=True, open=jpeg.open, decode=jpeg.decode, describe_rest=jpeg.describe_rest,
        save=jpeg.save, lossy=True, longest=65500,
        longest_xmp=jpeg.LONGEST_XMP, refuse_exif=jpeg.refuse_exif,
        keeps={IPTC, PHOTOSHOP, COMMENTS, EXTENDED_XMP, RESOLUTION},
    ),
    Format(
        "TIFF", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]", loader="tiff", by_parts=True,
        open=tiff.open, decode=tiff.decode, describe_rest=tiff.describe_rest,
        save=tiff.save, refuse_exif=tiff.refuse_exif, bits=16, alpha=True,
        keeps={IPTC, PHOTOSHOP, RESOLUTION},
    ),
    Format(
        "WebP", (".webp",), rb"RIFF.{4}WEBP", loader="webp", explain=webp.explain,
        save=webp.save, lossy=True, alpha=True, longest=16383,
    ),
    Format(
        "HEIC", (".heic", ".heif", ".hif"), _BOXES, loader="heif", codec=b"hvcC",
        open=heif.open, decode=heif.decode_heic,
        other_colours=heif.has_other_colours, describe_rest=heif.describe_rest,
        becomes=".jpg",
    ),
    Format(
        "AVIF", (".avif",), _BOXES, loader="heif", codec=b"av1C",
        open=heif.open, decode=heif.decode_avif,
        other_colours=heif.has_other_colours, describe_rest=heif.describe_rest,
        save=heif.save_avif, lossy=True, bits=heif.BITS, alpha=True, longest=16384,
    ),
    Format(
        "GIF", (".gif",), rb"GIF8", loader="gif", decode=pillow.decode_gif, becomes=".png",
    ),
    Format(
        "BMP", (".bmp",), rb"BM", loader="bmp", open=pillow.open_bmp, decode=pillow.decode_bmp,
        becomes=".png",
    ),
)
# fmt: on
BY_SUFFIX = {suffix: row for row in FORMATS for suffix in row.suffixes}
READ = tuple(BY_SUFFIX)
RAW = ".3fr .arw .cr2 .cr3 .crw .dng .erf .iiq .kdc .mrw .nef .nrw .orf .pef .raf .rw2 .srw".split()
WRITTEN = tuple(suffix for suffix, row in BY_SUFFIX.items() if row.save)
CHOICES = tuple(row.suffix[1:] for row in FORMATS if row.save)  # without the dot


def open_image(data: bytes) -> tuple[pyvips.Image, Format]:
    """A file as its format opens it, its pixels not decoded yet, told by what is in it."""
    rows = find_by_start(data)
    if not rows:
        raise ValueError("no format of ours")
    image = rows[0].open(data, rows[0].loader)
    codecs = heif.read_properties(data) if rows[0].codec else b""
    return image, next((row for row in rows if row.codec and row.codec in codecs), rows[0])


def open_header(path: str | os.PathLike) -> pyvips.Image:
    """A file's image, of which no more is read than its header; ValueError where that cannot be.

    Its pages and boxes are not looked at, and its pixels are for `open_image`.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError("not a file")
    with path.open("rb") as file:
        rows = find_by_start(file.read(START))
    if not rows or not rows[0].by_parts:
        raise ValueError("read whole")
    return libvips.load(pyvips.Source.new_from_file(os.fsencode(path)), rows[0].loader)


def find_by_start(data: bytes) -> list[Format]:
    """The formats whose files begin like this one; none for nothing that we know."""
    return [row for row in FORMATS if re.match(row.starts, data[:START], re.DOTALL)]


def choose_suffix(path: pathlib.Path) -> str:
    """The suffix that a photograph's result has: its own, or of what its format becomes."""
    row = BY_SUFFIX.get(path.suffix.lower())
    return row.becomes if row and row.becomes else path.suffix
