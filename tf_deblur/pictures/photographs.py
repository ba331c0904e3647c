"""Photograph files <-> arrays of pixels, with all else that a file holds.

libvips reads and writes: it knows every format that photographs come in, keeps 16 bits and
what else a file holds (EXIF, ICC profile, XMP), and says at once how large a file claims to be.
"""

import contextlib
import dataclasses
import os
import pathlib
import struct
from collections.abc import Sequence

import numpy as np

from tf_deblur.errors import BadPicture, UserError
from tf_deblur.files import whole
from tf_deblur.pictures import arrays, exif, formats, libvips, xmp
from tf_deblur.pictures.libvips import (
    COLOURS,
    COMMENTS,
    EXIF,
    EXTENDED_XMP,
    IPTC,
    PHOTOSHOP,
    TEXTS,
    XMP,
    get_bytes,
    pyvips,
)

QUALITY = 95  # of JPEG, WebP and AVIF
WORDS = {IPTC: "IPTC", PHOTOSHOP: "Photoshop data", EXTENDED_XMP: "extended XMP"}
WORDS |= {COMMENTS: "comment", TEXTS: "texts"}
MEGAPIXELS = 150  # a file that claims more is refused, unless the user says otherwise


@dataclasses.dataclass
class Photograph:
    """A picture file in memory, upright.

    Attributes:
      pixels: (height, width, 3) RGB, uint8 or uint16; grey is repeated three times.
      alpha: (height, width) of the same type, or None.
      grey: whether the file has no colours.
      suffix: of the format that the file has, whatever its name; ".jpg" of a HEIC.
      header: a `pyvips.Image` whose metadata a restored picture inherits; None for none.
      gain_map: whether the file has one too, for screens brighter than its pixels tell.
      bits: how many of the 16 of uint16 the file has.
      rest: what the file holds that no result does, in words.
      other_colours: whether they differ from sRGB (HDR, wider) and no profile says so.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    grey: bool
    suffix: str
    header: pyvips.Image | None
    gain_map: bool = False
    bits: int = 16
    rest: Sequence[str] = ()
    other_colours: bool = False


def open_photograph(
    source: bytes | str | os.PathLike, name: object = None, megapixels: float = MEGAPIXELS
) -> Photograph:
    """Reads a picture with all that its file holds, and turns it as its EXIF orientation says.

    Args:
      source: a path, or the bytes of a file. The format is told by what is in it.
      name: for errors; the path if not given.
      megapixels: a picture that claims more is refused before it is decoded.

    Returns:
      A `Photograph`. CMYK becomes sRGB; what is kept in the file's own colours keeps its profile.

    Raises:
      BadPicture: missing, a folder, not a whole picture, too large, animated, or of another
        kind than 8 or 16 bits a channel.
    """
    with _blame(source, name or ("picture" if isinstance(source, bytes) else source)) as data:
        image, format = formats.open_image(data)
        if image.width * image.height > megapixels * 1e6:
            raise UserError(
                f"{image.width}x{image.height} pixels, more than {megapixels:g} megapixels; "
                "raise --max_megapixels if you trust it"
            )
        return _decode(image, format, data)


@contextlib.contextmanager
def _blame(source, name):
    """Gives a file's bytes; whatever a library raises of them becomes a `BadPicture` here."""
    data = b""
    try:
        data = source if isinstance(source, bytes) else _read_bytes(pathlib.Path(source))
        yield data
    except UserError as error:
        raise BadPicture(str(error), name) from error
    except MemoryError:  # no fault of the file's
        raise
    except Exception as error:  # of damaged files, libraries raise anything
        reason = _explain(error, data)
        told = f"not a whole picture that we can read; use PNG or JPEG ({reason})"
        raise BadPicture(told, name) from error


def _explain(error, data):
    rows = formats.find_by_start(data)
    if not data or not rows:
        return "no format that we know" if data else "it is empty"
    kind = " or ".join(row.name for row in rows)
    return libvips.explain_reading(error, data, kind, rows[0].explain)


def _read_bytes(path):
    try:
        if path.is_dir():
            raise UserError("a folder, not a picture; name the pictures in it")
        if path.exists() and not path.is_file():
            raise UserError("not a file")
        with path.open("rb") as file:  # mapped, one that is cut while it is read would end us
            start = file.read(formats.START)
            if not formats.find_by_start(start):
                return start
            file.seek(0)
            return file.read()
    except FileNotFoundError:
        raise UserError("no such file") from None
    except OSError as error:
        raise UserError(f"cannot be read ({error.strerror})") from error


def _decode(image, format, data):
    """An opened file's pixels, split into what `Photograph` tells apart, and all else."""
    image = _find_orientation(image, format)
    array, gain_map, image = format.decode(image, data)
    color, alpha = array, None
    if array.shape[-1] in (2, 4):
        color, alpha = array[..., :-1], array[..., -1]
    grey = color.shape[-1] == 1
    in_heif = image.get_typeof("heif-compression")
    return Photograph(
        np.repeat(color, 3, axis=-1) if grey else np.ascontiguousarray(color),
        *(alpha, grey, format.suffix, _collect_metadata(image, data), gain_map),
        bits=image.get("bits-per-sample") if in_heif else 16,
        rest=format.describe_rest(image, data),
        other_colours=format.other_colours(image, data),
    )


def _find_orientation(image, format):
    """An image with the orientation that its XMP tells, if its EXIF tells none."""
    turn = xmp.read_orientation(get_bytes(image, XMP))
    has_own = image.get_typeof("orientation") or format.loader == "heif"
    if turn and not has_own:
        image = image.copy()
        image.set_type(pyvips.GValue.gint_type, "orientation", turn)
    return image


def _collect_metadata(image, data):
    """An image of one pixel with all that a file says of its picture."""
    # of a picture of its own: the decoded one would stay in memory with it
    header = libvips.copy_metadata(pyvips.Image.black(1, 1), image)
    if block := exif.read(image, data):
        header.set_type(pyvips.GValue.blob_type, EXIF, block)
    else:
        header.remove(EXIF)
    return header


def count_pixels(path: str | os.PathLike) -> int:
    """How many pixels a file's header claims; BadPicture as `open_photograph`."""
    try:
        image = formats.open_header(path)
    except Exception:  # all of it tells, or what is wrong
        with _blame(path, path) as data:
            image, _ = formats.open_image(data)
    return image.width * image.height


def strip_metadata(photograph: Photograph) -> Photograph:
    """A photograph without its metadata, its colours those of sRGB if a profile says others."""
    header, pixels = photograph.header, photograph.pixels
    if profile := get_bytes(header, libvips.PROFILE):
        pixels = libvips.to_srgb(pixels[..., :1] if photograph.grey else pixels, profile)
        pixels = pixels.repeat(3, axis=-1) if pixels.shape[-1] == 1 else pixels
    kept = None
    colours = get_bytes(header, COLOURS)
    if photograph.other_colours and colours:  # nothing else says what they are
        kept = pyvips.Image.black(1, 1).copy()
        kept.set_type(pyvips.GValue.blob_type, COLOURS, colours)
    return dataclasses.replace(photograph, pixels=pixels, header=kept)


def mark(photograph: Photograph, suffix: str) -> Photograph:
    """A photograph whose EXIF says that it was restored, if a format of this suffix can hold it."""
    height, width = photograph.pixels.shape[:2]
    block = exif.mark(exif.update(get_bytes(photograph.header, EXIF), width, height))
    if photograph.header is None or formats.BY_SUFFIX[suffix.lower()].refuse_exif(block):
        return photograph
    header = photograph.header.copy()
    header.set_type(pyvips.GValue.blob_type, EXIF, block)
    return dataclasses.replace(photograph, header=header)


def is_marked(photograph: Photograph) -> bool:
    """Whether `mark` has said of it that it was restored."""
    return exif.is_marked(get_bytes(photograph.header, EXIF))


def read(path: str | os.PathLike) -> np.ndarray:
    """Reads a picture's pixels: (height, width, 3) RGB, uint8 or uint16, upright.

    Alpha is dropped, grey is repeated three times. Raises as `open_photograph` does.
    """
    return open_photograph(path).pixels


def write(
    path: str | os.PathLike,
    array: np.ndarray,
    like: Photograph | None = None,
    quality: int = QUALITY,
) -> None:
    """Writes a picture in the format of its suffix; it appears whole or not at all.

    Args:
      path: the file; missing parents are made.
      array: (height, width, 3) RGB, uint8 or uint16; 16 bits become 8, or AVIF's 12, where
        the format holds no more.
      like: the `Photograph` whose metadata, alpha channel and greyness are kept, if any.
      quality: of lossy formats, from 1 to 100.

    Raises:
      UserError: a suffix that is no format of ours, or the file cannot be written.
    """
    path = pathlib.Path(path)
    check_suffix(path)
    try:
        data = encode(path.suffix, array, like, quality)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    try:
        with whole(path) as part:
            part.write_bytes(data)
            if path.exists():  # what is replaced is gone: so look at what lies on the disk
                _check_written(part, path, array)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def _check_written(part, path, array):
    """BadPicture if a file is not whole, or not of the size of these pixels."""
    again = open_photograph(part, path, megapixels=np.inf).pixels
    if again.shape[:2] != array.shape[:2]:
        raise BadPicture("was not written whole; the file is as it was", path)


def encode(
    suffix: str, array: np.ndarray, like: Photograph | None = None, quality: int = QUALITY
) -> bytes:
    """The bytes of a picture file; as `write`."""
    format, size = formats.BY_SUFFIX[suffix.lower()], f"{array.shape[1]}x{array.shape[0]}"
    assert format.save  # `check_suffix` lets no other through
    if format.longest and max(array.shape[:2]) > format.longest:
        raise UserError(
            f"{size}: not for {suffix.lower()}, which holds {format.longest} pixels a side; "
            "use PNG or TIFF"
        )
    pixels = _fit(array, format, like)
    header = like.header if like else None
    block = exif.update(get_bytes(header, EXIF), array.shape[1], array.shape[0])
    if get_bytes(header, XMP):
        header = _update_xmp(header, format, array.shape[1], array.shape[0])
    if format.refuse_exif(block):
        block = b""
    try:
        return format.save(pixels, header, block, {"Q": quality} if format.lossy else {})
    except (pyvips.Error, struct.error) as error:
        reason = libvips.explain_writing(error)
        raise UserError(f"{size}: not for {suffix.lower()} ({reason})") from error


def _fit(array, format, like):
    """Pixels as a format holds them: bits, and one channel of grey or another of alpha."""
    if array.dtype == np.uint16 and format.bits == 8:
        array = arrays.to_uint8(arrays.to_float(array))
    if like and like.grey:
        array = np.rint(array.mean(-1, keepdims=True)).astype(array.dtype)
    if like and like.alpha is not None and format.alpha:
        alpha = arrays.from_float(arrays.to_float(like.alpha), array.dtype)
        array = np.dstack([array, alpha])
    return array


def _update_xmp(header, format, width, height):
    """A header whose XMP is true of a picture of this size in this format, if it fits."""
    header, text = header.copy(), xmp.update(get_bytes(header, XMP), width, height)
    if EXTENDED_XMP not in format.keeps:
        text = xmp.drop_extension(text)
    if len(text) > (format.longest_xmp or len(text)):
        header.remove(XMP)
        header.remove(EXTENDED_XMP)
    else:
        header.set_type(pyvips.GValue.blob_type, XMP, text)
    return header


def describe_losses(suffix: str, photograph: Photograph) -> str:
    """What a format cannot hold of a photograph, in words; empty if nothing."""
    format, losses = formats.BY_SUFFIX[suffix.lower()], []
    if photograph.alpha is not None and not format.alpha:
        losses.append("without its transparency")
    if photograph.pixels.dtype == np.uint16 and format.bits < photograph.bits:
        losses.append(f"in {format.bits} bits")
    header = photograph.header
    block = get_bytes(header, EXIF)
    if reason := block and format.refuse_exif(block):
        losses.append(f"without its EXIF, {reason}")
    size = len(get_bytes(header, XMP))
    if size > (format.longest_xmp or size):
        losses.append("without its XMP, more than a JPEG holds")
    fields = [field for field in WORDS.keys() - format.keeps if get_bytes(header, field)]
    losses += [f"without its {WORDS[field]}" for field in sorted(fields)]
    told = exif.has(block, exif.RESOLUTION) or formats.RESOLUTION in format.keeps
    if header and libvips.has_resolution(header) and not told:
        losses.append("without its resolution")
    losses += [f"without {words}" for words in photograph.rest]
    if photograph.gain_map:
        losses.append("without its gain map")
    if photograph.other_colours and not (COLOURS in format.keeps and get_bytes(header, COLOURS)):
        losses.append("its HDR or wide colours taken for sRGB")
    return ", ".join(losses)


def check_suffix(path: str | os.PathLike) -> None:
    """UserError if pictures of this name cannot be written."""
    if pathlib.Path(path).suffix.lower() not in formats.WRITTEN:
        known = ", ".join(formats.WRITTEN)
        raise UserError(f"{path}: not a format that we write; use one of {known}")
