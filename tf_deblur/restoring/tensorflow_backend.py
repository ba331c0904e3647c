"""A network of ours on TensorFlow, for processors and GPUs.

Its weights are constants of the graph, not variables: so TensorFlow packs them once, and
computes a convolution, its bias, what is added and the ReLU in one go.
"""

import numpy as np
import tensorflow as tf

from tf_deblur import devices
from tf_deblur.models import generators, weights
from tf_deblur.restoring import engine


class TensorFlowEngine(engine.Engine):
    """Weights of ours: a preset, a training's working directory, a `.safetensors` file."""

    ran_out = tf.errors.ResourceExhaustedError

    def __init__(self, name, precision):
        precision, why = devices.choose_precision(precision)
        steps, tensors = weights.read(name)
        told = generators.list_facts(steps, "tensorflow", precision)
        facts = engine.make_facts(told, weights_sha256=weights.hash_file(name))
        super().__init__(facts, precision, why)
        # On a processor bfloat16 is an option of the graph (see `run`), on a GPU of its steps.
        kind = tf.bfloat16 if precision == "bfloat16" and devices.list_gpus() else tf.float32
        batch = tf.TensorSpec([None, None, None, facts.channels], tf.float32)
        function = tf.function(
            lambda x: run_steps(x, steps, tensors, kind), [batch], autograph=False
        )
        self._network = function.get_concrete_function()

    def run(self, batch: np.ndarray) -> np.ndarray:
        with devices.use_bfloat16_graphs(self.precision == "bfloat16"):
            return self._network(tf.constant(batch)).numpy()


def run_steps(image: tf.Tensor, steps: list, tensors: dict, kind: tf.DType) -> tf.Tensor:
    """The steps on (n, h, w, 3) float32, in `kind` but for those that say otherwise."""
    made: dict = {}
    for step in steps:
        its = tf.float32 if step.exact else kind
        inputs = [tf.cast(made[name], its) for name in step.inputs]
        if step.kind == "Input":
            made[step.name] = image
        elif step.kind == "Conv2D":
            kernel, bias = (tensors[f"{step.name}/{name}"] for name in ("kernel", "bias"))
            x = tf.nn.conv2d(*inputs, tf.constant(kernel, its), 1, "SAME")
            x = tf.nn.bias_add(x, tf.constant(bias, its))
            made[step.name] = tf.nn.relu(x) if step.activation == "relu" else x
        elif step.kind == "Add":
            made[step.name] = tf.add(*inputs)
        else:
            move = {"SpaceToDepth": tf.nn.space_to_depth, "DepthToSpace": tf.nn.depth_to_space}
            made[step.name] = move[step.kind](*inputs, step.size)
    return made[step.name]
