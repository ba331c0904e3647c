"""The training step: G and D updated once each, from the same restored patches."""

import functools

import keras
import tensorflow as tf

from tf_deblur.models import losses
from tf_deblur.models.layers import skip_reduction, unwrap_variables
from tf_deblur.models.networks import recompute_blocks, restore

split = tf.random.experimental.stateless_split
ONCE = tf.VariableAggregation.ONLY_FIRST_REPLICA  # all replicas assign the same


class LossScale:
    """What losses are multiplied by: in float16, which holds nothing below 6e-8; elsewhere 1.

    It doubles in 2,000 updates, and is halved by gradients that overflow, which count as zero,
    and whose update is none.
    """

    def __init__(self):
        self.active = keras.mixed_precision.global_policy().compute_dtype == "float16"
        start = 2.0**15 if self.active else 1.0
        self.value = tf.Variable(start, trainable=False, name="loss_scale", aggregation=ONCE)

    def scale(self, loss: tf.Tensor) -> tf.Tensor:
        return loss * self.value

    def unscale(self, gradients: list[tf.Tensor]) -> list[tf.Tensor]:
        """The gradients of the loss itself, of those of the scaled one; all replicas' mean."""
        if not self.active:
            return gradients
        gradients = [gradient / self.value for gradient in gradients]
        good = tf.math.is_finite(tf.linalg.global_norm(gradients))
        self.value.assign(self.value * tf.where(good, 2 ** (1 / 2000), 0.5))
        return [tf.where(good, gradient, 0.0) for gradient in gradients]


class DeblurGAN(keras.Model):
    """A generator, a discriminator and the paper's way of training them against each other.

    `compile` once for each phase (content only, adversarial, SGD). `train_step` may run in
    every replica of a `tf.distribute.Strategy`, on an equal part of the batch each: all
    replicas together make the update that one would make of the whole batch (but for the
    noise in what D sees, of which each has its own).

    Args:
      generator: (n, h, w, 3) -> the same, in [0, 1].
      discriminator: (n, s, s, 3) -> (n, 1), up to its logit; None where content is all.
      average: a second generator of the same kind, which holds the moving average of the
        first one's weights; it is what validation scores.
      average_decay: the average's memory; 0 makes it a copy of the generator.
      recompute: whether G's blocks are run again for their gradients: less memory, more time.
      jit_compile: whether XLA compiles what makes the gradients.
    """

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model | None,
        average: keras.Model,
        average_decay: float = 0.999,
        recompute: bool = False,
        jit_compile: bool = False,
    ):
        super().__init__()
        self.generator, self.average = generator, average
        self.discriminator: keras.Model = discriminator
        self.average_decay, self.jit_compile_gradients = average_decay, jit_compile
        self.run_generator = recompute_blocks(generator) if recompute else generator
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step", aggregation=ONCE)
        self.loss_scale = LossScale()
        self.copy_to_average()

    def compile(
        self,
        generator_optimizer: keras.optimizers.Optimizer,
        discriminator_optimizer: keras.optimizers.Optimizer | None,
        content: str = "squared",
        content_weight: float = 1.0,
        spectral_weight: float = 0.0,
        adversarial_weight: float = 1e-4,
        discriminator_steps: int = 1,
        discriminator_noise: float = 0.0,
        freeze_generator: bool = False,
    ) -> None:
        """Sets a phase's optimisers and weights.

        Args:
          generator_optimizer, discriminator_optimizer: each its own, built already.
          content: of `losses.CONTENT`: "squared" (eq. 2) or "charbonnier".
          content_weight, spectral_weight, adversarial_weight: of the losses; with an
            adversarial weight of 0 the discriminator is neither run nor trained.
          discriminator_steps: D's updates for each of G's, on the same patches.
          discriminator_noise: standard deviation, for pictures in [0, 1], of noise in all
            that D sees ("instance noise", Sønderby et al. 2017): what is fainter tells
            restored from sharp no longer. A function of the step, update and replica.
          freeze_generator: whether D alone learns, from what G restores as it is.
        """
        super().compile(jit_compile=False)
        self.generator_optimizer = skip_reduction(generator_optimizer)
        self.discriminator_optimizer = discriminator_optimizer
        if discriminator_optimizer:
            skip_reduction(discriminator_optimizer)
        self.content = losses.CONTENT[content]
        self.content_weight, self.adversarial_weight = content_weight, adversarial_weight
        self.spectral_weight = spectral_weight
        self.discriminator_steps = discriminator_steps
        self.discriminator_noise = discriminator_noise
        self.freeze_generator = freeze_generator
        self.learn = self.differentiate_generator, self.differentiate_discriminator
        if self.jit_compile_gradients:
            compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
            self.learn = tuple(map(compiled, self.learn))

    def read_learning_rates(self) -> dict[str, float]:
        """The optimisers' present ones, by the names of their scalars."""
        optimizers = {"generator": self.generator_optimizer}
        if self.discriminator_optimizer:
            optimizers["discriminator"] = self.discriminator_optimizer
        return {
            f"learning_rate_{name}": float(tf.convert_to_tensor(optimizer.learning_rate))
            for name, optimizer in optimizers.items()
        }

    def call(self, blurred: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.generator(blurred, training=training)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One update of each network. Returns the scalars of the step, by name."""
        blurred, sharp = data
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.stack([tf.cast(self.step, tf.int32), tf.cast(replica, tf.int32)])
        first, *seeds = tf.unstack(split(seed, 1 + self.discriminator_steps))
        of_generator, of_discriminator = self.learn
        restored, gradients, scalars = of_generator(blurred, sharp, first)
        if gradients:  # D's updates come between, and change no gradient of G's
            gradients, scalars["gradient_generator"] = self.reduce_gradients(gradients)
        if self.adversarial_weight:
            for seed in seeds:
                d_gradients, d_scalars = of_discriminator(restored, sharp, seed)
                d_gradients, norm = self.reduce_gradients(d_gradients)
                self.update(self.discriminator_optimizer, d_gradients, norm, self.discriminator)
                d_scalars["gradient_discriminator"] = norm
                scalars.update(d_scalars)
        if gradients:
            norm = scalars["gradient_generator"]
            self.update(self.generator_optimizer, gradients, norm, self.generator)
        self.step.assign_add(1)
        self.update_average()
        return scalars

    def differentiate_generator(
        self, blurred: tf.Tensor, sharp: tf.Tensor, seed: tf.Tensor
    ) -> tuple:
        """Eq. 2 to 4: what G restores, its loss's gradients (none while frozen), the scalars."""
        with tf.GradientTape() as tape:
            restored = self.run_generator(blurred)
            # two gradients meet here and two at `restored`: of three, which two are added first
            # would be a matter of timing (see devices.be_deterministic), and so the bits
            compared = tf.identity(restored)
            content = self.content(compared, sharp)
            loss = self.content_weight * content
            scalars = {"content": content}
            if self.spectral_weight:
                spectral = losses.spectral(compared, sharp)
                loss += self.spectral_weight * spectral
                scalars["spectral"] = spectral
            if self.adversarial_weight:
                adversarial = losses.adversarial(self.discriminate(restored, seed))
                loss += self.adversarial_weight * adversarial
                scalars["adversarial"] = adversarial
            scaled = self.loss_scale.scale(loss)
        scalars["loss"] = loss
        scalars["zeros"] = tf.reduce_mean(tf.cast(restored <= 0, tf.float32))
        if self.freeze_generator:
            return restored, [], scalars
        return restored, tape.gradient(scaled, self.generator.trainable_variables), scalars

    def differentiate_discriminator(
        self, restored: tf.Tensor, sharp: tf.Tensor, seed: tf.Tensor
    ) -> tuple:
        """Eq. 5, on patches that G has restored, and their sharp ones: gradients and scalars."""
        seeds = tf.unstack(split(seed, 2))
        with tf.GradientTape() as tape:
            logits_sharp = self.discriminate(sharp, seeds[0])
            logits_restored = self.discriminate(tf.stop_gradient(restored), seeds[1])
            loss = losses.discriminator(logits_sharp, logits_restored)
            scaled = self.loss_scale.scale(loss)
        return tape.gradient(scaled, self.discriminator.trainable_variables), {
            "discriminator": loss,
            "d_sharp": tf.reduce_mean(tf.sigmoid(logits_sharp)),
            "d_restored": tf.reduce_mean(tf.sigmoid(logits_restored)),
        }

    def discriminate(self, pictures: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """D's logits, of pictures with the noise of a seed."""
        if self.discriminator_noise:
            noise = tf.random.stateless_normal(tf.shape(pictures), seed)
            pictures += self.discriminator_noise * noise
        return self.discriminator(pictures, training=True)

    def reduce_gradients(self, gradients: list[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The mean of the gradients over all replicas, of losses that are means, and its norm."""
        gradients = tf.distribute.get_replica_context().all_reduce("MEAN", gradients)
        gradients = self.loss_scale.unscale(gradients)
        return gradients, tf.linalg.global_norm(gradients)

    def update(
        self,
        optimizer: keras.optimizers.Optimizer,
        gradients: list[tf.Tensor],
        norm: tf.Tensor,
        network: keras.Model,
    ) -> None:
        """An optimiser's update; after an overflow none, for its momentum would go on."""
        variables = unwrap_variables([*network.trainable_variables, *optimizer.variables])
        before = [tf.identity(v) for v in variables] if self.loss_scale.active else []
        optimizer.apply_gradients(zip(gradients, network.trainable_variables))

        def undo(strategy, good, before):
            for variable, old in zip(variables, before):
                strategy.extended.update(
                    variable, lambda v, good, old: v.assign(tf.where(good, v, old)), (good, old)
                )

        if before:
            tf.distribute.get_replica_context().merge_call(undo, args=(norm > 0, before))

    def update_average(self) -> None:
        """Moves the average a little towards the generator; further while it is young."""
        networks = self.average, self.generator
        pairs = zip(*(unwrap_variables(network.trainable_variables) for network in networks))

        def move(strategy):  # once for all replicas
            step = tf.cast(self.step, tf.float32)
            rest = 1 - tf.minimum(self.average_decay, (1 + step) / (10 + step))
            for mean, live in pairs:
                strategy.extended.update(mean, lambda m, x: m.assign_add(rest * (x - m)), (live,))

        tf.distribute.get_replica_context().merge_call(move)

    def copy_to_average(self) -> None:
        self.average.set_weights(self.generator.get_weights())

    @tf.function(reduce_retracing=True, autograph=False)
    def restore(self, blurred: tf.Tensor) -> tf.Tensor:
        """By the average: (n, h, w, 3) in [0, 1] of any size -> the same, clipped."""
        return restore(self.average, blurred)
