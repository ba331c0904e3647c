"""The training step: G and D updated once each, from the same restored patches."""

import keras
import tensorflow as tf

from tf_deblur.models import losses
from tf_deblur.models.layers import reduced_already, tf_variables
from tf_deblur.models.networks import restore


class DeblurGAN(keras.Model):
    """A generator, a discriminator and the paper's way of training them against each other.

    `compile` once for each phase (content only, adversarial, SGD). `train_step` may run in
    every replica of a `tf.distribute.Strategy`, on an equal part of the batch each: all
    replicas together make the update that one would make of the whole batch.

    Args:
      generator: (n, h, w, 3) -> the same, in [0, 1].
      critic: (n, s, s, 3) -> (n, 1), the discriminator up to its logit.
      average: a second generator of the same kind, which holds the moving average of the
        first one's weights; it is what validation scores.
      average_decay: the average's memory; 0 makes it a copy of the generator.
    """

    def __init__(self, generator, critic, average, average_decay=0.999):
        super().__init__()
        self.generator, self.critic, self.average = generator, critic, average
        self.average_decay = average_decay
        once = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step", aggregation=once)
        self.copy_to_average()

    def compile(
        self,
        generator_optimizer,
        discriminator_optimizer,
        content="squared",
        content_weight=1.0,
        adversarial_weight=1e-4,
        discriminator_steps=1,
        freeze_generator=False,
    ):
        """Sets a phase's optimisers and weights.

        Args:
          generator_optimizer, discriminator_optimizer: each its own, built already.
          content: "squared" (eq. 2) or "charbonnier".
          content_weight, adversarial_weight: of the two losses; with an adversarial
            weight of 0 the discriminator is neither run nor trained.
          discriminator_steps: D's updates for each of G's, on the same patches.
          freeze_generator: whether D alone learns, from what G restores as it is.
        """
        super().compile(jit_compile=False)
        self.generator_optimizer = reduced_already(generator_optimizer)
        self.discriminator_optimizer = reduced_already(discriminator_optimizer)
        self.content = losses.CONTENT[content]
        self.content_weight, self.adversarial_weight = content_weight, adversarial_weight
        self.discriminator_steps = discriminator_steps
        self.freeze_generator = freeze_generator

    def learning_rates(self):
        """The two optimisers' present ones, by the names of their scalars."""
        optimizers = {"generator": self.generator_optimizer}
        optimizers["discriminator"] = self.discriminator_optimizer
        return {
            f"learning_rate_{name}": float(tf.convert_to_tensor(optimizer.learning_rate))
            for name, optimizer in optimizers.items()
        }

    def call(self, blurred, training=False):
        return self.generator(blurred, training=training)

    def train_step(self, data):
        """One update of each network. Returns the scalars of the step, by name."""
        blurred, sharp = data
        with tf.GradientTape() as tape:
            restored = self.generator(blurred, training=True)
            content = self.content(restored, sharp)
            loss = self.content_weight * content
            if self.adversarial_weight:
                adversarial = losses.adversarial(self.critic(restored, training=True))
                loss += self.adversarial_weight * adversarial
        scalars = {
            "loss": loss,
            "content": content,
            "zeros": tf.reduce_mean(tf.cast(restored <= 0, tf.float32)),
        }
        if not self.freeze_generator:  # D's updates come between, and change no gradient of G's
            gradients = mean_gradients(tape, loss, self.generator)
            scalars["gradient_generator"] = tf.linalg.global_norm(gradients)
        if self.adversarial_weight:
            scalars["adversarial"] = adversarial
            for _ in range(self.discriminator_steps):
                scalars.update(self.train_discriminator(restored, sharp))
        if not self.freeze_generator:
            update(self.generator_optimizer, gradients, self.generator)
        self.step.assign_add(1)
        self.update_average()
        return scalars

    def train_discriminator(self, restored, sharp):
        """Eq. 5: one update of D on patches that G has restored, and their sharp ones."""
        with tf.GradientTape() as tape:
            logits_sharp = self.critic(sharp, training=True)
            logits_restored = self.critic(tf.stop_gradient(restored), training=True)
            loss = losses.discriminator(logits_sharp, logits_restored)
        gradients = mean_gradients(tape, loss, self.critic)
        update(self.discriminator_optimizer, gradients, self.critic)
        return {
            "discriminator": loss,
            "d_sharp": tf.reduce_mean(tf.sigmoid(logits_sharp)),
            "d_restored": tf.reduce_mean(tf.sigmoid(logits_restored)),
            "gradient_discriminator": tf.linalg.global_norm(gradients),
        }

    def update_average(self):
        """Moves the average a little towards the generator; further while it is young."""
        networks = self.average, self.generator
        pairs = zip(*(tf_variables(network.trainable_variables) for network in networks))

        def move(strategy):  # once for all replicas
            step = tf.cast(self.step, tf.float32)
            rest = 1 - tf.minimum(self.average_decay, (1 + step) / (10 + step))
            for mean, live in pairs:
                strategy.extended.update(mean, lambda m, x: m.assign_add(rest * (x - m)), (live,))

        tf.distribute.get_replica_context().merge_call(move)

    def copy_to_average(self):
        self.average.set_weights(self.generator.get_weights())

    @tf.function(reduce_retracing=True)
    def score(self, blurred, sharp):
        """PSNR of a whole frame as it would be saved, and the blurred input's, in dB."""
        restored = tf.round(restore(self.average, blurred) * 255) / 255
        return tf.image.psnr(restored, sharp, max_val=1.0), tf.image.psnr(
            blurred, sharp, max_val=1.0
        )


def mean_gradients(tape, loss, network):
    """Of a loss that is a mean over the replica's patches: the mean over all replicas'."""
    gradients = tape.gradient(loss, network.trainable_variables)
    return tf.distribute.get_replica_context().all_reduce("MEAN", gradients)


def update(optimizer, gradients, network):
    optimizer.apply_gradients(zip(gradients, network.trainable_variables))
