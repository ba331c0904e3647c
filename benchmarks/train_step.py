"""How long does a training step take, in how much memory, and against PyTorch?

python benchmarks/train_step.py [--networks=paper,compact] [--rounds=3] [--steps=3]
"""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import flags

from tf_deblur import errors

_NETWORKS = flags.DEFINE_list("networks", ["compact", "paper"], "Which generators.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "By turns; the best of each counts.", 1)
_STEPS = flags.DEFINE_integer("steps", 2, "Of a round.", 1)
_WORKERS = flags.DEFINE_bool("workers", True, "Two processes against one, half the cores each.")
_PART = flags.DEFINE_string("part", None, "JSON of one row, to run here; a part.")

BATCH = {"paper": 6, "compact": 16}
MACS = {"paper": 3_901_000, "compact": 77_500}  # of the generator, a pixel
LOOP = 0.03  # most that our loop may cost beside the bare step
ROWS = [("TensorFlow", p, r) for p in ("float32", "bfloat16") for r in (False, True)]
if importlib.util.find_spec("torch"):  # else it is left out
    ROWS += [("PyTorch", p, False) for p in ("float32", "bfloat16")]


def main(argv):
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; this benchmark takes flags only")
    if _PART.value:
        return part(**json.loads(_PART.value))
    for network in _NETWORKS.value:
        tell(network)
    if _WORKERS.value:
        tell_workers()


def tell(network):
    """A table of one network; each row is a process of its own, the rounds by turns."""
    results = {row: [] for row in ROWS}
    for _ in range(_ROUNDS.value):
        for engine, precision, recompute in ROWS:
            row = {"engine": engine, "precision": precision, "recompute": recompute}
            done = start({**row, "network": network})
            results[engine, precision, recompute].append(finish(done))
    print(
        f"| {network}, batch of {BATCH[network]} | precision | ms a step | patches/s | peak GB |"
        " of the peak |\n|---|---|---|---|---|---|"
    )
    best = {}
    for (engine, precision, recompute), told in results.items():
        told = [one for one in told if one]
        if not told:
            continue
        seconds = best[engine, precision, recompute] = min(one["seconds"] for one in told)
        name = f"{engine}, recomputing" if recompute else engine
        share = f"{max(one['share'] for one in told):.0%}" if engine == "TensorFlow" else ""
        peak = min(one["peak"] for one in told)
        print(
            f"| {name} | {precision} | {seconds * 1e3:.0f} | {BATCH[network] / seconds:.2f} | "
            f"{peak:.2f} | {share} |"
        )
    plain_rows = results["TensorFlow", "float32", False]
    looped, bare = (min(one[name] for one in plain_rows) for name in ("looped", "seconds"))
    say("the loop adds to the bare step", looped / bare - 1, "at most", LOOP)
    plain = best["TensorFlow", "float32", False]
    say("bfloat16 to float32", best["TensorFlow", "bfloat16", False] / plain, "at most", 0.6)
    say("recomputing to not", best["TensorFlow", "float32", True] / plain)
    for precision in ("float32", "bfloat16"):
        if ("PyTorch", precision, False) in best:
            ratio = best["TensorFlow", precision, False] / best["PyTorch", precision, False]
            say(f"{precision}: TensorFlow to PyTorch", ratio, "at most", 1.0)


def say(what, value, bound=None, limit=None):
    met = ""
    if bound:
        good = value <= limit if bound == "at most" else value >= limit
        met = f" ({bound} {limit:g}: {'met' if good else 'missed'})"
    print(f"    {what}: {value:.3g}{met}")


def start(row, environment=(), cores=None):
    line = [sys.executable, __file__, f"--part={json.dumps(row)}", f"--steps={_STEPS.value}"]
    if cores:
        line = ["taskset", "-c", ",".join(map(str, cores)), *line]
    kept = {**os.environ, **dict(environment)}
    return subprocess.Popen(line, env=kept, stdout=subprocess.PIPE, text=True)


def finish(process):
    out = process.communicate()[0].strip().splitlines()
    return json.loads(out[-1]) if process.returncode == 0 and out else None


def tell_workers():
    """`compact` by one process with all cores, and by two with half of them each."""
    cores, best = sorted(os.sched_getaffinity(0)), {1: [], 2: []}
    row = {"engine": "TensorFlow", "precision": "float32", "recompute": False, "network": "compact"}
    for _ in range(_ROUNDS.value):
        best[1].append(finish(start(row, cores=cores))["looped"])
        ports = free_ports(2)
        halves = np.array_split(cores, 2)
        cluster = {"worker": [f"localhost:{port}" for port in ports]}
        tasks = [{"cluster": cluster, "task": {"type": "worker", "index": i}} for i in range(2)]
        both = [
            start(row, {"TF_CONFIG": json.dumps(task)}, half) for task, half in zip(tasks, halves)
        ]
        best[2].append(max(finish(process)["looped"] for process in both))
    ratio = min(best[1]) / min(best[2])
    say("patches a second of two workers to one", ratio, "at least", 0.8)


def free_ports(count):
    import socket

    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def part(engine, precision, recompute, network):
    """One row: seconds a step, and peak memory, as JSON on the last line."""
    rng = np.random.default_rng(0)
    batch = [rng.random((BATCH[network], 128, 128, 3), "float32") for _ in range(2)]
    if engine == "PyTorch":
        told = in_torch(network, precision, batch)
    else:
        told = in_tensorflow(network, precision, recompute, batch)
    status = pathlib.Path("/proc/self/status").read_text()
    told["peak"] = int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9
    print(json.dumps(told))


def fastest(*steps):
    """Seconds of each step, the best of some, by turns."""
    seconds = []
    for turn in range(_STEPS.value + 1):
        for step in steps:
            begin = time.perf_counter()
            step()
            if turn:  # the first one compiles
                seconds.append(time.perf_counter() - begin)
    return [min(seconds[number :: len(steps)]) for number in range(len(steps))]


def in_tensorflow(network, precision, recompute, batch):
    import keras
    import tensorflow as tf

    from tf_deblur import devices
    from tf_deblur.models import gan, networks
    from tf_deblur.training.team import Agreement, Team

    together = Team()
    devices.set_precision(precision)
    with together.strategy.scope():
        generator, average = (networks.build_generator(network) for _ in range(2))
        discriminator = networks.cut_at_logit(networks.build_discriminator(128))
        model = gan.DeblurGAN(generator, discriminator, average, recompute=recompute)
        optimizers = [keras.optimizers.Adam(1e-5) for _ in range(2)]
        for optimizer, owner in zip(optimizers, (generator, discriminator)):
            optimizer.build(owner.trainable_variables)
    model.compile(*optimizers)
    own = BATCH[network] // together.count
    batch = tuple(tf.constant(half[:own]) for half in batch)
    loop = together.compile(model.train_step)

    def run_loop():
        loop(batch, Agreement())()

    if together.count > 1:
        told = {"looped": fastest(run_loop)[0]}
    else:
        bare = tf.function(model.train_step)
        steps = run_loop, lambda: float(bare(batch)["loss"]), product(precision)
        told = dict(zip(("looped", "seconds", "product"), fastest(*steps)))
        most = 2 * 2048**3 / told["product"]  # operations a second
        told["share"] = operations(network, discriminator) / told["seconds"] / most
    together.meet()
    return told


def operations(network, discriminator):
    """Floating-point operations of a step: forward, and twice that for the gradients.

    D runs on restored patches for G's loss (its weights' gradients are not wanted), and on
    both kinds for its own.
    """
    g = MACS[network] * 128 * 128
    d = 0
    for layer in discriminator.layers:
        if layer.weights:
            places = np.prod(layer.output.shape[1:-1], dtype=int)  # 1 for a dense layer
            d += int(places) * layer.get_weights()[0].size
    return 2 * BATCH[network] * (3 * g + 2 * d + 6 * d)


def product(precision):
    """A matrix product, whose speed stands for the most that this machine does."""
    import tensorflow as tf

    a = tf.cast(tf.random.normal([2048, 2048]), precision)
    multiply = tf.function(lambda: tf.reduce_sum(tf.linalg.matmul(a, a)))
    return lambda: float(multiply())


def in_torch(network, precision, batch):
    import engines
    import torch
    from torch import nn
    from torch.nn import functional

    from tf_deblur.models import networks, weights

    torch.set_num_threads(engines.CORES)
    keras_model = networks.build_generator(network)
    with tempfile.TemporaryDirectory() as folder:
        weights.save(pathlib.Path(folder, engines.WEIGHTS), keras_model)
        steps, tensors = engines.read(pathlib.Path(folder))
    parameters = {name: torch.from_numpy(value).requires_grad_() for name, value in tensors.items()}
    discriminator, channels = [], 3
    for stage in range(5):
        for strides in (1, 2):
            filters = max(32, 512 >> (4 - stage))
            discriminator += [nn.Conv2d(channels, filters, 3, strides, 1), nn.LeakyReLU(0.2)]
            channels = filters
    discriminator += [
        nn.Flatten(),
        nn.Linear(4 * 4 * 512, 1024),
        nn.LeakyReLU(0.2),
        nn.Linear(1024, 1),
    ]
    discriminator = nn.Sequential(*discriminator).to(memory_format=torch.channels_last)
    adam = [torch.optim.Adam(p, 1e-5) for p in (parameters.values(), discriminator.parameters())]
    blurred, sharp = (torch.from_numpy(half).permute(0, 3, 1, 2) for half in batch)
    cast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16")

    def step():
        restored = engines.torch_network(steps, parameters, getattr(torch, precision))(blurred)
        with cast:
            loss = ((restored - sharp) ** 2).mean()
            loss = loss + 1e-4 * functional.softplus(-discriminator(restored).float()).mean()
        g = torch.autograd.grad(loss, list(parameters.values()))
        with cast:
            of_sharp, of_restored = (
                discriminator(sharp).float(),
                discriminator(restored.detach()).float(),
            )
            loss = functional.softplus(-of_sharp).mean() + functional.softplus(of_restored).mean()
        d = torch.autograd.grad(loss, list(discriminator.parameters()))
        for optimizer, owned, gradients in zip(
            adam, (parameters.values(), discriminator.parameters()), (g, d)
        ):
            for parameter, gradient in zip(owned, gradients):
                parameter.grad = gradient
            optimizer.step()

    return {"seconds": fastest(step)[0]}


if __name__ == "__main__":
    errors.run(main)
