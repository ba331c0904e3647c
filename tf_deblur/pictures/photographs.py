"""Photograph files <-> arrays of pixels, with all else that a file holds.

libvips reads and writes: it knows every format that photographs come in, keeps 16 bits and
what else a file holds (EXIF, ICC profile, XMP), and says at once how large a file claims to be.
"""

import dataclasses
import os
import pathlib
import struct

import numpy as np

from tf_deblur.errors import UserError
from tf_deblur.files import whole
from tf_deblur.pictures import arrays, bmp, exif, formats, heif, libvips
from tf_deblur.pictures.libvips import pyvips

QUALITY = 95  # of JPEG, WebP and AVIF
MEGAPIXELS = 150  # a file that claims more is refused, unless the user says otherwise
_TYPES = {"uchar": np.uint8, "ushort": np.uint16}
_EXIF = "exif-data"
_MANY_TILES = "box contains"  # more than libheif's limit of 256, as phones' 200 megapixels have


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
      behind: what a JPEG file holds after its picture, in words; empty for nothing.
      other_colours: whether they differ from sRGB (HDR, wider) and no profile says so.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None
    grey: bool
    suffix: str
    header: pyvips.Image | None
    gain_map: bool = False
    bits: int = 16
    behind: str = ""
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
      UserError: missing, a folder, not a whole picture, too large, animated, or of another
        kind than 8 or 16 bits a channel.
    """
    name = name or ("picture" if isinstance(source, bytes) else source)
    image = _open(source, name)
    if image.width * image.height > megapixels * 1e6:
        raise UserError(
            f"{name}: {image.width}x{image.height} pixels, more than {megapixels:g} megapixels; "
            "raise --max_megapixels if you trust it"
        )
    format = formats.find_by_image(image)
    if not format:
        raise UserError(f"{name}: a file for {image.get('vips-loader')}; use PNG or JPEG")
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        raise UserError(f"{name}: {pages} pages or frames; one picture a file is wanted")
    try:
        return _decode(image, format, source, name)
    except pyvips.Error as error:
        raise _unreadable(name, error, source) from error


def _open(source, name):
    """A file as libvips opens it, its pixels not decoded yet."""
    if not isinstance(source, bytes):
        path = pathlib.Path(source)
        try:
            if path.is_dir():
                raise UserError(f"{name}: a folder, not a picture; name the pictures in it")
            if path.exists() and not path.is_file():
                raise UserError(f"{name}: not a file")
            with path.open("rb"):  # libvips does not say why it cannot
                pass
        except FileNotFoundError:
            raise UserError(f"{name}: no such file") from None
        except OSError as error:
            raise UserError(f"{name}: cannot be read ({error.strerror})") from error
        source = str(path)
    if bmp.is_bmp(source):
        return bmp.read_header(source, name)
    try:
        return _open_by_libvips(source)
    except pyvips.Error as error:
        raise _unreadable(name, error, source) from error


def _open_by_libvips(source):
    in_memory = isinstance(source, bytes)
    options = {"fail_on": "truncated"}
    try:
        if in_memory:
            image = pyvips.Image.new_from_buffer(source, "", **options)
        else:
            image = pyvips.Image.new_from_file(source, **options)
    except pyvips.Error as error:
        if _MANY_TILES not in str(error):
            raise
        tiled = pyvips.Image.heifload_buffer if in_memory else pyvips.Image.heifload
        return tiled(source, unlimited=True, **options)
    if image.get_typeof(libvips.GAIN_MAP):  # read so, a JPEG comes without XMP and resolution
        plain = pyvips.Image.jpegload_buffer if in_memory else pyvips.Image.jpegload
        image = plain(source, **options).copy()
        image.set_type(pyvips.GValue.gint_type, libvips.GAIN_MAP, 1)
    return image


def _unreadable(name, error, source):
    data = _read_bytes(source)
    reason = libvips.explain_reading(error, data, formats.name_by_start(data))
    return UserError(f"{name}: not a whole picture that we can read; use PNG or JPEG ({reason})")


def _read_bytes(source):
    return source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()


def _decode(image, format, source, name):
    """An opened file's pixels, split into what `Photograph` tells apart, and all else."""
    image = image.autorot()
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk")
    if image.format not in _TYPES or image.bands > 4:
        raise UserError(f"{name}: {image.bands} channels of {image.format}; 8 or 16 bits are read")
    array, gain_map = format.decode(image, source, name)
    color, alpha = array, None
    if array.shape[-1] in (2, 4):
        color, alpha = array[..., :-1], array[..., -1]
    grey = color.shape[-1] == 1
    in_heif = image.get_typeof("heif-compression")
    return Photograph(
        np.repeat(color, 3, axis=-1) if grey else np.ascontiguousarray(color),
        *(alpha, grey, format.suffix, _collect_metadata(image, source), gain_map),
        bits=image.get("bits-per-sample") if in_heif else 16,
        behind=format.describe_rest(_read_bytes(source), gain_map) if format.describe_rest else "",
        other_colours=bool(in_heif) and heif.has_other_colours(image, source),
    )


def _collect_metadata(image, source):
    """An image of one pixel with all that a file says of its picture."""
    # of a picture of its own: the decoded one would stay in memory with it
    header = libvips.copy_metadata(pyvips.Image.black(1, 1), image)
    if block := exif.read(image, source):
        header.set_type(pyvips.GValue.blob_type, _EXIF, block)
    else:
        header.remove(_EXIF)
    return header


def count_pixels(path: str | os.PathLike) -> int:
    """How many pixels a file's header claims; UserError as `open_photograph`."""
    image = _open(path, path)
    return image.width * image.height


def strip_metadata(photograph: Photograph) -> Photograph:
    """A photograph without its metadata."""
    return dataclasses.replace(photograph, header=None)


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
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


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
    block = exif.update(_get_exif(header), array.shape[1], array.shape[0])
    options = format.options | ({"Q": quality} if format.lossy else {})
    try:
        return format.save(
            format, pixels, header, b"" if format.refuse_exif(block) else block, options
        )
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


def _get_exif(header):
    """The EXIF block that an opened photograph's header has; empty for none."""
    return bytes(header.get(_EXIF)) if header and header.get_typeof(_EXIF) else b""


def describe_losses(suffix: str, photograph: Photograph) -> str:
    """What a format cannot hold of a photograph, in words; empty if nothing."""
    format, losses = formats.BY_SUFFIX[suffix.lower()], []
    if photograph.alpha is not None and not format.alpha:
        losses.append("without its transparency")
    if photograph.pixels.dtype == np.uint16 and format.bits < photograph.bits:
        losses.append(f"in {format.bits} bits")
    block = _get_exif(photograph.header)
    if reason := block and format.refuse_exif(block):
        losses.append(f"without its EXIF, {reason}")
    if photograph.behind:
        losses.append(f"without the {photograph.behind} behind it")
    if photograph.gain_map:
        losses.append("without its gain map")
    if photograph.other_colours:
        losses.append("its HDR or wide colours taken for sRGB")
    return ", ".join(losses)


def check_suffix(path: str | os.PathLike) -> None:
    """UserError if pictures of this name cannot be written."""
    if pathlib.Path(path).suffix.lower() not in formats.WRITTEN:
        known = ", ".join(formats.WRITTEN)
        raise UserError(f"{path}: not a format that we write; use one of {known}")
