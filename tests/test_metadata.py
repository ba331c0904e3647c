"""What a file holds beside its pixels survives, in every format that can hold it."""

import dataclasses
import struct
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from tf_deblur.errors import UserError
from tf_deblur.pictures import exif as exif_module
from tf_deblur.pictures import photographs

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
except ImportError:
    pillow_heif = None

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF/></x:xmpmeta>'
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAKE, ORIENTATION, DATE, EXPOSURE, GPS, DETAILS = 0x10F, 0x112, 0x132, 0x829A, 0x8825, 0x8769
WIDTH, HEIGHT, VERSIONS = 0xA002, 0xA003, 0xA005
LOSSLESS, LOSSY = (".png", ".tif"), (".jpg", ".webp", ".avif")
FORMATS = (*LOSSLESS, *LOSSY)
HEIF_LOSSLESS = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
wants_heif = pytest.mark.skipif(not pillow_heif, reason="pillow-heif is not installed")
HEIC = pytest.param(".heic", marks=wants_heif)


def exif(orientation=1):
    tags = Image.Exif()
    tags[MAKE], tags[DATE], tags[ORIENTATION] = "A camera", "2018:06:25 12:00:00", orientation
    tags.get_ifd(DETAILS)[EXPOSURE] = IFDRational(1, 50)
    tags.get_ifd(GPS)[1] = "N"
    tags.get_ifd(GPS)[2] = (46.0, 30.0, 15.5)
    return tags


def save(path, array, **more):
    Image.fromarray(array).save(path, **more)
    return photographs.open_photograph(path)


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pixels_channels_and_bits_come_back(tmp_path, picture, suffix, channels, dtype):
    import pyvips

    array = np.dstack([picture(40, 60), picture(40, 60, seed=1)])[..., :channels].astype(dtype)
    if dtype == np.uint16:
        array = array * 257 + 3
    kinds = {(1, 1): "b-w", (2, 1): "grey16", (1, 3): "srgb", (2, 3): "rgb16"}
    kind = kinds[array.itemsize, 1 if channels < 3 else 3]
    before = tmp_path / f"before{suffix}"
    pyvips.Image.new_from_array(array).copy(interpretation=kind).write_to_file(str(before))
    photograph = photographs.open_photograph(before)
    assert photograph.pixels.dtype == dtype and photograph.grey == (channels < 3)
    photographs.write(tmp_path / f"after{suffix}", photograph.pixels, photograph)
    after = pyvips.Image.new_from_file(str(tmp_path / f"after{suffix}")).numpy()
    np.testing.assert_array_equal(after.reshape(array.shape), array)


def test_an_ultra_hdr_jpeg_is_read_as_the_plain_one_that_it_is_too(tmp_path):
    import pyvips

    light = np.random.default_rng(0).random((64, 48, 3)).astype(np.float32) * 3
    bright = pyvips.Image.new_from_array(light).copy(interpretation="scrgb")
    data = bright.uhdrsave_buffer()
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + XMP
    xmp = b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp
    data = data[:2] + xmp + data[2:]
    (tmp_path / "a.jpg").write_bytes(data)
    for photograph in (
        photographs.open_photograph(data),
        photographs.open_photograph(tmp_path / "a.jpg"),
    ):
        assert photographs.describe_losses(".jpg", photograph) == "without its gain map"
        plain = pyvips.Image.jpegload_buffer(data).numpy()
        np.testing.assert_array_equal(photograph.pixels, plain)
        photographs.write(tmp_path / "b.jpg", photograph.pixels, photograph)
        assert Image.open(tmp_path / "b.jpg").info["xmp"] == XMP
        assert (
            photographs.describe_losses(".jpg", photographs.open_photograph(tmp_path / "b.jpg"))
            == ""
        )


@pytest.mark.parametrize("before", [*FORMATS, HEIC])
@pytest.mark.parametrize("after", FORMATS)
def test_exif_profile_and_xmp_are_kept(tmp_path, picture, before, after):
    tags, text = exif(), PngImagePlugin.PngInfo()
    if before == ".tif":
        tags[0x2BC] = XMP
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    more = {"exif": tags.tobytes(), "xmp": XMP, "pnginfo": text, "icc_profile": PROFILE}
    photograph = save(tmp_path / f"before{before}", picture(24, 32), **more)
    photographs.write(tmp_path / f"after{after}", photograph.pixels, photograph)
    again = Image.open(tmp_path / f"after{after}")
    tags = again.getexif()
    assert (tags[MAKE], tags[DATE]) == ("A camera", "2018:06:25 12:00:00")
    assert tags.get(ORIENTATION, 1) == 1
    assert tags.get_ifd(DETAILS)[EXPOSURE] == pytest.approx(1 / 50)
    assert tags.get_ifd(GPS)[1] == "N" and tags.get_ifd(GPS)[2] == pytest.approx((46, 30, 15.5))
    assert again.info["icc_profile"] == PROFILE
    xmp = again.info.get("xmp") or again.info["XML:com.adobe.xmp"].encode()
    assert xmp.strip(b"\0") == XMP


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_exif_in_a_tiff_file_leaves_its_pixels_alone(tmp_path, picture, mode, order):
    import pyvips

    tags = exif()
    tags.endian = order
    details = tags.get_ifd(DETAILS)
    details[WIDTH], details[HEIGHT] = 32, 24
    details[VERSIONS] = {1: "R98"}
    details[0x9000], details[0x8827], details[0xA434] = b"0232", 400, "A lens of odd length"
    photograph = save(tmp_path / "a.jpg", picture(24, 32), exif=tags.tobytes())
    if mode == "I;16":
        array = picture(24, 32)[..., 0].astype(np.uint16) * 257 + 3
    else:
        array = np.asarray(Image.fromarray(picture(24, 32)).convert(mode))
    Image.fromarray(array).save(tmp_path / "a.png")
    like = photographs.open_photograph(tmp_path / "a.png")
    like = dataclasses.replace(like, header=photograph.header)
    photographs.write(tmp_path / "b.tif", like.pixels, like)
    again = Image.open(tmp_path / "b.tif")
    np.testing.assert_array_equal(np.asarray(again), array)
    by_libvips = pyvips.Image.new_from_file(str(tmp_path / "b.tif")).numpy()
    np.testing.assert_array_equal(by_libvips.reshape(array.shape), array)
    tags = again.getexif()
    assert tags[MAKE] == "A camera"
    assert tags.get_ifd(DETAILS)[EXPOSURE] == pytest.approx(1 / 50)
    assert tags.get_ifd(GPS)[2] == pytest.approx((46, 30, 15.5))
    assert tags.get_ifd(DETAILS)[0x8827] == 400  # 1/50 has its bytes' order in both its numbers
    data = (tmp_path / "b.tif").read_bytes()
    found = list(directories(data))
    assert len(found) == 4 and b"R98\0" in data
    for start, tags in found:
        assert start % 2 == 0 and tags == sorted(tags)  # as TIFF 6.0 demands


def directories(data):
    """(where, its tags) of a TIFF file's directories."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    todo = [struct.unpack(f"{order}L", data[4:8])[0]]
    while todo:
        start = todo.pop()
        (count,) = struct.unpack_from(f"{order}H", data, start)
        packed = data[start + 2 : start + 2 + 12 * count]
        entries = list(struct.iter_unpack(f"{order}HHLL", packed))
        todo += [place for tag, _, _, place in entries if tag in (DETAILS, GPS, VERSIONS)]
        yield start, [tag for tag, *_ in entries]
        for _, kind, number, place in entries:
            if number * {2: 1, 3: 2, 5: 8, 7: 1, 10: 8}.get(kind, 4) > 4:
                assert place % 2 == 0


def tiff_with(tags, blob):
    """An 8x8 grey TIFF file with more tags, whose values lie from byte 72 on."""
    own = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: 64}
    entries = [(tag, 4, 1, value) for tag, value in own.items()] + tags
    blob += bytes(len(blob) % 2)
    head = b"II" + struct.pack("<HL", 42, 72 + len(blob)) + bytes(64)
    packed = b"".join(struct.pack("<HHLL", *entry) for entry in sorted(entries))
    return head + blob + struct.pack("<H", len(entries)) + packed + bytes(4)


def exif_that_refers_to_itself(tags, size):
    at = 72 + size
    entries = {tag: (tag, 7, size, 72) for tag in range(1, tags + 1)}
    entries |= {tag: (tag, 4, 1, at) for tag in (DETAILS, GPS, VERSIONS)}
    packed = b"".join(struct.pack("<HHLL", *entries[tag]) for tag in sorted(entries))
    blob = bytes(size) + struct.pack("<H", len(entries)) + packed + bytes(4)
    return tiff_with([(DETAILS, 4, 1, at), (GPS, 4, 1, at)], blob)


@pytest.mark.parametrize("tags, size", [(60_000, 250), (3, 250)])
def test_exif_that_refers_to_itself_is_read_two_directories_deep(tags, size, monkeypatch):
    def counted(*arguments):
        read.append(arguments)
        return directory(*arguments)

    directory, read = exif_module._pack_directory, []
    monkeypatch.setattr(exif_module, "_pack_directory", counted)
    data = exif_that_refers_to_itself(tags, size)
    assert photographs.open_photograph(data).pixels.shape == (8, 8, 3)
    assert 0 < len(read) <= 2 * (1 + 2 + 2 * 3)  # each twice at most, where a note is in the way


def test_exif_that_refers_to_itself_takes_little_memory():
    data = exif_that_refers_to_itself(2000, 60_000)  # 120 MB in each of nine directories
    tracemalloc.start()
    assert photographs.open_photograph(data).pixels.shape == (8, 8, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60e6


def test_a_forged_count_copies_nothing():
    large = 50_000_000
    data = tiff_with([(0x10E, 2, large, 72)], b"") + bytes(large)
    tracemalloc.start()
    photograph = photographs.open_photograph(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not photograph.header.get_typeof("exif-data") and peak < 1e6


def test_a_tiff_file_without_exif_gains_none(tmp_path, picture):
    for more in ({}, {"exif": exif().tobytes()}):
        Image.fromarray(picture(24, 32)).save(tmp_path / "a.tif", **more)
        photograph = photographs.open_photograph(tmp_path / "a.tif")
        assert bool(photograph.header.get_typeof("exif-data")) == bool(more)
        photographs.write(tmp_path / "b.tif", photograph.pixels, photograph)
        assert (DETAILS in Image.open(tmp_path / "b.tif").getexif()) == bool(more)


def test_a_tiff_file_with_damaged_exif_is_still_a_picture(tmp_path, picture):
    Image.fromarray(picture(24, 32)).save(tmp_path / "a.tif", exif=exif().tobytes())
    data = bytearray((tmp_path / "a.tif").read_bytes())
    place = data.index(b"\x69\x87\x04\x00") + 8  # where the camera's details lie
    data[place : place + 4] = b"\xff\xff\xff\x7f"
    np.testing.assert_array_equal(photographs.open_photograph(bytes(data)).pixels, picture(24, 32))


@pytest.mark.parametrize("before", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("after", [".jpg", ".png", ".tif"])
def test_the_resolution_is_kept(tmp_path, picture, before, after):
    photograph = save(tmp_path / f"before{before}", picture(24, 32), dpi=(300, 300))
    photographs.write(tmp_path / f"after{after}", photograph.pixels, photograph)
    assert Image.open(tmp_path / f"after{after}").info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [*FORMATS, HEIC])
def test_a_turned_photograph_is_turned_once(tmp_path, picture, orientation, suffix):
    more = {"quality": 100, "lossless": True} if suffix == ".webp" else {"quality": 100}
    more = {} if suffix in LOSSLESS else HEIF_LOSSLESS if suffix == ".heic" else more
    data = exif(orientation).tobytes()
    photograph = save(tmp_path / f"before{suffix}", picture(24, 32), exif=data, **more)
    upright = np.asarray(_upright(picture(24, 32), orientation))
    assert photograph.pixels.shape == upright.shape
    if suffix not in (".jpg", ".avif"):
        np.testing.assert_array_equal(photograph.pixels, upright)
    difference = np.abs(photograph.pixels.astype(int) - upright).mean()
    assert difference < 12  # 60 if turned otherwise
    path = tmp_path / f"after{suffix.replace('heic', 'jpg')}"
    photographs.write(path, photograph.pixels, photograph, quality=100)
    again = Image.open(path)
    assert again.size == upright.shape[1::-1] and again.getexif().get(ORIENTATION, 1) == 1
    assert (
        np.abs(np.asarray(again.convert("RGB")).astype(int) - upright).mean() < 12
    )  # 60 if turned otherwise


def _upright(array, orientation):
    """The eight orientations by the EXIF standard: which side of the stored rows is the top."""
    turned = np.rot90(array, {3: 2, 4: 2, 5: -1, 6: -1, 7: 1, 8: 1}.get(orientation, 0))
    return turned[:, ::-1] if orientation in (2, 4, 5, 7) else turned


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_a_picture_without_exif_gets_none(tmp_path, picture, suffix):
    photograph = save(tmp_path / f"a{suffix}", picture(24, 32), icc_profile=PROFILE)
    photographs.write(tmp_path / f"b{suffix}", photograph.pixels, photograph)
    again = Image.open(tmp_path / f"b{suffix}")
    assert "exif" not in again.info and again.info["icc_profile"] == PROFILE


def test_stripped_is_without_all_of_it(tmp_path, picture):
    photograph = save(
        tmp_path / "a.jpg", picture(24, 32), exif=exif().tobytes(), icc_profile=PROFILE
    )
    photographs.write(
        tmp_path / "b.jpg", photograph.pixels, dataclasses.replace(photograph, header=None)
    )
    again = Image.open(tmp_path / "b.jpg")
    assert not again.getexif() and "icc_profile" not in again.info


def test_palettes_and_cmyk_become_rgb(tmp_path, picture):
    array = picture(24, 32)
    indexed = Image.fromarray(array).quantize(16)
    indexed.save(tmp_path / "palette.png")
    expected = np.asarray(indexed.convert("RGB"))
    np.testing.assert_array_equal(photographs.read(tmp_path / "palette.png"), expected)
    Image.fromarray(array).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    again = photographs.read(tmp_path / "cmyk.jpg")
    assert again.shape == array.shape and np.abs(again.astype(int) - array).mean() < 40


def test_the_format_is_told_by_what_is_in_the_file(tmp_path, picture):
    Image.fromarray(picture(24, 32)).save(tmp_path / "photo.jpg", "PNG")
    photograph = photographs.open_photograph(tmp_path / "photo.jpg")
    np.testing.assert_array_equal(photograph.pixels, picture(24, 32))
    assert photograph.suffix == ".png"


def test_what_claims_too_much_or_moves_is_refused(tmp_path, picture):
    bomb = Image.new("1", (20_000, 10_000))
    bomb.save(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < 50_000
    with pytest.raises(UserError, match="20000x10000 pixels, more than 150 megapixels"):
        photographs.open_photograph(tmp_path / "bomb.png")
    frames = [Image.fromarray(picture(16, 16, seed)) for seed in range(3)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="3 pages or frames"):
        photographs.open_photograph(tmp_path / "moving.webp")


def test_damaged_files_end_in_a_picture_or_one_line(tmp_path, picture):
    rng = np.random.default_rng(0)
    whole = []
    for suffix in FORMATS + (".heic",) * bool(pillow_heif):
        path = tmp_path / f"whole{suffix}"
        Image.fromarray(picture(48, 64)).save(path, exif=exif().tobytes())
        whole.append(path.read_bytes())
    ends = {"picture": 0, "line": 0}
    for number in range(1000):
        data = bytearray(whole[number % len(whole)])
        kind = number // len(whole) % 3
        if kind == 0:  # bytes turned into others
            for place in rng.integers(0, len(data), rng.integers(1, 20)):
                data[place] = rng.integers(256)
        elif kind == 1:  # cut short
            del data[rng.integers(0, len(data)) :]
        else:  # a length in the header forged
            place = rng.integers(0, min(len(data), 200) - 4)
            data[place : place + 4] = rng.bytes(4)
        try:
            photograph = photographs.open_photograph(bytes(data), "damaged", megapixels=4)
            assert photograph.pixels.shape[-1] == 3
            photographs.encode(".tif", photograph.pixels, photograph)
            ends["picture"] += 1
        except UserError as error:
            assert "\n" not in str(error) and str(error).startswith("damaged: ")
            ends["line"] += 1
    assert ends["line"] > 300 and ends["picture"] > 50
