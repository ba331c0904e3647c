"""Trains a generator against a discriminator, or goes on with a training.

python -m tf_deblur.train --flagfile=configs/paper.flags --workdir=runs/paper
"""

import hashlib
import json
import math
import pathlib

from absl import flags

from tf_deblur import errors

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of this training; run again with it to go on.", required=True
)
_DATASET = flags.DEFINE_string(
    "dataset",
    "gopro",
    "Data sets and their shares: gopro, or gopro:0.3,synthetic_blur:0.7. photographs@FOLDER "
    "blurs sharp photographs as the training goes, on the device that trains.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "~/tensorflow_datasets", "Where prepared data sets are kept."
)
_MANUAL_DIR = flags.DEFINE_string(
    "manual_dir", None, "Where the pictures are: the folder that holds GOPRO_Large, say."
)
_GENERATOR = flags.DEFINE_enum("generator", "paper", ["paper", "compact"], "The network.")
_GENERATOR_ARGUMENTS = flags.DEFINE_string(
    "generator_arguments", "{}", 'What differs from the preset, as JSON: {"blocks": 3}.'
)
_OUTPUT_ACTIVATION = flags.DEFINE_enum(
    "output_activation", "relu", ["relu", "linear"], "The paper's last activation."
)
_INITIALIZER = flags.DEFINE_enum(
    "initializer", "torch7", ["torch7", "he"], "How the paper's weights start."
)
_INIT_FROM = flags.DEFINE_string(
    "init_from",
    None,
    "Start from the weights of a preset, a workdir, a .safetensors file or a SavedModel.",
)
_STEPS = flags.DEFINE_integer("steps", 600_000, "Training steps in all.", lower_bound=1)
_MINUTES = flags.DEFINE_float(
    "minutes", None, "Train by the clock instead of by --steps.", lower_bound=0.01
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 6, "Patches a step.", lower_bound=1)
_PATCH_SIZE = flags.DEFINE_integer("patch_size", 128, "Side of a patch.", lower_bound=8)
_CONTENT_FRACTION = flags.DEFINE_float(
    "content_fraction", 0.0, "Share of the run, at its start, with content loss only.", 0, 1
)
_SGD_FRACTION = flags.DEFINE_float(
    "sgd_fraction", 0.1, "Share of the run, at its end, by SGD instead of Adam.", 0, 1
)
_CONTENT_LOSS = flags.DEFINE_enum(
    "content_loss", "squared", ["squared", "charbonnier"], "The content loss."
)
_CONTENT_WEIGHT = flags.DEFINE_float("content_weight", 1.0, "Of the content loss.", 0)
_SPECTRAL_WEIGHT = flags.DEFINE_float(
    "spectral_weight", 0.0, "Of the difference of the spectra, added to the content loss.", 0
)
_ADVERSARIAL_WEIGHT = flags.DEFINE_float(
    "adversarial_weight", 1e-4, "Of the adversarial loss; 0 trains no discriminator.", 0
)
_DISCRIMINATOR_STEPS = flags.DEFINE_integer(
    "discriminator_steps", 1, "D's updates for each of G's.", lower_bound=1
)
_DISCRIMINATOR_NOISE_STDDEV = flags.DEFINE_float(
    "discriminator_noise_stddev", 0.0, "Spread of noise in all that D sees: hides grain.", 0, 1
)
_DISCRIMINATOR_WARMUP_STEPS = flags.DEFINE_integer(
    "discriminator_warmup_steps", 0, "D's first updates, in which G waits.", lower_bound=0
)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-4, "Adam's.", 0)
_ADAM_BETA_1 = flags.DEFINE_float("adam_beta_1", 0.9, "Adam's momentum.", 0, 0.9999)
_WARMUP_STEPS = flags.DEFINE_integer(
    "warmup_steps", 0, "Steps in which Adam's learning rate rises to its full value.", 0
)
_DECAY = flags.DEFINE_enum(
    "decay", "none", ["none", "cosine"], "How Adam's learning rate falls over the run."
)
_CLIP_NORM = flags.DEFINE_float(
    "clip_norm", 0, "The most that the norm of all of a network's gradients may be; 0 for any.", 0
)
_SGD_LEARNING_RATE = flags.DEFINE_float("sgd_learning_rate", 1e-5, "SGD's.", 0)
_SGD_MOMENTUM = flags.DEFINE_float("sgd_momentum", 0.9, "SGD's momentum.", 0, 1)
_SGD_NESTEROV = flags.DEFINE_bool("sgd_nesterov", True, "Whether SGD looks ahead.")
_AVERAGE_DECAY = flags.DEFINE_float(
    "average_decay", 0.999, "Memory of the moving average of G's weights; 0 for none.", 0, 1
)
_ROTATION = flags.DEFINE_enum(
    "rotation",
    "any",
    ["any", "right_angles"],
    "How far a rotated patch turns: by any angle, which resamples it, or by quarters.",
)
_NOISE_STDDEV = flags.DEFINE_float(
    "noise_stddev", 2 / 255, "Spread of the noise level, for pictures in [0, 1].", 0, 1
)
_IDENTITY_FRACTION = flags.DEFINE_float(
    "identity_fraction", 0.0, "Share of patches whose input is sharp already.", 0, 1
)
_MIN_TEXTURE = flags.DEFINE_float(
    "min_texture", 0.0, "Avoid crops whose grey levels (of 255) spread less than this.", 0, 255
)
_CACHE = flags.DEFINE_bool("cache", False, "Keep decoded pairs in memory: faster, where they fit.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the weights and of the stream.", 0, 2**32 - 1)
_PRECISION = flags.DEFINE_enum(
    "precision", "auto", ["auto", "float32", "bfloat16", "float16"], "Of the arithmetic."
)
_RECOMPUTE = flags.DEFINE_bool(
    "recompute", False, "Run G's blocks again for their gradients: less memory, more time."
)
_JIT_COMPILE = flags.DEFINE_bool(
    "jit_compile", False, "Let XLA compile the losses and gradients: for GPUs."
)
_STRATEGY = flags.DEFINE_enum(
    "strategy",
    None,
    ["one_device", "mirrored", "multi_worker_mirrored"],
    "Where to train. Without it: on the workers that TF_CONFIG names, else on all GPUs.",
)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "The same weights to the bit each time, on the same machine; slower."
)
_CHECKPOINT_MINUTES = flags.DEFINE_float(
    "checkpoint_minutes", 5, "Save and validate after so many minutes.", 0
)
_VALIDATION_PAIRS = flags.DEFINE_integer(
    "validation_pairs", 16, "Whole validation frames scored each time.", lower_bound=1
)
_PROFILE_STEPS = flags.DEFINE_integer(
    "profile_steps", 0, "Steps to profile for TensorBoard, after this sitting's first ten.", 0
)

PHOTOGRAPHS = "photographs"  # the data set that is never prepared
OWN_FOLDERS = {"workdir", "data_dir", "manual_dir"}  # may differ from machine to machine

flags.register_validator(
    "patch_size", lambda side: side & (side - 1) == 0, "a power of two from 8 up is wanted"
)
flags.register_multi_flags_validator(
    ["content_fraction", "sgd_fraction"],
    lambda shares: sum(shares.values()) <= 1,
    "the two shares are more than the whole run",
)


def main(argv):
    """The whole job in one screen."""
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; training takes flags only")
    from tf_deblur.training import team

    with (together := team.Team(_STRATEGY.value)).watched():
        train(together)


def train(team):
    """What each of the processes does."""
    from tf_deblur import devices
    from tf_deblur.training import monitor, schedule, stream, trainer

    stream.share(_BATCH_SIZE.value, team.replicas)  # says so if it is uneven
    team.compare({"code": code_version()})
    team.compare(flags_that_must_agree())
    if _DETERMINISTIC.value:
        devices.be_deterministic()
    print(devices.set_precision(_PRECISION.value), flush=True)
    with team.strategy.scope():
        gan, optimizers = build()
    run = open_run(gan, optimizers, team)
    plan = schedule.Schedule(
        total=_STEPS.value if _MINUTES.value is None else _MINUTES.value * 60,
        by_clock=_MINUTES.value is not None,
        content_fraction=_CONTENT_FRACTION.value,
        sgd_fraction=_SGD_FRACTION.value,
        warmup_steps=_WARMUP_STEPS.value,
        cosine=_DECAY.value == "cosine",
    )
    if plan.progress(run) >= 1:
        print(
            f"{run.path}: finished already, after {run.step} steps; its weights are {run.weights}"
        )
        return
    data, frames = open_data(team)
    watch = None
    if team.chief:
        run.begin(flags_as_run())
        watch = monitor.Monitor(
            run, plan, frames, _BATCH_SIZE.value, _CHECKPOINT_MINUTES.value, notes()
        )
    training = trainer.Trainer(gan, team, run, plan, watch, _PROFILE_STEPS.value)
    adam = [optimizer for name, optimizer in optimizers.items() if name.startswith("adam")]
    with training.keeping():
        for phase, end, steps in phases(plan, run, optimizers):
            gan.compile(**losses_and_optimizers(phase, optimizers))
            if watch:
                watch.begin(phase, gan.learning_rates)
            training.train(data.batches(run.step), end, steps, adam, _LEARNING_RATE.value)
    print(f"{run.path}: finished after {run.step} steps; its weights are {run.weights}")


def open_data(team):
    """What is trained on, a `Mixture`, and the validation frames, or None."""
    from tf_deblur.training import mixture, stream

    if not team.chief:
        team.meet()  # the chief prepares first, for others may share its disk
    prepared, folders, frames, names = [], [], None, []
    for part in _DATASET.value.split(","):
        spec, weight = split_weight(part)
        if spec.partition("@")[0].partition("/")[0] == PHOTOGRAPHS:
            source, held_out = open_photographs(spec)
            kind, whole = "photographs", stream.made_frames
            folders.append((source, weight))
            names += [f"{path.name} {path.stat().st_size}" for path in source]
        else:
            source, held_out = open_pairs(spec)
            kind, whole = "pairs", stream.whole_frames
            prepared.append((source, weight))
            names.append(f"{source.builder.info.full_name} {len(source)}")
        counts = f"{len(source)} {kind} to train on, {len(held_out)} to validate on"
        print(f"{spec}: {counts}", flush=True)
        if frames is None and len(held_out) and team.chief:
            frames = whole(held_out, _VALIDATION_PAIRS.value)
    if team.chief:
        team.meet()
    team.compare({"data": " ".join(names)})
    share = {"worker": team.index, "workers": team.count}
    return mixture.Mixture(prepared, folders, **share, **patches()), frames


def open_pairs(spec):
    """A prepared data set's `Pairs` to train on, and those to validate on."""
    from tf_deblur import datasets
    from tf_deblur.training import stream

    builder = datasets.prepare(spec, _DATA_DIR.value, _MANUAL_DIR.value)
    smallest = builder.info.metadata["smallest_side"]
    if smallest < _PATCH_SIZE.value:
        raise errors.UserError(
            f"{spec}: a picture in it has a side of {smallest} pixels, and a patch "
            f"{_PATCH_SIZE.value}; take it out, or use a smaller --patch_size"
        )
    return [stream.open_pairs(builder, split) for split in ("train", "validation")]


def open_photographs(spec):
    """`datasets.photographs` of photographs@FOLDER, or of --manual_dir."""
    from tf_deblur import datasets

    name, _, folder = spec.partition("@")
    folder = folder or _MANUAL_DIR.value
    if name != PHOTOGRAPHS or not folder:
        raise errors.UserError(
            f"{spec}: {PHOTOGRAPHS}@FOLDER, or with --manual_dir=FOLDER, and no fields; use "
            "synthetic_blur for those"
        )
    if _ROTATION.value != "right_angles":
        raise errors.UserError(
            f"{spec}: wants --rotation=right_angles, which keep pixels as they are"
        )
    return datasets.photographs(folder)


def split_weight(part):
    """gopro:0.3 -> ("gopro", 0.3); without a number the weight is 1."""
    spec, colon, weight = part.rpartition(":")
    try:
        weight = float(weight) if colon else 1.0
    except ValueError:
        return part, 1.0
    if not 0 < weight < math.inf:
        raise errors.UserError(f"--dataset={part}: a weight is a finite number above 0")
    return (spec if colon else part), weight


def build():
    """The two networks and every optimiser of the run, built, so that a checkpoint fits."""
    import keras

    from tf_deblur.models import gan, networks

    keras.utils.set_random_seed(_SEED.value)
    generator, average = build_generator(), build_generator()
    critic = networks.with_logits(networks.build_discriminator(_PATCH_SIZE.value))
    optimizers, clipped = {}, {"global_clipnorm": _CLIP_NORM.value or None}
    for name, network in {"generator": generator, "discriminator": critic}.items():
        optimizers[f"adam_{name}"] = keras.optimizers.Adam(
            _LEARNING_RATE.value, beta_1=_ADAM_BETA_1.value, **clipped
        )
        optimizers[f"sgd_{name}"] = keras.optimizers.SGD(
            _SGD_LEARNING_RATE.value, _SGD_MOMENTUM.value, nesterov=_SGD_NESTEROV.value, **clipped
        )
        for kind in ("adam", "sgd"):
            optimizers[f"{kind}_{name}"].build(network.trainable_variables)
    faster = {"recompute": _RECOMPUTE.value, "jit_compile": _JIT_COMPILE.value}
    return gan.DeblurGAN(generator, critic, average, _AVERAGE_DECAY.value, **faster), optimizers


def build_generator():
    """The preset, with the paper's own two flags and what else differs."""
    from tf_deblur.models import networks

    paper = {"output_activation": _OUTPUT_ACTIVATION.value, "initializer": _INITIALIZER.value}
    try:
        arguments = dict(json.loads(_GENERATOR_ARGUMENTS.value))
        if _GENERATOR.value == "paper":
            arguments = {**paper, **arguments}
        return networks.build_generator(_GENERATOR.value, **arguments)
    except (TypeError, ValueError, LookupError) as error:
        problem = f"--generator_arguments={_GENERATOR_ARGUMENTS.value}: {error}"
        raise errors.UserError(" ".join(problem.split())) from error


def open_run(gan, optimizers, team):
    """The working directory, gone on with or begun; begun from --init_from where given."""
    from tf_deblur.models import weights
    from tf_deblur.training import workdir

    architecture = {**weights.described(gan.generator), "patch_size": _PATCH_SIZE.value}
    run = workdir.Workdir(_WORKDIR.value, architecture, team.chief)
    run.lock()
    there = run.restore(gan, optimizers)
    for name, optimizer in optimizers.items():  # a checkpoint holds the rates, flags decide them
        sgd = name.startswith("sgd")
        optimizer.learning_rate = _SGD_LEARNING_RATE.value if sgd else _LEARNING_RATE.value
    if not there and _INIT_FROM.value and team.chief:
        weights.load_into(gan.generator, _INIT_FROM.value)
        gan.copy_to_average()
        print(f"{run.path}: starting from the weights of {_INIT_FROM.value}", flush=True)
    run.share(team)
    if run.step:
        print(f"{run.path}: going on from step {run.step}", flush=True)
    return run


def flags_as_run():
    """Every flag of this module, as a flag file."""
    return "".join(f"{flag.serialize()}\n" for flag in own_flags() if flag.value is not None)


def flags_that_must_agree():
    """Flag -> text, of all but those that name a machine's own folders."""
    return {f"--{f.name}": str(f.value) for f in own_flags() if f.name not in OWN_FOLDERS}


def own_flags():
    return flags.FLAGS.flags_by_module_dict()[flags.FLAGS.find_module_defining_flag("workdir")]


def code_version():
    """A hash of this package's source."""
    sources = sorted(errors.HERE.rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def phases(schedule, run, optimizers):
    """(name, end as a share of the run, steps to go) of what is left of the schedule.

    The adversarial phase begins with D's warm-up, however much of that is left.
    """
    import tensorflow as tf

    for phase, end in schedule.phases():
        if phase == "adversarial" and _ADVERSARIAL_WEIGHT.value:
            done = int(tf.convert_to_tensor(optimizers["adam_discriminator"].iterations))
            left = math.ceil(
                (_DISCRIMINATOR_WARMUP_STEPS.value - done) / _DISCRIMINATOR_STEPS.value
            )
            if left > 0 and schedule.progress(run) < end:
                yield "discriminator", end, min(left, schedule.steps_until(end, run))
        if schedule.progress(run) < end:
            yield phase, end, schedule.steps_until(end, run)


def losses_and_optimizers(phase, optimizers):
    """What `compile` gets in a phase."""
    kind = "sgd" if phase == "sgd" else "adam"
    return {
        "generator_optimizer": optimizers[f"{kind}_generator"],
        "discriminator_optimizer": optimizers[f"{kind}_discriminator"],
        "content": _CONTENT_LOSS.value,
        "content_weight": _CONTENT_WEIGHT.value,
        "spectral_weight": _SPECTRAL_WEIGHT.value,
        "adversarial_weight": 0.0 if phase == "content" else _ADVERSARIAL_WEIGHT.value,
        "discriminator_steps": _DISCRIMINATOR_STEPS.value,
        "discriminator_noise": _DISCRIMINATOR_NOISE_STDDEV.value,
        "freeze_generator": phase == "discriminator",
    }


def patches():
    """What the stream needs to know of a patch."""
    return {
        "batch_size": _BATCH_SIZE.value,
        "patch_size": _PATCH_SIZE.value,
        "seed": _SEED.value,
        "min_texture": _MIN_TEXTURE.value,
        "cache": _CACHE.value,
        "rotation": _ROTATION.value,
        "noise_stddev": _NOISE_STDDEV.value,
        "identity_fraction": _IDENTITY_FRACTION.value,
    }


def notes():
    """For the metadata of the weights: what made them."""
    start = pathlib.Path(_INIT_FROM.value or "").name  # weights go places; folders stay here
    made_from = {"started_from": start} if start else {}
    batch = f"{_BATCH_SIZE.value} patches of {_PATCH_SIZE.value}"
    return {"data": _DATASET.value, "batch": batch, **made_from}


def cli():
    errors.run(main)


if __name__ == "__main__":
    cli()
