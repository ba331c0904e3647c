"""The few layers that Keras lacks. What the two Keras versions do differently belongs here."""

import keras
import tensorflow as tf

register = keras.saving.register_keras_serializable(package="tf_deblur")


class _Rearrange(keras.layers.Layer):
    """Moves pixels between a map's area and its depth, `block_size` a side; no parameters."""

    def __init__(self, block_size: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.block_size = block_size

    def get_config(self) -> dict:
        return {**super().get_config(), "block_size": self.block_size}


@register
class SpaceToDepth(_Rearrange):
    """(n, h, w, c) -> (n, h / b, w / b, c b²); channels in (row, column, channel) order."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.space_to_depth(x, self.block_size)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, h, w, c = input_shape
        b = self.block_size
        return n, h and h // b, w and w // b, c * b * b


@register
class DepthToSpace(_Rearrange):
    """(n, h, w, c b²) -> (n, h b, w b, c): the inverse of SpaceToDepth."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(x, self.block_size)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        n, h, w, c = input_shape
        b = self.block_size
        return n, h and h * b, w and w * b, c // (b * b)


def unwrap_variables(variables: list) -> list[tf.Variable]:
    """TensorFlow's own variables, which Keras 3 wraps."""
    return [v if isinstance(v, tf.Variable) else v.value for v in variables]


def skip_reduction(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Makes `optimizer` leave gradients as they are: no sum over replicas is made of them."""
    optimizer.aggregate_gradients = list  # Keras 2
    optimizer._all_reduce_sum_gradients = list  # Keras 3, which has no other way
    return optimizer
