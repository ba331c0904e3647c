"""Equations 2 to 5, and two additions. Logarithms are to base 2 and of logits: never infinite."""

import math

import tensorflow as tf


def mean_square(restored: tf.Tensor, sharp: tf.Tensor) -> tf.Tensor:
    """Eq. 2, 3: mean over batch, width, height and channels of (restored − sharp)²."""
    return tf.reduce_mean(tf.square(restored - sharp))


def charbonnier(restored: tf.Tensor, sharp: tf.Tensor, epsilon: float = 1e-3) -> tf.Tensor:
    """Mean of sqrt((restored − sharp)² + ε²): absolute error, smooth at zero."""
    return tf.reduce_mean(tf.sqrt(tf.square(restored - sharp) + epsilon**2))


CONTENT = {"squared": mean_square, "charbonnier": charbonnier}


def spectral(restored: tf.Tensor, sharp: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference, of real and imaginary parts, of the unitary 2-D spectra.

    Each patch and channel has its own, over the non-negative half of its width's frequencies.
    The loss of `examples/pretrain.py`, and like MIMO-UNet's (Cho et al. 2021) but for its scales.
    """
    difference = tf.transpose(restored - sharp, (0, 3, 1, 2))
    height, width = tf.unstack(tf.cast(tf.shape(difference)[2:], tf.float32))
    waves = tf.signal.rfft2d(difference) / tf.cast(tf.sqrt(height * width), tf.complex64)
    return tf.reduce_mean(tf.abs(tf.math.real(waves)) + tf.abs(tf.math.imag(waves))) / 2


def adversarial(logits_restored: tf.Tensor) -> tf.Tensor:
    """Eq. 4: the mean of −log₂ D(G(B)), in bits; D undecided (logit 0) costs one."""
    return tf.reduce_mean(tf.math.softplus(-logits_restored)) / math.log(2)


def discriminator(logits_sharp: tf.Tensor, logits_restored: tf.Tensor) -> tf.Tensor:
    """Eq. 5: the mean of −log₂ D(S) − log₂(1 − D(G(B))), in bits; undecided costs two."""
    sharp = tf.reduce_mean(tf.math.softplus(-logits_sharp))
    restored = tf.reduce_mean(tf.math.softplus(logits_restored))
    return (sharp + restored) / math.log(2)
