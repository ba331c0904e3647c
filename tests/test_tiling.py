import cv2
import numpy as np
import pytest

from tf_deblur.restoring import tiling


def box(image, radius):
    """A mean over (2 radius + 1)², zeros beyond the border: as a network of that radius pads."""
    side = 2 * radius + 1
    return cv2.boxFilter(
        image, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
    ).reshape(image.shape)


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("most_pixels", [2_000, 5_000, 20_000, 10**9])
def test_tiles_join_to_exactly_the_whole_image(multiple, most_pixels):
    image = np.random.default_rng(0).integers(0, 9, (136, 72, 3)).astype("float64")  # sums exact
    tiles = tiling.plan(136, 72, radius=13, multiple=multiple, most_pixels=most_pixels)
    joined = tiling.apply(lambda tile: box(tile, 13), image, tiles)
    np.testing.assert_array_equal(joined, box(image, 13))
    assert tiles.largest <= most_pixels


@pytest.mark.parametrize("tile", [(64, 64), (40, 72), (136, 48), (136, 72)])
def test_tiles_of_one_size_join_to_exactly_the_whole_image(tile):
    image = np.random.default_rng(0).integers(0, 9, (136, 72, 3)).astype("float64")
    tiles = tiling.EqualTiles(136, 72, tile, margin=16)
    seen = np.zeros((136, 72), int)
    for kept, cut in tiles:
        seen[kept] += 1
        assert image[cut].shape[:2] == tile
        assert all(s.start % 8 == 0 for s in cut)
    assert (seen == 1).all() and len(tiles) == len(list(tiles))
    joined = tiling.apply(lambda tile: box(tile, 13), image, tiles)
    np.testing.assert_array_equal(joined, box(image, 13))


def test_a_picture_of_one_tile_needs_no_margin_and_others_do():
    assert len(tiling.EqualTiles(24, 32, (24, 32), margin=16)) == 1
    for height, width in [(24, 40), (16, 32), (24, 24)]:
        with pytest.raises(ValueError, match="margins 16"):
            tiling.EqualTiles(height, width, (24, 32), margin=16)


@pytest.mark.parametrize(
    "tiles",
    [
        tiling.Tiles(64, 64, core=(32, 32), margin=12),
        tiling.EqualTiles(64, 64, (40, 40), margin=12),
    ],
)
def test_a_margin_that_is_a_pixel_short_shows(tiles):
    image = np.random.default_rng(0).integers(0, 9, (64, 64, 3)).astype("float64")
    joined = tiling.apply(lambda tile: box(tile, 13), image, tiles)
    assert not np.array_equal(joined, box(image, 13))


def test_every_pixel_is_kept_once_and_cuts_fall_on_the_grid():
    tiles = tiling.plan(800, 1208, radius=20, multiple=8, most_pixels=60_000)
    seen = np.zeros((800, 1208), int)
    for kept, cut in tiles:
        seen[kept] += 1
        assert all(s.start % 8 == 0 and s.stop % 8 == 0 for s in (*kept, *cut))
        assert all(k.start - c.start in (0, 24) for k, c in zip(kept, cut))  # 20, rounded up
    assert (seen == 1).all() and len(tiles) == len(list(tiles)) > 1


def test_the_plan_computes_what_its_tiles_have():
    tiles = tiling.plan(800, 1208, radius=20, multiple=8, most_pixels=60_000)
    areas = [np.empty((800, 1208))[cut].size for _, cut in tiles]
    assert (sum(areas), max(areas)) == (tiles.pixels, tiles.largest)


def test_a_strip_as_wide_as_the_picture_wins_where_it_fits():
    tiles = tiling.plan(4000, 400, radius=10, multiple=1, most_pixels=400_000)
    assert tiles.core[1] == 400 and tiles.core[0] < 4000


def test_a_picture_that_fits_is_one_tile():
    tiles = tiling.plan(720, 1280, radius=187, multiple=8, most_pixels=720 * 1280)
    assert len(tiles) == 1 and tiles.pixels == 720 * 1280


def test_progress_adds_up_to_the_picture():
    done = []
    tiles = tiling.Tiles(50, 70, core=(16, 32), margin=4)
    tiling.apply(lambda tile: tile, np.zeros((50, 70, 3)), tiles, done.append)
    assert sum(done) == 50 * 70 and len(done) == len(tiles)


def test_too_little_for_any_tile_is_refused():
    with pytest.raises(ValueError, match="too few for a tile with a margin of 192"):
        tiling.plan(4000, 4000, radius=187, multiple=8, most_pixels=300 * 300)
