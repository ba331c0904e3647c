"""Where networks run, and in which precision they multiply fastest there.

TensorFlow is loaded by what asks it about GPUs, or sets its options.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterator

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # precision -> Keras's name
PRECISIONS = ("auto", *POLICIES)
RESTORING = (*PRECISIONS, "int8")
BFLOAT16_GRAPHS = "auto_mixed_precision_onednn_bfloat16"  # processors only
# Units of processors that multiply bfloat16 faster than float32: how Linux calls them, and whose.
# AMX is some 5 to 10 times as fast. AMD's AVX-512 is twice as fast in bfloat16, Intel's half.
BFLOAT16_UNITS = {"AMX": ("amx_bf16", ""), "AVX-512 BF16": ("avx512_bf16", "AuthenticAMD")}
# Those that sum products of 8 bits in 32; without one they overflow in 16.
INT8_UNITS = {
    **{"AMX": ("amx_int8",), "AVX-512 VNNI": ("avx512_vnni",), "AVX-VNNI": ("avx_vnni",)},
}
AMPERE = (8, 0)  # the first GPUs that multiply bfloat16


def choose_precision(requested: str = "auto") -> tuple[str, str]:
    """Which precision to multiply in.

    Args:
      requested: "float32" or "bfloat16", which are taken as they are, or "auto".

    Returns:
      (name, why): "float32" or "bfloat16", and the reason in a few words.
    """
    if requested != "auto":
        return requested, "as asked"
    if list_gpus():
        capability = _details(list_gpus()[0]).get("compute_capability", (0, 0))
        fast, what = tuple(capability) >= AMPERE, f"compute capability {capability}"
        return ("bfloat16" if fast else "float32"), what
    return choose_processor_precision()


def choose_processor_precision(requested: str = "auto") -> tuple[str, str]:
    """`choose_precision` for what runs on the processor whatever else there is."""
    if requested != "auto":
        return requested, "as asked"
    unit = find_unit(BFLOAT16_UNITS)
    if not unit:
        return "float32", "the processor has no fast bfloat16"
    return "bfloat16", unit


def set_precision(requested: str = "auto") -> str:
    """For training: layers made from here on multiply in the precision chosen.

    Variables, and layers that say so themselves, stay in float32.

    Returns:
      One line that says device, precision and why.
    """
    import keras

    precision, why = choose_precision(requested)
    policies = {**POLICIES, "float16": "mixed_float16"}  # for GPUs before Ampere
    keras.mixed_precision.set_global_policy(policies[precision])
    return f"running on {name_device()} in {precision} ({why})"


def be_deterministic() -> None:
    """From here on TensorFlow gives the same bits each time, on the same machine."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()
    # it joins sums into AddN, which of three or more begins with a buffer that is free just then
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def name_device() -> str:
    """The device in words: a GPU's name, or the number of processor cores."""
    if list_gpus():
        return ", ".join(_details(gpu).get("device_name", gpu.name) for gpu in list_gpus())
    return name_processor()


def name_processor() -> str:
    """The number of processor cores, in words."""
    return f"{count_cores()} processor core{'s' if count_cores() > 1 else ''}"


def count_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_gpu() -> bool:
    """Whether the machine has a GPU that TensorFlow may use; asks the system, not TensorFlow."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(pathlib.Path("/dev").glob("nvidia[0-9]*"))


def list_gpus() -> list:
    """TensorFlow's GPUs, each told to take memory as it needs it and not all at once."""
    import tensorflow as tf  # where a .tflite file runs there may be none

    found = tf.config.list_physical_devices("GPU")
    for gpu in found:
        with contextlib.suppress(RuntimeError):  # in use already: too late, and no harm
            tf.config.experimental.set_memory_growth(gpu, True)
    return found


def measure_gpu_free() -> int:
    """Bytes that TensorFlow may still take of its first GPU, where variables lie."""
    import tensorflow as tf
    from tensorflow.python.client import device_lib

    most = [d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU"]
    return most[0] - tf.config.experimental.get_memory_info("GPU:0")["current"]


@contextlib.contextmanager
def use_bfloat16_graphs(wanted: bool) -> Iterator[None]:
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
def make_layers_in(precision: str) -> Iterator[None]:
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


def find_unit(units: dict[str, tuple], root: str | pathlib.Path = "/") -> str | None:
    """Which of such units this processor has; None if it has none."""
    cpuinfo = pathlib.Path(root, "proc/cpuinfo")
    told = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = (name for name, words in units.items() if all(word in told for word in words))
    return next(found, None)
