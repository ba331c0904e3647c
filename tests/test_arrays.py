import numpy as np
import pytest

from tf_deblur.pictures import arrays


def test_rounding_is_half_to_even_after_clipping():
    grey = np.float32([-1, 0, 0.5 / 255, 1.5 / 255, 2.5 / 255, 254.5 / 255, 1, 7])
    np.testing.assert_array_equal(arrays.to_uint8(grey), [0, 0, 0, 2, 2, 254, 255, 255])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_integer_survives_the_way_to_float_and_back(dtype):
    values = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    floats = arrays.to_float(values)
    assert floats.dtype == np.float32 and floats[0] == 0 and floats[-1] == 1
    np.testing.assert_array_equal(arrays.from_float(floats, dtype), values)


def test_other_integers_are_refused():
    with pytest.raises(ValueError, match="int64"):
        arrays.to_float(np.arange(3))
