import shutil

import numpy as np
import pytest

import tf_deblur
from tf_deblur import restorer
from tf_deblur.errors import UserError

FACTS = {"size_multiple": 8, "radius": 0, "channels": 3}


class Fake(restorer.Restorer):
    """A backend is one method: here any function of a batch."""

    def __init__(self, function):
        super().__init__("fake", FACTS)
        self.function = function

    def run(self, batch):
        self.batch = batch
        return self.function(batch)


@pytest.mark.parametrize("size", [(16, 24), (13, 21), (1, 1), (3, 40)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_a_network_that_changes_nothing_gives_the_same_picture_back(picture, size, dtype):
    image = picture(*size).astype(dtype)
    if np.issubdtype(dtype, np.floating):
        image = np.float32(image / 255).astype(dtype)
    again = Fake(lambda batch: batch)(image)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, image)


def test_the_network_sees_a_picture_mirrored_up_to_its_size_multiple(picture):
    fake = Fake(lambda batch: batch)
    image = picture(13, 21).astype(np.float32) / 255
    fake(image)
    assert fake.batch.shape == (1, 16, 24, 3)
    np.testing.assert_array_equal(fake.batch[0, :13, :21], image)
    np.testing.assert_array_equal(fake.batch[0, 13:, :21], image[[11, 10, 9]])  # row 12 is the edge
    np.testing.assert_array_equal(fake.batch[0, :13, 21:], image[:, [19, 18, 17]])


def test_a_result_outside_the_range_is_clipped(picture):
    image = np.float32(picture(8, 8) / 255)
    restored = Fake(lambda batch: 9 * batch - 4)(image)
    np.testing.assert_array_equal(restored, np.clip(9 * image - 4, 0, 1))


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (1, 8, 8, 3), (0, 8, 3)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="height, width, 3"):
        Fake(lambda batch: batch)(np.zeros(shape, np.uint8))


@pytest.fixture(scope="session")
def names(small_workdir, exported):
    """What a user may give to `load`, for each backend."""
    return {
        "keras": [small_workdir, small_workdir / "generator.safetensors"],
        "saved_model": [exported / "compact/1", exported / "compact"],
        "tflite": [exported / "compact.tflite"],
    }


@pytest.mark.parametrize("size", [(64, 96), (45, 77)])
def test_every_backend_gives_keras_picture(names, small_workdir, picture, size):
    from tf_deblur import networks, weights

    blurred = np.float32(picture(*size) / 255)
    keras = networks.restore(weights.load(small_workdir), blurred[None]).numpy()[0]
    assert np.abs(keras - blurred).mean() > 0.05  # these weights do something
    assert names.keys() == restorer.BACKENDS.keys()
    for backend in names:
        for name in names[backend]:
            restore = tf_deblur.load(name, precision="float32")
            assert type(restore) is restorer.BACKENDS[backend]
            assert (restore.size_multiple, restore.channels, restore.precision) == (8, 3, "float32")
            assert restore.radius == networks.receptive_radius(weights.load(small_workdir))
            assert np.abs(restore(blurred) - keras).max() < 1e-4, name


@pytest.mark.parametrize("backend", ["keras", "saved_model"])
def test_bfloat16_is_near_and_does_not_leak(names, picture, backend):
    import keras
    import tensorflow as tf

    blurred = np.float32(picture(64, 96) / 255)
    exact = tf_deblur.load(names[backend][0], precision="float32")
    rough = tf_deblur.load(names[backend][0], precision="bfloat16")
    before = exact(blurred)
    difference = np.abs(rough(blurred) - before)
    assert difference.max() < 0.1 and difference.mean() < 0.01
    if restorer.devices.choose_precision("auto")[0] == "bfloat16":
        assert difference.max() > 0  # the graph was rewritten
    np.testing.assert_array_equal(exact(blurred), before)
    assert keras.mixed_precision.global_policy().name == "float32"
    options = tf.config.optimizer.get_experimental_options()
    assert not options.get(restorer.devices.BFLOAT16_GRAPHS)


def test_a_users_own_policy_changes_nothing(small_workdir, picture):
    import keras

    blurred = picture(32, 32)
    expected = tf_deblur.load(small_workdir, precision="float32")(blurred)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        restored = tf_deblur.load(small_workdir, precision="float32")(blurred)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_array_equal(restored, expected)


def test_auto_says_what_it_chose_and_why(small_workdir):
    restore = tf_deblur.load(small_workdir)
    assert restore.precision in ("float32", "bfloat16")
    assert restore.device in str(restore) and restore.precision in str(restore)


def test_what_cannot_be_loaded_is_named_in_one_line(tmp_path, exported):
    copy = tmp_path / "compact.tflite"
    copy.write_bytes((exported / "compact.tflite").read_bytes())
    (tmp_path / "cut.tflite").write_bytes(copy.read_bytes()[:10_000])
    (tmp_path / "cut.json").write_text((exported / "compact.json").read_text())
    cut = tmp_path / "cut/1"
    shutil.copytree(exported / "compact/1", cut)
    variables = cut / "variables/variables.data-00000-of-00001"
    variables.write_bytes(variables.read_bytes()[:10_000])
    broken = tmp_path / "broken/1"
    (broken / "assets.extra").mkdir(parents=True)
    (broken / "saved_model.pb").write_text("not a network")
    (broken / "assets.extra/model.json").write_text((exported / "compact.json").read_text())
    wrong = {
        "nothing": "no such model",
        tmp_path: "generator.safetensors",
        tmp_path / "missing.tflite": "no such file",
        copy: "compact.json",
        tmp_path / "cut.tflite": "damaged",
        tmp_path / "cut": "damaged",
        tmp_path / "broken": "damaged",
    }
    for name, message in wrong.items():
        with pytest.raises(UserError, match=message) as raised:
            tf_deblur.load(name)
        assert str(tmp_path) in str(raised.value) or name == "nothing"
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="float8"):
        tf_deblur.load(exported / "compact", precision="float8")
