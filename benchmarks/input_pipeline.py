"""How fast patches come, and whether that is fast enough for a training: one table.

python benchmarks/input_pipeline.py --data_dir=DIR [--manual_dir=DIR] [--photographs=DIR]
"""

import os
import resource
import sys
import time
import typing
from unittest import mock

from absl import flags

from tf_deblur import errors
from tf_deblur.training.patches import PatchSettings

_DATASET = flags.DEFINE_string("dataset", "gopro", "A prepared data set, or one to prepare.")
_DATA_DIR = flags.DEFINE_string("data_dir", "~/tensorflow_datasets", "Where it is prepared.")
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "Where its pictures are, if it is not.")
_PHOTOGRAPHS = flags.DEFINE_string("photographs", None, "Sharp ones, to train on as well.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Of each measurement; the best counts.", 1)
_WINDOWS = flags.DEFINE_integer("windows", 3, "Of 256 patches, read in each round.", 1)
_STEPS = flags.DEFINE_integer("steps", 16, "Of `compact`, trained in each round.", 1)
_PAPER_STEPS = flags.DEFINE_integer("paper_steps", 2, "Of `paper`, some 10 s each; 0 skips.", 0)

# configs/compact.flags; all augmentations are on
PATCHES = PatchSettings(noise_stddev=0.00784, identity_fraction=0.1, min_texture=12)
BATCH_SIZE, SEED = 16, 0
PAPER_FLOP = 6 * 3.901e6 * 128**2  # a patch: forward once, backward twice, two to a MAC
TARGETS = {"b/a": 4, "c": 600, "memory": 1.5}
# Of one fixed batch's speed; making pairs of photographs may cost a fifth of a step.
SHARES = {"default stream": 85, "cached stream": 94, "photographs": 100 / 1.2}


def main(argv):
    """Streams first, while the process has held nothing else; then trainings."""
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; this benchmark takes flags only")
    from tf_deblur import datasets, devices
    from tf_deblur.datasets import prepared
    from tf_deblur.training import stream

    pairs = prepared.open_pairs(
        datasets.prepare(_DATASET.value, _DATA_DIR.value, _MANUAL_DIR.value), "train"
    )
    cores = devices.count_cores()
    print(f"{_DATASET.value}: {len(pairs)} pairs; {cores} cores; best of {_ROUNDS.value} rounds")
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}; 0 is quiet")
    print(f"\n| patches a second | 1 core | {cores} cores | core time a patch |\n|---|---|---|---|")
    with mock.patch.object(stream, "PATCHES_A_PAIR", 1):
        one = row("(a) one patch a decode", pairs, cores)
    default = row("(b) default stream", pairs, cores)
    memory = peak_memory()
    warm(pairs)
    cached = row("(c) cached stream", pairs, cores, cache=True)

    decoding = decode_seconds(pairs)
    share = decoding / one.core_time, decoding / stream.PATCHES_A_PAIR / default.core_time
    print(f"\nDecoding the two PNG files of a pair takes {decoding * 1e3:.1f} ms of one core:")
    print(f"{share[0]:.0%} of the time of (a), {share[1]:.0%} of (b), none of (c).")
    say("(b) to (a), all cores", default.speed / one.speed, TARGETS["b/a"], " times")
    say("(c), all cores", cached.speed, TARGETS["c"], " patches a second")
    say("peak memory of (a) and (b)", memory, TARGETS["memory"], " GB", most=True)
    trainings(pairs)


def row(name, pairs, cores, **options):
    """Prints a stream's speed with one core and with all; returns the latter's `Rate`."""
    rates = [rate(pairs, threads, **options) for threads in (1, cores)]
    speeds = " | ".join(f"{rate.speed:.0f}" for rate in rates)
    print(f"| {name} | {speeds} | {rates[-1].core_time * 1e3:.2f} ms |", flush=True)
    return rates[-1]


class Rate(typing.NamedTuple):
    """Patches a second, and seconds of one core a patch, which others on the machine harm less."""

    speed: float
    core_time: float

    @classmethod
    def of(cls, patches, function, *arguments):
        wall, core = measure_time(function, *arguments)
        return cls(patches / wall, core / patches)

    @classmethod
    def best(cls, rates):
        speeds, core_times = zip(*rates)
        return cls(max(speeds), min(core_times))


def rate(pairs, threads, **options):
    """The `Rate` of a stream on so many threads, in the best of several rounds.

    Measured from the end of a window to the end of a later one: in between patches come in
    bursts. The first two windows are left out.
    """
    batches = batches_of(pairs, **options)
    settings = type(batches.options())()
    settings.threading.private_threadpool_size = threads
    settings.threading.max_intra_op_parallelism = 1
    batches = iter(batches.with_options(settings))
    window = window_batches()
    read(batches, 2 * window)
    count = _WINDOWS.value * window
    return Rate.best(
        Rate.of(count * BATCH_SIZE, read, batches, count) for _ in range(_ROUNDS.value)
    )


def batches_of(pairs, **options):
    from tf_deblur.training import stream

    batches = {"batch_size": BATCH_SIZE, "seed": SEED, **options}
    return stream.make_batches([(pairs, 1.0)], PATCHES, **batches)


def window_batches():
    from tf_deblur.training import stream

    return max(1, stream.WINDOW_PAIRS * stream.PATCHES_A_PAIR // BATCH_SIZE)


def read(batches, count):
    for _ in range(count):
        next(batches)


def measure_time(function, *arguments):
    """Seconds by the clock, and of all cores together."""
    begun = time.perf_counter(), time.process_time()
    function(*arguments)
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


def warm(pairs):
    """Fills the cache."""
    for index in range(len(pairs)):
        pairs.load(index)


def decode_seconds(pairs):
    """Of a pair, one after another on one core."""
    import tensorflow as tf

    examples = tf.data.Dataset.from_tensors(pairs.read(0)).repeat(8)
    decoded = examples.map(lambda example: pairs.decode(example))
    settings = tf.data.Options()
    settings.threading.private_threadpool_size = 1
    decoded = decoded.with_options(settings)
    return min(measure_time(list, decoded)[1] for _ in range(_ROUNDS.value)) / 8


def peak_memory():
    """Of this process so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def trainings(pairs):
    """`compact` on one fixed batch and on each source, then `paper` on one fixed batch."""
    fixed = next(iter(batches_of(pairs)))
    model = compile_network("compact")
    sources = {
        "one fixed batch": repeat(fixed),
        "default stream": batches_of(pairs),
        "cached stream": batches_of(pairs, cache=True),
    }
    if _PHOTOGRAPHS.value:
        sources["photographs"] = blur_photographs(_PHOTOGRAPHS.value)
    steppers = {name: Stepper(model, batches) for name, batches in sources.items()}
    for stepper in steppers.values():
        stepper(2)
    rates = {name: [] for name in steppers}
    for _ in range(_ROUNDS.value):  # in turn, so that what else the machine does meets all alike
        for name, stepper in steppers.items():
            rates[name].append(Rate.of(_STEPS.value * BATCH_SIZE, stepper, _STEPS.value))
    best = {name: Rate.best(found) for name, found in rates.items()}
    fastest = best["one fixed batch"]
    print("\n| training in float32, content loss only | patches a second | core time a patch |")
    print("|---|---|---|")
    for name, found in best.items():
        print(f"| `compact`, {name} | {found.speed:.1f} | {found.core_time * 1e3:.1f} ms |")
    if _PAPER_STEPS.value:
        paper = Stepper(compile_network("paper"), repeat([half[:6] for half in fixed]))
        paper(1)
        found = Rate.of(6 * _PAPER_STEPS.value, paper, _PAPER_STEPS.value)
        print(f"| `paper`, one fixed batch | {found.speed:.2f} | {found.core_time * 1e3:.0f} ms |")
    for tera in (100, 400):
        print(f"| `paper` at {tera} TFLOP/s (computed) | {tera * 1e12 / PAPER_FLOP:,.0f} | |")
    print()
    for name in sources:
        if name in SHARES:
            found = best[name]
            say(f"{name}: speed", 100 * found.speed / fastest.speed, SHARES[name], " %")
            core = fastest.core_time / found.core_time
            print(f"  of one fixed batch's; by core time {core:.1%}")


def blur_photographs(folder):
    """Batches of photographs that are blurred as the training goes."""
    from tf_deblur import datasets
    from tf_deblur.training.ring import Ring

    paths, _ = datasets.divide_photographs(folder)
    return Ring([(paths, 1.0)], PATCHES, count=BATCH_SIZE, seed=SEED).make_batches(0)


def compile_network(preset):
    """A new network, ready to be trained on content alone: nothing is faster."""
    import keras

    from tf_deblur.models import gan, networks

    generator, average = (networks.build_generator(preset) for _ in range(2))
    discriminator = networks.cut_at_logit(networks.build_discriminator(8))  # not run
    model = gan.DeblurGAN(generator, discriminator, average)
    optimizers = [keras.optimizers.Adam(1e-4) for _ in range(2)]
    model.compile(*optimizers, content="charbonnier", adversarial_weight=0.0)
    return model


def repeat(batch):
    import tensorflow as tf

    return tf.data.Dataset.from_tensors(tuple(batch)).repeat()


class Stepper:
    """Training steps on a stream, one after another, as `fit` runs them."""

    def __init__(self, model, batches):
        import tensorflow as tf

        self.batches = iter(batches)
        self.step = tf.function(model.train_step)

    def __call__(self, count):
        for _ in range(count):
            scalars = self.step(next(self.batches))
        float(scalars["loss"])


def say(what, value, target, unit, most=False):
    met = value <= target if most else value >= target
    bound = "at most" if most else "at least"
    print(f"{what}: {value:.3g}{unit} ({bound} {target:g}: {'met' if met else 'MISSED'})")


if __name__ == "__main__":
    errors.run(main)
