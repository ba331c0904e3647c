"""Tables 1 and 2, and what DESIGN.md's U-shape amounts to."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tf_deblur.errors import UserError
from tf_deblur.models import generators, networks

WEIGHTS = {
    "paper": 3_903_299,  # Table 1: 4,864 + 19 * 2 * 102,464 + 4,803
    "compact": 2_820_204,
}
RADIUS = {
    "paper": 80,  # 40 convolutions, 2 pixels each
    # On the half-size map 4 + 4 + 2 convolutions of 2 pixels, 4 + 4 of 4, 16 of 8, and the
    # offsets inside a block when coming up: 4 + 2 + 1.
    "compact": 10 * 2 + 8 * 4 + 16 * 8 + 7,
}
MULTIPLE = {"paper": 1, "compact": 8}
SMALL = {"filters": (8, 8, 8), "down": (1, 1), "middle": 1, "up": (1, 1)}


def test_every_preset_has_its_weight_count():
    counts = {name: networks.build_generator(name).count_params() for name in generators.PRESETS}
    assert counts == WEIGHTS


@pytest.mark.parametrize("preset", generators.PRESETS)
def test_radius_and_size_multiple_follow_from_the_layers(preset):
    model = networks.build_generator(preset)
    assert networks.compute_radius(model) == RADIUS[preset]
    assert networks.compute_size_multiple(model) == MULTIPLE[preset]


@pytest.mark.parametrize(
    "preset, arguments",
    [("paper", {"filters": 4, "blocks": 1, "output_activation": "linear"}), ("compact", SMALL)],
)
def test_the_gradient_reaches_exactly_as_far_as_the_radius(preset, arguments):
    model = networks.build_generator(preset, **arguments)
    for layer in model.layers:  # weights that reach every corner: all of them positive
        layer.set_weights([np.abs(w) + 0.1 for w in layer.get_weights()])
    radius, multiple = networks.compute_radius(model), networks.compute_size_multiple(model)
    side = -(-(2 * radius + 2 * multiple) // multiple) * multiple
    image = tf.ones((1, side, side, 3))
    farthest = 0
    for offset in range(multiple):
        at = side // 2 // multiple * multiple + offset
        with tf.GradientTape() as tape:
            tape.watch(image)
            pixel = tf.reduce_sum(model(image)[0, at, at])
        seen = np.flatnonzero(np.abs(tape.gradient(pixel, image)[0]).sum((1, 2)))
        farthest = max(farthest, at - seen[0], seen[-1] - at)
    assert farthest == radius


def test_table_1_layer_by_layer():
    model = networks.build_generator("paper")
    kernels = [layer.kernel.shape for layer in model.layers if hasattr(layer, "kernel")]
    assert kernels == [(5, 5, 3, 64)] + 38 * [(5, 5, 64, 64)] + [(5, 5, 64, 3)]
    assert model.get_layer("tail").activation.__name__ == "relu"
    assert model.get_layer("block0_conv0").activation.__name__ == "relu"
    assert model.get_layer("block0_conv1").activation.__name__ == "linear"


def test_table_2_layer_by_layer():
    model = networks.build_discriminator(128)
    shapes = [tuple(x.output.shape[1:]) for x in model.layers if "conv" in x.name]
    assert shapes == [
        *[(128, 128, 32), (64, 64, 32), (64, 64, 64), (32, 32, 64), (32, 32, 128)],
        *[(16, 16, 128), (16, 16, 256), (8, 8, 256), (8, 8, 512), (4, 4, 512)],
    ]
    assert model.get_layer("flatten").output.shape[-1] == 8192
    assert model.get_layer("dense").output.shape[-1] == 1024
    assert model.count_params() == 13_102_881


@pytest.mark.parametrize("size", [8, 16, 64, 256])
def test_every_patch_size_ends_in_a_4_by_4_map(size):
    model = networks.build_discriminator(size)
    assert model.get_layer("flatten").output.shape[-1] == 4 * 4 * 512
    assert np.all(np.abs(model(np.ones((1, size, size, 3), "float32")) - 0.5) <= 0.5)


def test_a_narrower_discriminator_keeps_table_2s_ratios():
    model = networks.build_discriminator(32, filters=64)
    stages = [model.get_layer(f"stage{stage}_conv1").output.shape[1:] for stage in range(3)]
    assert [tuple(shape) for shape in stages] == [(16, 16, 32), (8, 8, 32), (4, 4, 64)]
    assert model.get_layer("dense").output.shape[-1] == 128


@pytest.mark.parametrize("size", [4, 100])
def test_other_patch_sizes_are_refused(size):
    with pytest.raises(UserError, match=f"patch size {size}"):
        networks.build_discriminator(size)


def test_the_logit_is_the_probability_before_its_sigmoid():
    discriminator = networks.build_discriminator(8)
    patch = np.random.default_rng(0).random((3, 8, 8, 3), "float32")
    logit = np.asarray(networks.cut_at_logit(discriminator)(patch))
    np.testing.assert_allclose(discriminator(patch), 1 / (1 + np.exp(-logit)), rtol=1e-5)


def test_an_untrained_compact_is_close_to_the_identity():
    blurred = np.random.default_rng(0).random((1, 32, 32, 3), "float32")
    restored = networks.build_generator("compact")(blurred)
    assert np.abs(restored - blurred).max() < 0.1


@pytest.mark.parametrize("height, width", [(1, 1), (7, 30), (16, 24), (33, 17)])
def test_any_size_in_same_size_out(height, width):
    model = networks.build_generator("compact", **SMALL)
    blurred = np.random.default_rng(0).random((2, height, width, 3), "float32")
    assert networks.restore(model, blurred).shape == (2, height, width, 3)


def test_a_generator_says_what_it_is():
    kind = json.loads(networks.build_generator("paper", blocks=2, filters=4).description)
    assert kind == {"preset": "paper", "arguments": {"blocks": 2, "filters": 4}}
    with pytest.raises(UserError, match="colour"):
        networks.build_generator("paper", colour=1)
    with pytest.raises(UserError, match="sigmoid: no such activation"):
        networks.build_generator("paper", output_activation="sigmoid")
    with pytest.raises(UserError, match="use one of paper, compact"):
        networks.build_generator("unet")
