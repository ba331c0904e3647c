"""The generators and the discriminator, as functional Keras models.

Source: Sang, Gao and Yin 2018, Table 2 (the discriminator); generators.py has the generators.
"""

import json
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tf_deblur.errors import UserError
from tf_deblur.models import generators
from tf_deblur.models.generators import HE, TORCH7
from tf_deblur.models.layers import DepthToSpace, SpaceToDepth


def conv(
    x: tf.Tensor, filters: int, kernel: int, *, name: str, start: dict = HE, **options: Any
) -> tf.Tensor:
    """A convolution with zero padding: height and width stay."""
    if start["distribution"] == TORCH7["distribution"]:  # the bias starts so too
        limit = (kernel * kernel * x.shape[-1]) ** -0.5
        options["bias_initializer"] = keras.initializers.RandomUniform(-limit, limit)
    start = keras.initializers.VarianceScaling(**start)
    return layers.Conv2D(
        filters, kernel, padding="same", kernel_initializer=start, name=name, **options
    )(x)


def build_generator(preset: str = "paper", **arguments: Any) -> keras.Model:
    """Builds a generator that knows its own name and arguments.

    Args:
      preset: "paper" (Table 1: 3,903,299 parameters) or "compact" (2,820,204).
      **arguments: what differs from the preset's own, for instance `blocks=3`.

    Returns:
      A functional `keras.Model`, (n, h, w, 3) float32 in [0, 1] to the same. Its
      `description` is JSON of the preset and arguments, enough to build it again.

    Raises:
      UserError: no such preset, or an argument that it does not take.
    """
    made: dict[str, tf.Tensor] = {}
    for layer in generators.list_layers(preset, arguments):
        inputs = [made[name] for name in layer.inputs]
        made[layer.name] = _apply(layer, *inputs)
    model = keras.Model(made["image"], made[layer.name], name=preset)
    model.description = json.dumps({"preset": preset, "arguments": arguments})
    return model


def _apply(layer, *inputs):
    """What a layer makes of its inputs."""
    named = {"name": layer.name, "dtype": "float32" if layer.exact else None}
    if layer.kind == "Input":
        return keras.Input((None, None, layer.channels), name=layer.name)
    if layer.kind == "Conv2D":
        more = {"start": layer.start, "activation": layer.activation}
        return conv(*inputs, layer.channels, layer.size, **named, **more)
    if layer.kind == "Add":
        return layers.Add(**named)(list(inputs))
    kind = {"SpaceToDepth": SpaceToDepth, "DepthToSpace": DepthToSpace}[layer.kind]
    return kind(layer.size, **named)(*inputs)


def build_discriminator(patch_size: int = 128, filters: int = 512) -> keras.Model:
    """Table 2: (n, s, s, 3) in [0, 1] -> (n, 1), the probability of a real sharp patch.

    Args:
      patch_size: side s, a power of two from 8 up. A stride-2 stage for each halving
        down to 4×4; a smaller patch leaves out the stages at the top of the table.
      filters: of the last stage; each one above has half as many, 32 at the least, and the
        dense layer below twice as many.

    Returns:
      A `keras.Model` that ends in the sigmoid; 13,102,881 parameters at 128.

    Raises:
      UserError: `patch_size` is not a power of two from 8 up.
    """
    if patch_size < 8 or patch_size & (patch_size - 1):
        raise UserError(f"patch size {patch_size}: use a power of two from 8 up")
    stages = patch_size.bit_length() - 3  # halvings from patch_size to 4
    patch = keras.Input((patch_size, patch_size, 3), name="patch")
    x = patch
    for stage in range(stages):
        own = max(32, filters >> (stages - 1 - stage))
        for strides in (1, 2):
            x = conv(x, own, 3, strides=strides, name=f"stage{stage}_conv{strides - 1}")
            x = layers.LeakyReLU(0.2, name=f"stage{stage}_leaky{strides - 1}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(2 * filters, name="dense")(x)
    x = layers.LeakyReLU(0.2, name="dense_leaky")(x)
    x = layers.Dense(1, name="logit", dtype="float32")(x)
    probability = layers.Activation("sigmoid", name="probability", dtype="float32")(x)
    return keras.Model(patch, probability, name="discriminator")


def cut_at_logit(discriminator: keras.Model) -> keras.Model:
    """The same layers, ending before the sigmoid: its logit keeps the logarithms finite."""
    logit = discriminator.get_layer("logit").output
    return keras.Model(discriminator.input, logit, name="discriminator_logits")


def list_layers(model: keras.Model) -> generators.Layers:
    """The layers that a generator was built from."""
    kind = json.loads(model.description)
    return generators.list_layers(kind["preset"], kind["arguments"])


def compute_size_multiple(model: keras.Model) -> int:
    """What heights and widths must be multiples of, in pixels."""
    return generators.compute_size_multiple(list_layers(model))


def compute_radius(model: keras.Model) -> int:
    """How far a restored pixel sees, in pixels to each side."""
    return generators.compute_radius(list_layers(model))


def list_facts(model: keras.Model, **of: str) -> dict:
    """What whoever runs a generator has to know of it; `of` as in `generators.list_facts`."""
    return generators.list_facts(list_layers(model), **of)


def restore(model: keras.Model, blurred: tf.Tensor) -> tf.Tensor:
    """Runs a generator on pictures of any height and width.

    Sides that are no multiple of the model's are mirrored at the lower and right border,
    once, and cut off after. Works inside a graph.

    Args:
      model: a generator of `build_generator`.
      blurred: (n, h, w, 3) float32 in [0, 1].

    Returns:
      (n, h, w, 3) float32, clipped to [0, 1].
    """
    multiple, size = compute_size_multiple(model), tf.shape(blurred)
    for axis in (1, 2) if multiple > 1 else ():
        length = size[axis]
        index = tf.range(-(-length // multiple) * multiple)
        blurred = tf.gather(blurred, mirror(index, length), axis=axis)
    restored = model(blurred, training=False)
    return tf.clip_by_value(restored[:, : size[1], : size[2]], 0, 1)


def mirror(index: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Where a row or column that may lie beyond the border is taken from: 0 1 2 1 0 1 …."""
    period = tf.maximum(2 * (length - 1), 1)  # the border itself is not repeated
    index = tf.math.floormod(index, period)
    return tf.minimum(index, period - index)


def recompute_blocks(model: keras.Model) -> Callable:
    """Makes a generator keep, for its gradient, only what passes between residual blocks.

    What a block makes inside is made again when its gradient is taken: less memory, more time.

    Returns:
      A function of pictures, with `model`'s own weights and the same results.
    """
    groups: list[list[keras.layers.Layer]] = []  # a residual block's three layers, or one layer
    for layer in model.layers[1:]:
        block = layer.name.removesuffix("_conv1").removesuffix("_add")
        if block != layer.name and groups[-1][0].name == f"{block}_conv0":
            groups[-1].append(layer)
        else:
            groups.append([layer])

    def apply(x):
        made = {id(model.input): x}
        for first, *rest in groups:
            inputs = first.input
            several = isinstance(inputs, (list, tuple))
            given = [made[id(tensor)] for tensor in (inputs if several else [inputs])]
            if rest:
                made[id(rest[-1].output)] = _recompute(first, *rest)(*given)
            else:
                made[id(first.output)] = first(given if several else given[0])
        return made[id(model.output)]

    return apply


def _recompute(first, second, add):
    return tf.recompute_grad(lambda x: add([x, second(first(x))]))
