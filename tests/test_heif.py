"""HEIC and AVIF: their bits, tiles, gain maps, and colours that no profile tells."""

import io
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from tf_deblur.errors import UserError
from tf_deblur.pictures import heif, photographs

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
except ImportError:
    pillow_heif = None

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
wants_heif = pytest.mark.skipif(not pillow_heif, reason="pillow-heif is not installed")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_are_12_in_avif(tmp_path, channels):
    import pyvips

    array = np.arange(65536).astype(np.uint16).reshape(256, 256, 1)
    array = np.dstack([array, array[::-1], array.transpose(1, 0, 2), array])[..., :channels]
    kind = "grey16" if channels < 3 else "rgb16"
    deep = pyvips.Image.new_from_array(array).copy(interpretation=kind)
    deep.write_to_file(str(tmp_path / "a.png"))
    photograph = photographs.open_photograph(tmp_path / "a.png")
    assert photographs.describe_losses(".avif", photograph) == "in 12 bits"
    photographs.write(tmp_path / "b.avif", photograph.pixels, photograph, quality=100)
    # libvips gives 12 bits as the upper ones of 16
    written = pyvips.Image.new_from_file(str(tmp_path / "b.avif"))
    assert written.get("bits-per-sample") == 12
    expected = np.rint(photograph.pixels / 65535 * 4095)
    np.testing.assert_allclose(written.numpy()[..., :3] >> 4, expected, atol=2)
    again = photographs.open_photograph(tmp_path / "b.avif")
    np.testing.assert_allclose(again.pixels, photograph.pixels.astype(int), atol=2.5 * 16)
    if channels in (2, 4):
        np.testing.assert_allclose(again.alpha, photograph.alpha.astype(int), atol=8)  # lossless


@pytest.mark.parametrize("bits", [10, 12])
def test_an_avif_of_10_or_12_bits_loses_none_in_another(tmp_path, bits):
    import pyvips

    levels = np.arange(2**bits).reshape(32, -1, 1).repeat(3, -1)
    array = np.rint(levels * 65535 / (2**bits - 1)).astype(np.uint16)
    shifted = (levels << (16 - bits)).astype(np.uint16)  # as libvips wants them
    deep = pyvips.Image.new_from_array(shifted).copy(interpretation="rgb16")
    deep.write_to_file(str(tmp_path / "a.avif"), bitdepth=bits, lossless=True)
    photograph = photographs.open_photograph(tmp_path / "a.avif")
    np.testing.assert_array_equal(photograph.pixels, array)
    assert photographs.describe_losses(".avif", photograph) == ""
    assert photographs.describe_losses(".jpg", photograph) == "in 8 bits"


@pytest.mark.parametrize("convert", [heif.from_upper_bits, heif.to_upper_bits])
def test_bits_are_changed_without_memory_for_wider_numbers(convert):
    array = np.full((1000, 200, 3), 65535, np.uint16)
    tracemalloc.start()
    made = convert(array, 10)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made.max() == made.min() == {"from": 65535, "to_u": 1023 << 6}[convert.__name__[:4]]
    assert peak < 3 * array.nbytes  # those of 64 bits alone would be 4


@pytest.mark.parametrize("bits", [10, 12])
def test_white_of_a_deep_avif_is_that_of_16_bits(tmp_path, bits):
    import pyvips

    array = np.repeat(np.uint16([0, 65535]), 32 * 64 * 3).reshape(64, 64, 3)
    deep = pyvips.Image.new_from_array(array).copy(interpretation="rgb16")
    deep.write_to_file(str(tmp_path / "a.avif"), bitdepth=bits, lossless=True)
    np.testing.assert_array_equal(photographs.read(tmp_path / "a.avif"), array)


@wants_heif
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_heic_has_its_pixels_and_becomes_a_jpeg(tmp_path, picture, mode):
    array = np.asarray(Image.fromarray(picture(24, 32)).convert(mode))
    Image.fromarray(array).save(tmp_path / "a.heic", **LOSSLESS)
    photograph = photographs.open_photograph(tmp_path / "a.heic")
    assert photograph.suffix == ".jpg" and photograph.grey == (mode == "L")
    color = array if mode == "L" else array[..., :3]
    pixels = photograph.pixels[..., 0] if mode == "L" else photograph.pixels
    np.testing.assert_array_equal(pixels, color)
    if mode == "RGBA":
        np.testing.assert_array_equal(photograph.alpha, array[..., 3])


@wants_heif
@pytest.mark.parametrize("bits", [10, 12])
def test_white_and_black_of_a_deep_heic_are_those_of_16_bits(tmp_path, bits):
    array = np.repeat(np.uint16([0, 65535]), 32 * 64 * 3).reshape(64, 64, 3)
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    pillow_heif.encode("RGB;16", (64, 64), array.tobytes(), tmp_path / "a.heic", **LOSSLESS)
    pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    assert pillow_heif.open_heif(tmp_path / "a.heic").info["bit_depth"] == bits
    np.testing.assert_array_equal(photographs.read(tmp_path / "a.heic"), array)


@wants_heif
def test_a_heic_of_many_tiles_is_read(tmp_path, picture):
    path, array = tmp_path / "a.heic", picture(1024, 1088)  # 16 by 17 tiles
    pillow_heif.from_pillow(Image.fromarray(array)).save(path, tile_size=64, **LOSSLESS)
    with pytest.raises(UserError, match="1088x1024 pixels, more than 1 megapixels"):
        photographs.open_photograph(path, megapixels=1)
    for source in (path, path.read_bytes()):
        np.testing.assert_array_equal(photographs.open_photograph(source).pixels, array)


@wants_heif
def test_a_heics_gain_map_is_told(tmp_path, picture):
    array = np.asarray(Image.fromarray(picture(64, 64)).convert("RGBA"))
    data = io.BytesIO()
    Image.fromarray(array).save(data, "HEIF")
    kinds = b"urn:mpeg:hevc:2015:auxid:1", b"urn:com:a:photo:hdrgainmap"  # as long: no size changes
    assert len(kinds[0]) == len(kinds[1]) and data.getvalue().count(kinds[0]) == 1
    photograph = photographs.open_photograph(data.getvalue().replace(*kinds), "gain map")
    assert photographs.describe_losses(".jpg", photograph) == "without its gain map"
    assert "gain map" not in photographs.describe_losses(
        ".jpg", photographs.open_photograph(data.getvalue(), "plain")
    )


# (primaries, transfer) by ITU-T H.273
SAME_AS_SRGB = [(1, 13), (2, 2), (1, 1)]
OTHERS = {"PQ": (9, 16), "HLG": (9, 18), "Display P3": (12, 13), "linear": (1, 8)}


@wants_heif
@pytest.mark.parametrize("numbers", [*SAME_AS_SRGB, *OTHERS.values()])
@pytest.mark.parametrize("profile", [None, PROFILE])
def test_colours_of_hdr_without_a_profile_are_told(tmp_path, picture, numbers, profile):
    names = {"color_primaries": numbers[0], "transfer_characteristics": numbers[1]}
    picture = pillow_heif.from_pillow(Image.fromarray(picture(64, 64)))
    picture.info["icc_profile"] = profile
    picture.save(tmp_path / "a.heic", matrix_coefficients=1, full_range_flag=1, **names)
    told = photographs.describe_losses(".jpg", photographs.open_photograph(tmp_path / "a.heic"))
    odd = numbers in OTHERS.values() and not profile
    assert told == ("its HDR or wide colours taken for sRGB" if odd else "")


@wants_heif
def test_a_heic_is_refused_in_one_line(tmp_path, picture, monkeypatch):
    path = tmp_path / "photo.heic"
    Image.fromarray(picture(24, 32)).save(path)
    assert photographs.count_pixels(path) == 24 * 32
    with pytest.raises(UserError, match="32x24 pixels, more than 0.0001 megapixels"):
        photographs.open_photograph(path, megapixels=1e-4)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UserError, match=r"photo.heic: HEIC .* pip install 'tf-deblur\[heif\]'$"):
        photographs.open_photograph(path)


@wants_heif
@pytest.mark.parametrize("count, words", [(2, "second picture"), (4, "3 other pictures")])
def test_of_several_pictures_the_primary_one_is_restored(picture, count, words):
    pictures = [Image.fromarray(picture(64, 96, seed)) for seed in range(count)]
    kind = pillow_heif.HeifFile()
    for one in pictures:
        kind.add_from_pillow(one)
    data = io.BytesIO()
    kind.save(data, primary_index=1, **LOSSLESS)
    photograph = photographs.open_photograph(data.getvalue())
    np.testing.assert_array_equal(photograph.pixels, picture(64, 96, 1))
    told = photographs.describe_losses(".png", photograph)
    assert told == f"without the {words} behind it"


@wants_heif
@pytest.mark.parametrize("wrapped", [True, False])
def test_the_film_of_a_motion_photograph_is_told(tmp_path, picture, wrapped):
    Image.fromarray(picture(64, 96)).save(tmp_path / "a.heic", **LOSSLESS)
    film = b"\0\0\0\x14ftypmp42\0\0\0\0isom" + b"\0\0\0\x10moov" + bytes(8)
    more = (len(film) + 8).to_bytes(4, "big") + b"mpvd" + film if wrapped else film
    photograph = photographs.open_photograph((tmp_path / "a.heic").read_bytes() + more)
    np.testing.assert_array_equal(photograph.pixels, picture(64, 96))
    assert photographs.describe_losses(".jpg", photograph) == "without the film behind it"


@pytest.mark.skipif(not features.check("avif"), reason="Pillow is without AVIF")
def test_an_animated_avif_is_not_supported(picture):
    frames, data = [Image.fromarray(picture(32, 32, seed)) for seed in range(3)], io.BytesIO()
    frames[0].save(data, "AVIF", save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match="an animation; one picture a file"):
        photographs.open_photograph(data.getvalue())


@pytest.mark.skipif(not features.check("avif"), reason="Pillow is without AVIF")
@pytest.mark.parametrize("levels", ["full", "limited"])
@pytest.mark.parametrize("sides", ["4:0:0", "4:2:0"])
@pytest.mark.parametrize("mode", ["L", "LA"])
@pytest.mark.parametrize("told", [True, False])
def test_grey_is_over_the_full_range(levels, sides, mode, told):
    ramp, data = np.tile(np.arange(256, dtype=np.uint8), (64, 1)), io.BytesIO()
    Image.fromarray(ramp).convert(mode).save(
        data, "AVIF", quality=100, range=levels, subsampling=sides
    )
    if not told:  # in the file, but in the picture's own header
        data = io.BytesIO(data.getvalue().replace(b"colrnclx", b"skipnclx"))
    photograph = photographs.open_photograph(data.getvalue())
    expected = np.asarray(Image.open(data).convert("RGB")).astype(int)  # by libavif
    assert np.abs(photograph.pixels - expected).max() <= 1
    assert photograph.grey == (sides == "4:0:0")


@pytest.mark.skipif(not features.check("avif"), reason="Pillow is without AVIF")
@pytest.mark.parametrize("other", [b"av1C\x81\0\x1c\0", b"colrnclx\0\x09\0\x10\0\x09\0"])
def test_properties_of_other_images_are_not_the_primary_ones(picture, other):
    data = io.BytesIO()
    Image.fromarray(picture(64, 96)).convert("RGBA").save(data, "AVIF", quality=100)
    before = photographs.open_photograph(data.getvalue())
    changed = put_first(data.getvalue(), other)
    shown = np.asarray(Image.open(io.BytesIO(changed)).convert("RGB"))
    np.testing.assert_array_equal(shown, Image.open(data).convert("RGB"))  # by libavif
    photograph = photographs.open_photograph(changed)
    assert not photograph.grey and not photograph.other_colours
    np.testing.assert_array_equal(photograph.pixels, before.pixels)


def put_first(data, content):
    """An AVIF with another property before the others, which belongs to no image."""
    box = (len(content) + 4).to_bytes(4, "big") + content
    changed = bytearray(data)
    place = data.index(b"ipco")
    changed[place + 4 : place + 4] = box
    for name in (b"meta", b"iprp", b"ipco"):
        at = data.index(name) - 4
        changed[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + len(box)).to_bytes(
            4, "big"
        )
    at = changed.index(b"ipma")
    at += 12
    for _ in range(int.from_bytes(changed[at - 4 : at], "big")):  # numbers count from 1
        for number in range(at + 3, at + 3 + changed[at + 2]):
            changed[number] += 1
        at += 3 + changed[at + 2]
    at = changed.index(b"iloc") + 12  # where pixels lie
    for entry in range(at, at + 14 * int.from_bytes(changed[at - 2 : at], "big"), 14):
        start = int.from_bytes(changed[entry + 6 : entry + 10], "big") + len(box)
        changed[entry + 6 : entry + 10] = start.to_bytes(4, "big")
    return bytes(changed)


@pytest.mark.parametrize("bits", [10, 12])
def test_deep_grey_of_limited_range_is_over_all_16_bits(bits):
    levels = np.uint16([[[16], [125], [235]]]) << (bits - 8)
    wide = heif.spread_over_16_bits(levels, bits)
    data = b"colrnclx" + bytes([0, 1, 0, 13, 0, 6, 0])
    expected = [0, 109 / 219 * 65535, 65535]
    np.testing.assert_allclose(heif._widen(wide, bits, data)[0, :, 0], expected, atol=2)


@pytest.mark.parametrize("brand", [b"mif1", b"miaf", b"MA1B", b"msf1", b"heic"])
def test_an_avif_is_one_by_its_codec_whatever_its_main_brand(picture, brand):
    data = photographs.encode(".avif", picture(32, 40))
    expected = photographs.open_photograph(data)
    found = photographs.open_photograph(data[:8] + brand + data[12:])
    assert found.suffix == ".avif"
    np.testing.assert_array_equal(found.pixels, expected.pixels)
