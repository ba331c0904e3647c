"""The training step does what the paper says, to the networks it says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_deblur.models import gan, networks

SMALL = {"filters": 8, "blocks": 1, "kernel": 3, "output_activation": "linear"}
RNG = np.random.default_rng(0)
BATCH = tuple(RNG.random((2, 4, 8, 8, 3), "float32"))


def small_gan(adversarial_weight=1e-4, rates=(1e-3, 1e-3), decay=0.0, faster=None, **options):
    keras.utils.set_random_seed(1)
    generator, average = (networks.build_generator("paper", **SMALL) for _ in range(2))
    discriminator = networks.cut_at_logit(networks.build_discriminator(8, filters=32))
    model = gan.DeblurGAN(generator, discriminator, average, average_decay=decay, **(faster or {}))
    optimizers = [keras.optimizers.SGD(rate) for rate in rates]
    model.compile(*optimizers, adversarial_weight=adversarial_weight, **options)
    return model


def values(network):
    return [np.array(w) for w in network.get_weights()]


def differ(before, after):
    return any(not np.array_equal(a, b) for a, b in zip(before, after))


def step(model, batch=BATCH):
    return {name: float(x) for name, x in model.train_step(tuple(map(tf.constant, batch))).items()}


def test_a_step_updates_both_networks_and_counts():
    model = small_gan()
    before = values(model.generator), values(model.discriminator)
    scalars = step(model)
    assert differ(before[0], values(model.generator)) and differ(
        before[1], values(model.discriminator)
    )
    assert int(model.step) == 1
    assert {"loss", "content", "adversarial", "discriminator", "d_sharp", "d_restored"} <= set(
        scalars
    )


def test_gs_update_leaves_d_and_ds_leaves_g():
    only_g, only_d = small_gan(rates=(1e-3, 0.0)), small_gan(rates=(0.0, 1e-3))
    before = values(only_g.discriminator), values(only_d.generator)
    step(only_g), step(only_d)
    assert not differ(before[0], values(only_g.discriminator))
    assert not differ(before[1], values(only_d.generator))


def test_without_content_gs_gradient_comes_from_d_alone_and_is_not_zero():
    model = small_gan(adversarial_weight=1.0, content_weight=0.0)
    before = values(model.generator)
    step(model)
    assert differ(before, values(model.generator))


def test_a_content_phase_neither_runs_nor_trains_d():
    model = small_gan(adversarial_weight=0.0)
    before = values(model.discriminator)
    scalars = step(model)
    assert not differ(before, values(model.discriminator)) and "discriminator" not in scalars


def test_while_g_is_frozen_d_alone_learns():
    model = small_gan(freeze_generator=True)
    before = values(model.generator), values(model.discriminator)
    step(model)
    assert not differ(before[0], values(model.generator))
    assert differ(before[1], values(model.discriminator)) and int(model.step) == 1


class Eye:
    """In the discriminator's place: keeps what it is shown, and learns nothing."""

    def __init__(self):
        self.seen, self.trainable_variables = [], [tf.Variable(1.0)]

    def __call__(self, pictures, training):
        self.seen.append(pictures.numpy())
        return self.trainable_variables[0] * tf.reduce_mean(pictures, (1, 2, 3))[:, None]


def test_all_that_d_sees_has_noise_of_its_own_and_again_when_the_step_is_run_again():
    grey = np.full((4, 32, 32, 3), 0.5, "float32")
    model = small_gan(rates=(0.0, 0.0), discriminator_noise=0.3, discriminator_steps=2)
    for layer in model.generator.layers:  # restores nothing: what it is given is what D sees
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    model.discriminator = eye = Eye()
    for start in (0, 0, 1):
        model.step.assign(start)
        step(model, (grey, grey))
    seen = np.array([pictures.ravel() for pictures in eye.seen])
    assert len(seen) == 3 * (1 + 2 * 2)
    np.testing.assert_allclose(seen.std(1), 0.3, rtol=0.03)
    np.testing.assert_array_equal(seen[:5], seen[5:10])
    alike = np.abs(np.corrcoef(seen[5:])) - np.eye(10)
    assert alike.max() < 0.05


def test_gs_step_is_gradient_descent_on_the_sum_of_its_losses():
    model = small_gan(adversarial_weight=0.5, rates=(0.01, 0.0), spectral_weight=10)
    blurred, sharp = BATCH
    bias = model.generator.get_layer("tail").bias

    def loss():  # by hand, in NumPy, from the networks' outputs
        restored = np.asarray(model.generator(blurred), "float64")
        logits = np.asarray(model.discriminator(restored.astype("float32")), "float64")
        waves = np.fft.rfft2(restored - sharp, axes=(1, 2), norm="ortho")
        spectral = np.mean([np.abs(waves.real), np.abs(waves.imag)])
        adversarial = np.log2(1 + np.exp(-logits)).mean()
        return ((restored - sharp) ** 2).mean() + 10 * spectral + 0.5 * adversarial

    start, nudge = bias.numpy(), 1e-3
    slopes = []
    for channel in range(3):
        losses = []
        for sign in (1, -1):
            bias.assign(start + sign * nudge * np.eye(3, dtype="float32")[channel])
            losses.append(loss())
        slopes.append((losses[0] - losses[1]) / (2 * nudge))
    bias.assign(start)
    step(model)
    np.testing.assert_allclose((start - bias.numpy()) / 0.01, slopes, rtol=0.05, atol=1e-3)


@pytest.mark.parametrize("faster", [{"recompute": True}, {"jit_compile": True}])
def test_recomputed_or_compiled_a_step_is_the_same(faster):
    plain, other = small_gan(0.1), small_gan(0.1, faster=faster)
    same, scalars = step(plain), step(other)
    assert scalars == pytest.approx(same, rel=1e-4)
    for network in ("generator", "discriminator"):
        for a, b in zip(values(getattr(plain, network)), values(getattr(other, network))):
            np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("preset", ["paper", "compact"])
def test_recomputing_restores_the_same_and_keeps_every_gradient(preset):
    model = networks.build_generator(preset)
    blurred = tf.constant(BATCH[0][:1])
    gradients = []
    for run in (model, networks.recompute_blocks(model)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(run(blurred) ** 2)
        gradients.append(tape.gradient(loss, model.trainable_variables))
    for a, b in zip(*gradients):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_in_float16_an_overflow_changes_nothing_and_halves_the_scale():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = small_gan(0.1, rates=(1e-2, 1e-2))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    plain = small_gan(0.1, rates=(1e-2, 1e-2))
    step(model), step(plain)
    for a, b in zip(values(model.generator), values(plain.generator)):
        np.testing.assert_allclose(a, b, atol=2e-4)
    assert float(model.loss_scale.value) == pytest.approx(2**15, rel=1e-3)  # as Keras begins
    model.compile(*(keras.optimizers.Adam(1e-2) for _ in "gd"), adversarial_weight=0.1)
    step(model)  # Adam has a momentum now
    model.loss_scale.value.assign(1e30)
    before = values(model.generator) + values(model.discriminator)
    step(model)
    assert not differ(before, values(model.generator) + values(model.discriminator))
    assert float(model.loss_scale.value) == pytest.approx(0.25e30)  # G's and D's overflow


def test_d_learns_to_tell_sharp_patches_from_a_frozen_gs():
    model = small_gan(rates=(0.0, 0.02))
    sharp = RNG.random((4, 8, 8, 3)).astype("float32")
    blurred = np.repeat(sharp.mean((1, 2), keepdims=True), 8, 1).repeat(8, 2)
    train = tf.function(model.train_step, autograph=False)
    for _ in range(60):
        scalars = train((tf.constant(blurred), tf.constant(sharp)))
    assert scalars["d_sharp"] > 0.8 and scalars["d_restored"] < 0.2


def test_the_average_follows_slowly_and_without_a_decay_at_once():
    slow, none = small_gan(decay=0.5), small_gan(decay=0.0)
    begin = values(slow.average)
    step(slow), step(none)
    # its rest is 1 - min(0.5, 2 / 11) on the first step
    for a, mean, live in zip(begin, values(slow.average), values(slow.generator)):
        np.testing.assert_allclose(mean, a + 9 / 11 * (live - a), atol=1e-6)
    assert not differ(values(none.average), values(none.generator))


def test_the_paper_overfits_a_batch_until_it_beats_the_blurred_input():
    keras.utils.set_random_seed(0)
    generator, average = (networks.build_generator("paper", blocks=2, filters=16) for _ in range(2))
    discriminator = networks.cut_at_logit(networks.build_discriminator(8, filters=32))
    model = gan.DeblurGAN(generator, discriminator, average)
    model.compile(keras.optimizers.Adam(3e-3), keras.optimizers.Adam(1e-4))
    sharp = RNG.random((2, 2, 2, 3)).astype("float32").repeat(4, 1).repeat(4, 2)
    blurred = sum(np.roll(sharp, k, 2) for k in (-1, 0, 1)) / 3
    train = tf.function(model.train_step, autograph=False)
    for _ in range(150):
        train((tf.constant(blurred), tf.constant(sharp)))
    restored = np.clip(model.generator(blurred), 0, 1)
    assert np.mean((restored - sharp) ** 2) < np.mean((blurred - sharp) ** 2)
