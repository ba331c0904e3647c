"""The generators and the discriminator, as functional Keras models.

Source: Sang, Gao and Yin 2018, Tables 1 and 2 (`paper`, the discriminator). `compact`
is this project's own: the same residual block on a U-shape, a fiftieth of the arithmetic.
"""

import json

import keras
import tensorflow as tf
from keras import layers

from tf_deblur.errors import UserError
from tf_deblur.models.layers import DepthToSpace, SpaceToDepth

# Torch7's default start: uniform in ±1/sqrt(fan-in). With He or Glorot kernels the last
# ReLU of Table 1 goes silent within ten steps and stays so.
TORCH7 = {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"}
HE = {"scale": 2.0, "mode": "fan_in", "distribution": "truncated_normal"}


def conv(x, filters, kernel, *, name, start=HE, scale=1.0, dtype=None, **kwargs):
    """A convolution with zero padding: height and width stay."""
    if start is TORCH7:  # the bias too
        limit = (kernel * kernel * x.shape[-1]) ** -0.5
        kwargs["bias_initializer"] = keras.initializers.RandomUniform(-limit, limit)
    start = keras.initializers.VarianceScaling(**{**start, "scale": start["scale"] * scale})
    return layers.Conv2D(
        filters, kernel, padding="same", kernel_initializer=start, name=name, dtype=dtype, **kwargs
    )(x)


def residual_block(x, filters, kernel, *, name, start=HE, second=1.0):
    """Fig. 1b: no normalisation, and no ReLU after the addition."""
    y = conv(x, filters, kernel, activation="relu", start=start, name=f"{name}_conv0")
    y = conv(y, filters, kernel, start=start, scale=second, name=f"{name}_conv1")
    return layers.Add(name=f"{name}_add")([x, y])


def paper_generator(
    filters=64, blocks=19, kernel=5, output_activation="relu", initializer="torch7"
):
    """Table 1: (n, h, w, 3) in [0, 1] -> the same; width and height never change."""
    start = {"torch7": TORCH7, "he": HE}[initializer]
    blurred = keras.Input((None, None, 3), name="image")
    x = conv(blurred, filters, kernel, activation="relu", start=start, name="head")
    for index in range(blocks):
        x = residual_block(x, filters, kernel, start=start, name=f"block{index}")
    # float32 whatever the precision: eight bits of mantissa are too few for a picture
    tail = {"start": start, "activation": output_activation, "dtype": "float32"}
    restored = conv(x, 3, kernel, name="tail", **tail)
    return keras.Model(blurred, restored, name="paper")


def compact_generator(filters=(32, 64, 128), down=(2, 2), middle=8, up=(2, 2), kernel=3):
    """The residual block on a U-shape: (n, h, w, 3) in [0, 1] -> the same, unclipped.

    Heights and widths are multiples of `size_multiple(model)`, 8 for three levels.
    It starts near the identity: the blurred image is added at the end, and the last
    convolution, like every block's second, starts small.
    """

    def blocks(x, count, level, name):
        for index in range(count):
            x = residual_block(x, filters[level], kernel, second=0.1, name=f"{name}_block{index}")
        return x

    blurred = keras.Input((None, None, 3), name="image")
    x = SpaceToDepth(2, name="unshuffle")(blurred)
    x = conv(x, filters[0], kernel, name="head")
    skips = []
    for level, count in enumerate(down):
        x = blocks(x, count, level, f"down{level}")
        skips.append(x)
        x = SpaceToDepth(2, name=f"down{level}_unshuffle")(x)
        x = conv(x, filters[level + 1], 1, name=f"down{level}")
    x = blocks(x, middle, len(down), "middle")
    for level, count in reversed(list(enumerate(up))):
        x = conv(x, 4 * filters[level], 1, name=f"up{level}")
        x = DepthToSpace(2, name=f"up{level}_shuffle")(x)
        x = layers.Add(name=f"up{level}_skip")([x, skips[level]])
        x = blocks(x, count, level, f"up{level}")
    x = conv(x, 12, kernel, scale=1e-6, name="tail")
    x = DepthToSpace(2, name="shuffle")(x)
    restored = layers.Add(name="restored", dtype="float32")([blurred, x])
    return keras.Model(blurred, restored, name="compact")


PRESETS = {"paper": paper_generator, "compact": compact_generator}


def build_generator(preset="paper", **arguments):
    """Builds a generator that knows its own name and arguments.

    Args:
      preset: "paper" (Table 1: 3,903,299 parameters) or "compact" (2,820,204).
      **arguments: what differs from the preset's own builder, for instance `blocks=3`.

    Returns:
      A functional `keras.Model`, (n, h, w, 3) float32 in [0, 1] to the same. Its
      `description` is JSON of the preset and arguments, enough to build it again.

    Raises:
      UserError: no such preset, or an argument that it does not take.
    """
    if preset not in PRESETS:
        raise UserError(f"{preset}: no such generator; use one of {', '.join(PRESETS)}")
    try:
        model = PRESETS[preset](**arguments)
    except TypeError as error:
        raise UserError(f"{preset}: {error}") from error
    model.description = json.dumps({"preset": preset, "arguments": arguments})
    return model


def build_discriminator(patch_size=128):
    """Table 2: (n, s, s, 3) in [0, 1] -> (n, 1), the probability of a real sharp patch.

    Args:
      patch_size: side s, a power of two from 8 up. A stride-2 stage for each halving
        down to 4×4; a smaller patch leaves out the stages at the top of the table.

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
        filters = max(32, 512 >> (stages - 1 - stage))
        for strides in (1, 2):
            x = conv(x, filters, 3, strides=strides, name=f"stage{stage}_conv{strides - 1}")
            x = layers.LeakyReLU(0.2, name=f"stage{stage}_leaky{strides - 1}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(1024, name="dense")(x)
    x = layers.LeakyReLU(0.2, name="dense_leaky")(x)
    x = layers.Dense(1, name="logit", dtype="float32")(x)
    probability = layers.Activation("sigmoid", name="probability", dtype="float32")(x)
    return keras.Model(patch, probability, name="discriminator")


def with_logits(discriminator):
    """The same layers, ending before the sigmoid: its logit keeps the logarithms finite."""
    logit = discriminator.get_layer("logit").output
    return keras.Model(discriminator.input, logit, name="discriminator_logits")


def size_multiple(model):
    """What heights and widths must be multiples of, in pixels, computed from the layers."""
    return max(scale for scale, _ in _reach(model).values())


def receptive_radius(model):
    """How far a restored pixel sees, in pixels to each side, computed from the layers."""
    return _reach(model)[model.layers[-1].name][1]


def pixel_bytes(model):
    """Memory that running takes for each pixel of a picture, in bytes, from the layers.

    The most that lives at once, in float32: a tensor lives from its layer to the last one
    that reads it. Twice that, for the copies that convolution libraries make.
    """
    scale = {name: scale for name, (scale, _) in _reach(model).items()}
    floats, last = {}, {}
    made_by = {id(layer.output): layer.name for layer in model.layers}
    for layer in model.layers:
        floats[layer.name] = layer.output.shape[-1] / scale[layer.name] ** 2
        inputs = layer.input if isinstance(layer.input, (list, tuple)) else [layer.input]
        last.update({made_by[id(tensor)]: layer.name for tensor in inputs})
    live, most = {}, 0.0
    for layer in model.layers:
        live[layer.name] = floats[layer.name]
        most = max(most, sum(live.values()))
        live = {name: count for name, count in live.items() if last.get(name) != layer.name}
    return round(2 * 4 * most)


def facts(model):
    """What whoever runs a generator has to know of it, by name."""
    return {
        "size_multiple": size_multiple(model),
        "radius": receptive_radius(model),
        "channels": 3,
        "pixel_bytes": pixel_bytes(model),
    }


def _reach(model):
    """Layer name -> (scale, reach): cell i depends on pixels i·s − r … i·s + s − 1 + r."""
    reach, made_by = {}, {id(layer.output): layer.name for layer in model.layers}
    for layer in model.layers:  # Keras lists them inputs first
        if isinstance(layer, layers.InputLayer):
            reach[layer.name] = 1, 0
            continue
        inputs = layer.input if isinstance(layer.input, (list, tuple)) else [layer.input]
        before = [reach[made_by[id(tensor)]] for tensor in inputs]
        scale, radius = before[0][0], max(r for _, r in before)
        if isinstance(layer, layers.Conv2D):
            half = max(d * (k - 1) // 2 for d, k in zip(layer.dilation_rate, layer.kernel_size))
            radius += scale * half
        elif isinstance(layer, SpaceToDepth):
            scale *= layer.block_size
        elif isinstance(layer, DepthToSpace):  # a cell sees its whole block, from any corner
            scale //= layer.block_size
            radius += scale * (layer.block_size - 1)
        elif not isinstance(layer, layers.Add):
            raise ValueError(f"{layer.name}: {type(layer).__name__} is not followed")
        reach[layer.name] = scale, radius
    return reach


def restore(model, blurred):
    """Runs a generator on pictures of any height and width.

    Sides that are no multiple of the model's are mirrored at the lower and right border,
    once, and cut off after. Works inside a graph.

    Args:
      model: a generator of `build_generator`.
      blurred: (n, h, w, 3) float32 in [0, 1].

    Returns:
      (n, h, w, 3) float32, clipped to [0, 1].
    """
    multiple, size = size_multiple(model), tf.shape(blurred)
    for axis in (1, 2) if multiple > 1 else ():
        length = size[axis]
        index = tf.range(-(-length // multiple) * multiple)
        blurred = tf.gather(blurred, mirrored(index, length), axis=axis)
    restored = model(blurred, training=False)
    return tf.clip_by_value(restored[:, : size[1], : size[2]], 0, 1)


def mirrored(index, length):
    """Where a row or column that may lie beyond the border is taken from: 0 1 2 1 0 1 …."""
    period = tf.maximum(2 * (length - 1), 1)  # the border itself is not repeated
    index = tf.math.floormod(index, period)
    return tf.minimum(index, period - index)


def recomputing(model):
    """A generator that keeps, for its gradient, only what passes between residual blocks.

    What a block makes inside is made again when its gradient is taken: less memory, more time.

    Returns:
      A function of pictures, with `model`'s own weights and the same results.
    """
    groups = []  # a residual block's three layers, or one layer
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
                made[id(rest[-1].output)] = _block_again(first, *rest)(*given)
            else:
                made[id(first.output)] = first(given if several else given[0])
        return made[id(model.output)]

    return apply


def _block_again(first, second, add):
    return tf.recompute_grad(lambda x: add([x, second(first(x))]))
