"""BMP files packed by hand, whose pixels follow from their bytes."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tf_deblur.errors import UserError
from tf_deblur.pictures import photographs

RLE8, RLE4, FIELDS = 1, 2, 3
ROWS = bytes([1, 2, 3, 4, 5, 6, 0, 0]), bytes([7, 8, 9, 10, 11, 12, 0, 0])  # blue, green, red
FIRST, SECOND = [[3, 2, 1], [6, 5, 4]], [[9, 8, 7], [12, 11, 10]]
MASKS = struct.pack("<LLLL", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
PALETTE = bytes(v for i in range(256) for v in (i, (i + 1) % 256, (i + 2) % 256, 0))


def bmp(width, height, bits, data, how=0, palette=b"", header=40, more=b""):
    """`more` is the rest of a longer header, or the masks behind one of 40 bytes."""
    body = struct.pack("<LllHHLLllLL", header, width, height, 1, bits, how, len(data), 11811, 11811,
                       len(palette) // 4, 0)  # fmt: skip
    body += more.ljust(max(header - 40, 0), b"\0")
    start = 14 + len(body) + len(palette)
    return b"BM" + struct.pack("<LHHL", start + len(data), 0, 0, start) + body + palette + data


def colours(*indices):
    return [[i + 2, i + 1, i] for i in indices]


WORDS = struct.pack("<HH", 0x7C00, 0x001F), struct.pack("<HH", 0xF800, 0x07E0)
KINDS = {
    "24 bits, from the bottom": (bmp(2, 2, 24, b"".join(ROWS)), [SECOND, FIRST]),
    "24 bits, from the top": (bmp(2, -2, 24, b"".join(ROWS)), [FIRST, SECOND]),
    "1 bit": (bmp(2, 1, 1, b"\x40\0\0\0", palette=PALETTE[:8]), [colours(0, 1)]),
    "4 bits": (bmp(3, 1, 4, b"\x1f\x20\0\0", palette=PALETTE[:64]), [colours(1, 15, 2)]),
    "8 bits": (bmp(2, 1, 8, b"\x07\xc8\0\0", palette=PALETTE), [colours(7, 200)]),
    "8 bits in runs": (
        bmp(4, 2, 8, bytes([3, 7, 1, 9, 0, 0, 0, 4, 1, 2, 3, 4, 0, 1]), RLE8, PALETTE),
        [colours(1, 2, 3, 4), colours(7, 7, 7, 9)],
    ),
    "4 bits in runs": (
        bmp(4, 1, 4, bytes([3, 0x12, 1, 0x30, 0, 0, 0, 1]), RLE4, PALETTE[:64]),
        [colours(1, 2, 1, 3)],
    ),
    "16 bits": (bmp(2, 1, 16, WORDS[0]), [[[255, 0, 0], [0, 0, 255]]]),
    "16 bits, fields": (
        bmp(2, 1, 16, WORDS[1], FIELDS, more=struct.pack("<LLL", 0xF800, 0x7E0, 0x1F)),
        [[[255, 0, 0], [0, 255, 0]]],
    ),
    "32 bits": (bmp(1, 1, 32, bytes([1, 2, 3, 0])), [[[3, 2, 1]]]),
    "32 bits, fields": (
        bmp(1, 1, 32, bytes([1, 2, 3, 0]), FIELDS, more=MASKS[:12]),
        [[[3, 2, 1]]],
    ),
    "V5 without alpha": (
        bmp(1, 1, 32, bytes([1, 2, 3, 0]), FIELDS, header=124, more=MASKS[:12]),
        [[[3, 2, 1]]],
    ),
    "V4, alpha": (
        bmp(1, 1, 32, bytes([1, 2, 3, 99]), FIELDS, header=108, more=MASKS),
        [[[3, 2, 1, 99]]],
    ),
    "V5, alpha": (
        bmp(1, 1, 32, bytes([1, 2, 3, 99]), FIELDS, header=124, more=MASKS),
        [[[3, 2, 1, 99]]],
    ),
    "OS/2": (
        b"BM" + struct.pack("<LHHLLHHHH", 34, 0, 0, 26, 12, 2, 1, 1, 24) + ROWS[0],
        [FIRST],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bmp_has_its_pixels(tmp_path, kind):
    data, expected = KINDS[kind]
    expected = np.array(expected)
    (tmp_path / "a.bmp").write_bytes(data)
    for source in (data, tmp_path / "a.bmp"):
        photograph = photographs.open_photograph(source)
        np.testing.assert_array_equal(photograph.pixels, expected[..., :3])
        assert photograph.suffix == ".png" and not photograph.grey
        if expected.shape[-1] == 4:
            np.testing.assert_array_equal(photograph.alpha, expected[..., 3])
        else:
            assert photograph.alpha is None
    assert photographs.count_pixels(tmp_path / "a.bmp") == expected[..., 0].size


def test_a_grey_bmp_is_grey_and_keeps_its_resolution():
    greys = bytes(v for i in range(256) for v in (i, i, i, 0))
    photograph = photographs.open_photograph(bmp(2, 1, 8, b"\x07\xfa\0\0", palette=greys))
    assert photograph.grey and photograph.pixels[0, :, 0].tolist() == [7, 250]
    made = photographs.encode(".png", photograph.pixels, photograph)
    assert Image.open(io.BytesIO(made)).info["dpi"] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize(
    "data, reason",
    [
        (bmp(2, 2, 24, b"".join(ROWS))[:-6], "BMP data is cut short"),
        (bmp(2, 2, 24, b"".join(ROWS))[:20], "BMP data is cut short"),
        (bmp(2, 1, 2, b"\x70\0\0\0", palette=PALETTE[:16]), "pixel depth"),
        (bmp(100_000, 100_000, 24, ROWS[0]), "100000x100000 pixels, more than 150 megapixels"),
    ],
)
def test_a_bmp_that_is_not_read_is_one_line(data, reason):
    with pytest.raises(UserError, match=reason) as raised:
        photographs.open_photograph(data, "a.bmp")
    assert str(raised.value).startswith("a.bmp: ") and "\n" not in str(raised.value)
