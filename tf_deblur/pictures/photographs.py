"""Photograph files <-> arrays of pixels, with all else that a file holds.

libvips reads and writes: it knows every format that photographs come in, keeps 16 bits and
what else a file holds (EXIF, ICC profile, XMP), and says at once how large a file claims to be.
"""

import dataclasses
import pathlib
import struct

import numpy as np

from tf_deblur.errors import UserError
from tf_deblur.files import whole
from tf_deblur.pictures import arrays, bmp, containers, exif, heif, libvips
from tf_deblur.pictures.libvips import pyvips

QUALITY = 95  # of JPEG, WebP and AVIF
MEGAPIXELS = 150  # a file that claims more is refused, unless the user says otherwise

# What each suffix's encoder is told, how many bits of 16 it keeps, and whether an alpha channel.
_LOSSY = "Q"
_FORMATS = {
    ".png": ({"compression": 6}, 16, True),
    ".jpg": ({_LOSSY: QUALITY}, 8, False),
    ".jpeg": ({_LOSSY: QUALITY}, 8, False),
    ".tif": ({"compression": "deflate", "predictor": "horizontal"}, 16, True),
    ".tiff": ({"compression": "deflate", "predictor": "horizontal"}, 16, True),
    ".webp": ({_LOSSY: QUALITY}, 8, True),
    ".avif": ({_LOSSY: QUALITY, "effort": 1}, 12, True),
}
SUFFIXES = tuple(_FORMATS)
# What is read and not written, and what becomes of it.
BECOMES = {".heic": ".jpg", ".heif": ".jpg", ".hif": ".jpg", ".gif": ".png", ".bmp": ".png"}
READ = (*SUFFIXES, *BECOMES)  # what is looked for in a folder
# libvips' loaders, and the suffix of what each reads; it has others, for what is no photograph
_LOADERS = {
    "jpeg": ".jpg",
    "png": ".png",
    "tiff": ".tif",
    "webp": ".webp",
    "heif": ".avif",
    "gif": ".png",
    bmp.LOADER: ".png",
}
_TYPES = {"uchar": np.uint8, "ushort": np.uint16}
_KEPT = ("icc-profile-data", "xmp-data", "iptc-data", "resolution-unit")
_EXIF = "exif-data"
_GAIN_MAP = "gainmap-data"
_INT = pyvips.GValue.gint_type
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


def open_photograph(source, name=None, megapixels=MEGAPIXELS):
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
    image = _header(source, name)
    if image.width * image.height > megapixels * 1e6:
        raise UserError(
            f"{name}: {image.width}x{image.height} pixels, more than {megapixels:g} megapixels; "
            "raise --max_megapixels if you trust it"
        )
    suffix = ".jpg" if heif.is_heic(image) else _suffix(image.get("vips-loader"))
    if not suffix:
        raise UserError(f"{name}: a file for {image.get('vips-loader')}; use PNG or JPEG")
    pages = image.get("n-pages") if image.get_typeof("n-pages") else 1
    if pages > 1:
        raise UserError(f"{name}: {pages} pages or frames; one picture a file is wanted")
    try:
        return _decoded(image, suffix, source, name)
    except pyvips.Error as error:
        raise _unreadable(name, error, source) from error


def _header(source, name):
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
        return bmp.header(source, name)
    try:
        return _opened(source)
    except pyvips.Error as error:
        raise _unreadable(name, error, source) from error


def _opened(source):
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
    if image.get_typeof(_GAIN_MAP):  # read so, a JPEG comes without XMP and resolution
        plain = pyvips.Image.jpegload_buffer if in_memory else pyvips.Image.jpegload
        image = plain(source, **options).copy()
        image.set_type(_INT, _GAIN_MAP, 1)
    return image


def _unreadable(name, error, source):
    data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    reason = libvips.reason(error, data)
    return UserError(f"{name}: not a whole picture that we can read; use PNG or JPEG ({reason})")


def _suffix(loader):
    """The suffix of what a loader of libvips reads; None for what is no photograph."""
    return next((s for start, s in _LOADERS.items() if loader.startswith(start)), None)


def _decoded(image, suffix, source, name):
    image = image.autorot()
    if image.interpretation == "cmyk":
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk")
    if image.format not in _TYPES or image.bands > 4:
        raise UserError(f"{name}: {image.bands} channels of {image.format}; 8 or 16 bits are read")
    gain_map, bits, other_colours = bool(image.get_typeof(_GAIN_MAP)), 16, False
    behind = ""
    if image.get_typeof("heif-compression"):
        bits = image.get("bits-per-sample")
        other_colours = heif.has_other_colours(image, source)
    if heif.is_heic(image):
        array, gain_map = heif.decoded(source, name)
    elif image.get("vips-loader") == bmp.LOADER:
        array = bmp.decoded(source, name)
    else:
        array = image.numpy().reshape(image.height, image.width, image.bands)
        if suffix == ".avif" and array.dtype == np.uint16:
            array = heif.from_upper_bits(array, bits)
    color, alpha = array, None
    if array.shape[-1] in (2, 4):
        color, alpha = array[..., :-1], array[..., -1]
    grey = color.shape[-1] == 1
    pixels = np.repeat(color, 3, axis=-1) if grey else np.ascontiguousarray(color)
    if image.get("vips-loader").startswith("jpeg"):
        data = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
        behind = containers.behind(data, gain_map)
    # of a picture of its own: the decoded one would stay in memory with it
    header = _with_metadata(pyvips.Image.black(1, 1), image)
    if block := exif.of(image, source):
        header.set_type(pyvips.GValue.blob_type, _EXIF, block)
    else:
        header.remove(_EXIF)
    return Photograph(pixels, alpha, grey, suffix, header, gain_map, bits, behind, other_colours)


def pixels(path):
    """How many pixels a file's header claims; UserError as `open_photograph`."""
    image = _header(path, path)
    return image.width * image.height


def stripped(photograph):
    """A photograph without its metadata."""
    return dataclasses.replace(photograph, header=None)


def read(path):
    """Reads a picture's pixels: (height, width, 3) RGB, uint8 or uint16, upright.

    Alpha is dropped, grey is repeated three times. Raises as `open_photograph` does.
    """
    return open_photograph(path).pixels


def write(path, array, like=None, quality=QUALITY):
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


def encode(suffix, array, like=None, quality=QUALITY):
    """The bytes of a picture file; as `write`."""
    suffix = suffix.lower()
    settings, bits, holds_alpha = _FORMATS[suffix]
    longest = libvips.SIDES.get(suffix)
    if longest and max(array.shape[:2]) > longest:
        raise UserError(
            f"{array.shape[1]}x{array.shape[0]}: not for {suffix}, which holds {longest} pixels a "
            "side; use PNG or TIFF"
        )
    if _LOSSY in settings:
        settings = settings | {_LOSSY: quality}
    if array.dtype == np.uint16 and bits == 8:
        array = arrays.to_uint8(arrays.to_float(array))
    if like and like.grey:
        array = np.rint(array.mean(-1, keepdims=True)).astype(array.dtype)
    if like and like.alpha is not None and holds_alpha:
        alpha = arrays.from_float(arrays.to_float(like.alpha), array.dtype)
        array = np.dstack([array, alpha])
    kind = "b-w" if array.shape[-1] < 3 else "srgb"
    if array.dtype == np.uint16:
        kind = {"b-w": "grey16", "srgb": "rgb16"}[kind]
        if bits < 16:
            array, settings = heif.to_upper_bits(array, bits), settings | {"bitdepth": bits}
    block, header = b"", like.header if like else None
    if header:
        block = exif.current(_block(header), array.shape[1], array.shape[0])
    tiff, jpeg = suffix in (".tif", ".tiff"), suffix in (".jpg", ".jpeg")
    if tiff and not exif.readable(block):  # a TIFF file has no place for what is damaged
        block = b""
    swapped = tiff and block and array.dtype == np.uint16 and exif.order(block) == ">"
    if swapped:  # its numbers are in the order of the EXIF's, which libvips would not write
        array = arrays.differences(array).byteswap()
        settings = settings | {"predictor": "none"}
    image = pyvips.Image.new_from_array(np.ascontiguousarray(array)).copy(interpretation=kind)
    settings = settings | {"keep": "none"}
    if header:
        image = _with_metadata(image, header)
        made_up = suffix == ".avif" and block  # for the block to replace
        settings = settings | {"keep": "xmp|iptc|icc|other" + "|exif" * bool(made_up)}
    try:
        data = image.write_to_buffer(suffix, **settings)
        if swapped:
            return exif.in_tiff(data, block, predicted=True)
        if header and jpeg and not exif.has(block, exif.RESOLUTION):
            data = containers.with_density(data, header.xres)
        return containers.with_exif(suffix, data, block)
    except (pyvips.Error, struct.error) as error:
        size = f"{array.shape[1]}x{array.shape[0]}"
        raise UserError(
            f"{size}: not for {suffix} ({libvips.reason_not_written(error)})"
        ) from error


def _block(header):
    """The EXIF block that an opened photograph's header has; empty for none."""
    return bytes(header.get(_EXIF)) if header and header.get_typeof(_EXIF) else b""


def lost(suffix, photograph):
    """What a format cannot hold of a photograph, in words; empty if nothing."""
    _, bits, holds_alpha = _FORMATS[suffix.lower()]
    words = []
    if photograph.alpha is not None and not holds_alpha:
        words.append("without its transparency")
    if photograph.pixels.dtype == np.uint16 and bits < photograph.bits:
        words.append(f"in {bits} bits")
    block = _block(photograph.header)
    if suffix.lower() in (".jpg", ".jpeg") and len(block) > containers.LONGEST_IN_JPEG:
        words.append("without its EXIF, more than a JPEG holds")
    if suffix.lower() in (".tif", ".tiff") and block and not exif.readable(block):
        words.append("without its EXIF, which is damaged")
    if photograph.behind:
        words.append(f"without the {photograph.behind} behind it")
    if photograph.gain_map:
        words.append("without its gain map")
    if photograph.other_colours:
        words.append("its HDR or wide colours taken for sRGB")
    return ", ".join(words)


def _with_metadata(image, header):
    """The image with another's profile, XMP and resolution; it is upright now."""
    image = image.copy(xres=header.xres, yres=header.yres)
    for field in _KEPT:  # by name: pyvips lists none if one is damaged
        if header.get_typeof(field):
            image.set_type(header.get_typeof(field), field, header.get(field))
    image.set_type(_INT, "orientation", 1)
    return image


def check_suffix(path):
    """UserError if pictures of this name cannot be written."""
    if pathlib.Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: not a format that we write; use one of {', '.join(SUFFIXES)}")
