"""Where TensorFlow runs, and in which precision it multiplies fastest there."""

import contextlib
import os
import pathlib

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # precision -> Keras's name
PRECISIONS = ("auto", *POLICIES)
BFLOAT16_GRAPHS = "auto_mixed_precision_onednn_bfloat16"  # processors only
# How Linux calls the units, the faster first: against float32 some 5 to 10 times, and twice.
BFLOAT16_UNITS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16"}
AMPERE = (8, 0)  # the first GPUs that multiply bfloat16


def choose_precision(requested="auto"):
    """Which precision to multiply in.

    Args:
      requested: "float32" or "bfloat16", which are taken as they are, or "auto".

    Returns:
      (name, why): "float32" or "bfloat16", and the reason in a few words.
    """
    if requested != "auto":
        return requested, "as asked"
    if gpus():
        capability = _details(gpus()[0]).get("compute_capability", (0, 0))
        fast, what = tuple(capability) >= AMPERE, f"compute capability {capability}"
    else:
        unit = _bfloat16_unit()
        fast, what = bool(unit), unit or "the processor has no bfloat16 instructions"
    return ("bfloat16" if fast else "float32"), what


def set_precision(requested="auto"):
    """For training: layers made from here on multiply in the precision chosen.

    Variables, and layers that say so themselves, stay in float32.

    Returns:
      One line that says device, precision and why.
    """
    import keras

    precision, why = choose_precision(requested)
    keras.mixed_precision.set_global_policy(POLICIES[precision])
    return f"running on {device_name()} in {precision} ({why})"


def device_name():
    """The device in words: a GPU's name, or the number of processor cores."""
    if gpus():
        return ", ".join(_details(gpu).get("device_name", gpu.name) for gpu in gpus())
    return f"{cores()} processor core{'s' if cores() > 1 else ''}"


def cores():
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def gpus():
    """TensorFlow's GPUs, each told to take memory as it needs it and not all at once."""
    import tensorflow as tf  # where a .tflite file runs there may be none

    found = tf.config.list_physical_devices("GPU")
    for gpu in found:
        with contextlib.suppress(RuntimeError):  # in use already: too late, and no harm
            tf.config.experimental.set_memory_growth(gpu, True)
    return found


@contextlib.contextmanager
def bfloat16_graphs(wanted):
    """Whether float32 graphs that run inside multiply in bfloat16; for processors only."""
    import tensorflow as tf

    options = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({BFLOAT16_GRAPHS: wanted})
    try:
        yield
    finally:
        before = options.get(BFLOAT16_GRAPHS, False)
        tf.config.optimizer.set_experimental_options({BFLOAT16_GRAPHS: before})


@contextlib.contextmanager
def layers_in(precision):
    """Layers made inside multiply in this precision, whatever the rest of the program does."""
    import keras

    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(POLICIES[precision])
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


def _details(gpu):
    import tensorflow as tf

    return tf.config.experimental.get_device_details(gpu)


def _bfloat16_unit():
    """What multiplies bfloat16 in this processor; None if nothing does."""
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    told = cpuinfo.read_text() if cpuinfo.exists() else ""
    return next((unit for flag, unit in BFLOAT16_UNITS.items() if flag in told), None)
