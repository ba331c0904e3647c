"""Trains a generator against a discriminator, or goes on with a training.

python -m tf_deblur.train --flagfile=configs/paper.flags --workdir=runs/paper
"""

import dataclasses
import json
import math
import pathlib
from typing import TYPE_CHECKING, Any

from absl import flags
from absl.testing import flagsaver

from tf_deblur import devices, errors
from tf_deblur.models import generators
from tf_deblur.training import patches
from tf_deblur.training.patches import PatchSettings
from tf_deblur.training.schedule import DECAYS, Optimizers, Phase, Schedule

if TYPE_CHECKING:  # they load TensorFlow
    import keras

    from tf_deblur.models.gan import DeblurGAN
    from tf_deblur.training.checkpoints import Checkpoints
    from tf_deblur.training.monitor import Monitor
    from tf_deblur.training.team import Team
    from tf_deblur.training.validation import Validation
    from tf_deblur.training.workdir import Workdir

DEFAULT = PatchSettings()
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Train in this folder; run again with it to go on.", required=True
)
_DATASET = flags.DEFINE_string(
    "dataset",
    "gopro",
    "Train on these data sets, by these shares: gopro, or gopro:0.3,synthetic_blur:0.7. "
    "photographs@FOLDER blurs sharp photographs as the training goes, on the device that trains.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", "~/tensorflow_datasets", "Keep prepared data sets in this folder."
)
_MANUAL_DIR = flags.DEFINE_string(
    "manual_dir", None, "Take pictures from this folder: the one that holds GOPRO_Large, say."
)
_VALIDATION = flags.DEFINE_string(
    "validation",
    None,
    "Validate on these data sets, with commas between: the first chooses the best. Without it: on "
    "what is held out of the first of --dataset that holds some out.",
)
_GENERATOR = flags.DEFINE_enum("generator", "paper", list(generators.PRESETS), "Train this preset.")
_GENERATOR_ARGUMENTS = flags.DEFINE_string(
    "generator_arguments",
    "{}",
    'Change the preset by this JSON: {"blocks": 3} for paper, {"middle": 2} for compact.',
)
_OUTPUT_ACTIVATION = flags.DEFINE_enum(
    "output_activation", "relu", generators.ACTIVATIONS, "End the paper's network with this."
)
_INITIALIZER = flags.DEFINE_enum(
    "initializer", "torch7", list(generators.INITIALIZERS), "Start the paper's weights this way."
)
_INIT_FROM = flags.DEFINE_string(
    "init_from", None, "Start from weights: a preset, workdir, .safetensors file or SavedModel."
)
_STEPS = flags.DEFINE_integer("steps", 600_000, "Train for so many steps in all.", 1)
_MINUTES = flags.DEFINE_float("minutes", None, "Train so many minutes instead of --steps.", 0.01)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 6, "Take so many patches a step.", 1)
_CONTENT_FRACTION = flags.DEFINE_float(
    "content_fraction", 0.0, "Begin with content loss only, for this share of the run.", 0, 1
)
_SGD_FRACTION = flags.DEFINE_float(
    "sgd_fraction", 0.1, "End with SGD instead of Adam, for this share of the run.", 0, 1
)
_CONTENT_LOSS = flags.DEFINE_enum(
    "content_loss", "squared", ["squared", "charbonnier"], "Compare pixels by this loss."
)
_CONTENT_WEIGHT = flags.DEFINE_float("content_weight", 1.0, "Weight the content loss by this.", 0)
_SPECTRAL_WEIGHT = flags.DEFINE_float(
    "spectral_weight", 0.0, "Add the difference of the spectra to the losses, by this weight.", 0
)
_ADVERSARIAL_WEIGHT = flags.DEFINE_float(
    "adversarial_weight", 1e-4, "Weight the adversarial loss by this; 0 trains no discriminator.", 0
)
_DISCRIMINATOR_FILTERS = flags.DEFINE_integer(
    "discriminator_filters", 512, "Give D's last stage so many filters, its dense layer twice.", 1
)
_DISCRIMINATOR_STEPS = flags.DEFINE_integer(
    "discriminator_steps", 1, "Update D so many times for each update of G.", 1
)
_DISCRIMINATOR_NOISE_STDDEV = flags.DEFINE_float(
    "discriminator_noise_stddev", 0.0, "Hide grain in what D sees by noise of this spread.", 0, 1
)
_DISCRIMINATOR_WARMUP_STEPS = flags.DEFINE_integer(
    "discriminator_warmup_steps", 0, "Let G wait for D's first so many updates.", 0
)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-4, "Give Adam this learning rate.", 0)
_DISCRIMINATOR_LEARNING_RATE = flags.DEFINE_float(
    "discriminator_learning_rate", None, "Give D's Adam this one all the time, not G's.", 0
)
_ADAM_BETA_1 = flags.DEFINE_float("adam_beta_1", 0.9, "Give Adam this momentum.", 0, 0.9999)
_ADAM_BETA_2 = flags.DEFINE_float("adam_beta_2", 0.999, "Let Adam remember squares so.", 0, 0.99999)
_WEIGHT_DECAY = flags.DEFINE_float(
    "weight_decay", 0.0, "Let Adam shrink weights by this times the learning rate a step.", 0, 1
)
_WARMUP_STEPS = flags.DEFINE_integer(
    "warmup_steps", 0, "Raise Adam's learning rate to its full value over so many steps.", 0
)
_DECAY = flags.DEFINE_enum(
    "decay", "none", DECAYS, "Lower Adam's learning rate over the run this way."
)
_DECAY_FLOOR = flags.DEFINE_float(
    "decay_floor", 0.0, "Let the learning rate fall to this share of its full value.", 0, 1
)
_CLIP_NORM = flags.DEFINE_float(
    "clip_norm", 0, "Bound the norm of all of a network's gradients by this; 0 bounds nothing.", 0
)
_SGD_LEARNING_RATE = flags.DEFINE_float(
    "sgd_learning_rate", 1e-5, "Give SGD this learning rate.", 0
)
_SGD_MOMENTUM = flags.DEFINE_float("sgd_momentum", 0.9, "Give SGD this momentum.", 0, 1)
_SGD_NESTEROV = flags.DEFINE_bool("sgd_nesterov", True, "Let SGD look ahead.")
_AVERAGE_DECAY = flags.DEFINE_float(
    "average_decay", 0.999, "Average G's weights with this memory; 0 averages nothing.", 0, 1
)
_PATCH_SIZE = flags.DEFINE_integer(
    "patch_size", DEFAULT.patch_size, "Cut patches with sides of so many pixels.", 8
)
_ROTATION = flags.DEFINE_enum(
    "rotation",
    DEFAULT.rotation,
    patches.ROTATIONS,
    "Turn patches by any angle, which resamples them, or by right angles alone.",
)
flags.DEFINE_float(
    "noise_stddev", DEFAULT.noise_stddev, "Add noise whose level has this spread; white is 1.", 0, 1
)
flags.DEFINE_float(
    "identity_fraction", DEFAULT.identity_fraction, "Blur nothing in this share of patches.", 0, 1
)
flags.DEFINE_float(
    "min_texture", DEFAULT.min_texture, "Avoid crops of less contrast, in grey levels.", 0, 255
)
_CACHE = flags.DEFINE_bool("cache", False, "Keep decoded pairs in memory: faster, where they fit.")
_SEED = flags.DEFINE_integer("seed", 0, "Draw weights and patches from this seed.", 0, 2**32 - 1)
_PRECISION = flags.DEFINE_enum(
    "precision", "auto", [*devices.PRECISIONS, "float16"], "Multiply in this precision."
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
    "Train by this one. Without it: on the workers that TF_CONFIG names, else on all GPUs.",
)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "Give the same weights to the bit each time, on one machine; slower."
)
_CHECKPOINT_MINUTES = flags.DEFINE_float(
    "checkpoint_minutes", 5, "Save and validate after so many minutes.", 0
)
_VALIDATION_PAIRS = flags.DEFINE_integer(
    "validation_pairs", 16, "Score so many whole validation frames each time.", 1
)
_PROFILE_STEPS = flags.DEFINE_integer(
    "profile_steps", 0, "Profile so many steps for TensorBoard, after this sitting's first ten.", 0
)

OWN_FOLDERS = {"workdir", "data_dir", "manual_dir"}  # may differ from machine to machine

SHARES = ["content_fraction", "sgd_fraction"]
flags.register_multi_flags_validator(
    ["patch_size", "content_fraction", "adversarial_weight"],
    lambda told: (
        told["patch_size"] % 8 == 0
        and (not _has_discriminator(told) or told["patch_size"].bit_count() == 1)
    ),
    "a patch size is a power of two from 8 up, or without a discriminator a multiple of 8",
)
flags.register_multi_flags_validator(
    SHARES,
    lambda shares: sum(shares.values()) <= 1 + 1e-9,
    "the two shares are more than the whole run",
)
flags.register_multi_flags_validator(
    [*SHARES, "adversarial_weight"],
    lambda told: (
        not (_has_discriminator(told) and told["content_fraction"])
        or sum(told[share] for share in SHARES) < 1 - 1e-9
    ),
    "nothing is left between the two shares, and SGD would meet an untrained discriminator; use "
    "a smaller --content_fraction, --sgd_fraction=0 or --adversarial_weight=0",
)


def _has_discriminator(told):
    """Whether flags, by name, leave anything to train one for."""
    return bool(told["adversarial_weight"]) and told["content_fraction"] < 1


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; training takes flags only")
    from tf_deblur.training.team import Team

    team = Team(_STRATEGY.value)
    with team.watch():
        train(team)


def run(**chosen: Any) -> pathlib.Path:
    """A training from Python, its flags as arguments: run(dataset="image_pairs", minutes=60, …).

    Returns:
      The training's folder, which `tf_deblur.load` takes.

    Raises:
      UserError: as the command has it, a wrong flag included.
    """
    errors.load_tensorflow()
    import keras

    told = {n: json.dumps(v) if isinstance(v, dict) else v for n, v in chosen.items()}
    line = [f"--{name}={value}" for name, value in told.items() if value is not None]
    policy = keras.mixed_precision.global_policy()
    with flagsaver.flagsaver():
        try:
            flags.FLAGS([__name__, *map(errors.find_flagfile, line)])
            main([__name__])
            return pathlib.Path(_WORKDIR.value)
        except flags.Error as error:
            raise errors.UserError(str(error)) from error
        finally:
            keras.mixed_precision.set_global_policy(policy)


def train(team: "Team") -> None:
    """The whole job in one screen, of each of the processes."""
    import tensorflow as tf

    from tf_deblur.training import trainer

    patches.share_batch(_BATCH_SIZE.value, team.replicas)  # says so if it is uneven
    team.compare_code()
    flag_texts = {f"--{f.name}": str(f.value) for f in list_flags() if f.name not in OWN_FOLDERS}
    team.compare(flag_texts)
    if _DETERMINISTIC.value:
        devices.be_deterministic()
    print(devices.set_precision(_PRECISION.value), flush=True)
    with team.strategy.scope():
        gan, optimizers = build()
    plan = read_schedule()
    folder, saved = open_run(gan, optimizers, team)
    if plan.measure(saved.progress) >= 1:
        print(f"{saved.path}: finished already, {saved.describe()}")
        return
    data, validations = open_data(team)
    watch = begin_run(folder, saved, plan, validations) if team.chief else None
    training = trainer.Trainer(team, saved, plan, watch, _PROFILE_STEPS.value)
    with training.save_at_end():
        own = optimizers["adam"].discriminator
        updates = int(tf.convert_to_tensor(own.iterations)) if own else 0
        for phase in plan.list_phases(saved.progress, updates):
            own = optimizers[phase.optimizers]
            gan.compile(own.generator, own.discriminator, **read_losses(phase))
            if watch:
                watch.begin(phase)
            training.train(phase, own, data.make_batches(saved.progress.step))
    print(f"{saved.path}: finished {saved.describe()}")


def read_schedule() -> Schedule:
    return Schedule(
        total=_STEPS.value if _MINUTES.value is None else _MINUTES.value * 60,
        by_clock=_MINUTES.value is not None,
        content_fraction=_CONTENT_FRACTION.value,
        sgd_fraction=_SGD_FRACTION.value,
        warmup_steps=_WARMUP_STEPS.value,
        decay=_DECAY.value,
        floor=_DECAY_FLOOR.value,
        discriminator_warmup=_DISCRIMINATOR_WARMUP_STEPS.value if _ADVERSARIAL_WEIGHT.value else 0,
        discriminator_steps=_DISCRIMINATOR_STEPS.value,
    )


def open_data(team: "Team") -> tuple:
    """What is trained on, a `Mixture`, and what the chief validates on."""
    from tf_deblur.training import mixture, sources, validation

    chosen: dict = {f.name: flags.FLAGS[f.name].value for f in dataclasses.fields(PatchSettings)}
    settings, folders = PatchSettings(**chosen), (_DATA_DIR.value, _MANUAL_DIR.value)
    opened = sources.open_sources(_DATASET.value, *folders, settings, team)
    specs, limit = (_VALIDATION.value or "").split(","), _VALIDATION_PAIRS.value
    held_out = []
    if team.chief:
        held_out = validation.open_validations([*filter(None, specs)], opened, *folders, limit)
    share = {"seed": _SEED.value, "worker": team.index, "workers": team.count}
    batches = {"batch_size": _BATCH_SIZE.value, "cache": _CACHE.value, **share}
    return mixture.Mixture(*sources.group(opened), settings, **batches), held_out


def build() -> tuple["DeblurGAN", dict[str, Optimizers]]:
    """The `DeblurGAN` and all `Optimizers` of the run by kind, built, so that a checkpoint fits."""
    import keras

    from tf_deblur.models import gan, networks

    keras.utils.set_random_seed(_SEED.value)
    generator, average = build_generator(), build_generator()
    discriminator = None
    if _has_discriminator(flags.FLAGS.flag_values_dict()):
        of = _PATCH_SIZE.value, _DISCRIMINATOR_FILTERS.value
        discriminator = networks.cut_at_logit(networks.build_discriminator(*of))
    both = generator, discriminator
    clip = {"global_clipnorm": _CLIP_NORM.value or None}
    adam = {"beta_1": _ADAM_BETA_1.value, "beta_2": _ADAM_BETA_2.value, **clip}
    adam["weight_decay"] = _WEIGHT_DECAY.value or None
    rates = _LEARNING_RATE.value, True, _DISCRIMINATOR_LEARNING_RATE.value
    optimizers = {"adam": Optimizers.build(keras.optimizers.Adam, both, *rates, **adam)}
    if _SGD_FRACTION.value:
        sgd = {"momentum": _SGD_MOMENTUM.value, "nesterov": _SGD_NESTEROV.value, **clip}
        rate = _SGD_LEARNING_RATE.value
        optimizers["sgd"] = Optimizers.build(keras.optimizers.SGD, both, rate, False, **sgd)
    faster = {"recompute": _RECOMPUTE.value, "jit_compile": _JIT_COMPILE.value}
    return gan.DeblurGAN(*both, average, _AVERAGE_DECAY.value, **faster), optimizers


def build_generator() -> "keras.Model":
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


def open_run(gan: "DeblurGAN", optimizers: dict[str, Optimizers], team: "Team") -> tuple:
    """The chief's `Workdir`, None for others; and the `Checkpoints`, gone on with or begun.

    A run is begun from --init_from where that is given.
    """
    from tf_deblur.models import weights
    from tf_deblur.training import checkpoints, workdir

    folder, saved = None, checkpoints.Checkpoints(_WORKDIR.value, gan, optimizers)
    if team.chief:
        architecture: dict = weights.describe_network(gan.generator)
        for flag in (_PATCH_SIZE, _DISCRIMINATOR_FILTERS) if gan.discriminator else ():
            architecture[flag.name] = flag.value
        folder = workdir.Workdir(saved.path, architecture)
        folder.lock()
        going_on = saved.restore()
        if idle := list_idle(going_on, saved.progress.step):
            print(f"{saved.path}: flags that do nothing here: {idle}", flush=True)
        if not going_on and _INIT_FROM.value:
            weights.load_into(gan.generator, _INIT_FROM.value)
            gan.copy_to_average()
            print(f"{saved.path}: starting from the weights of {_INIT_FROM.value}", flush=True)
    saved.share(team)
    return folder, saved


def begin_run(
    folder: "Workdir", saved: "Checkpoints", plan: Schedule, validations: "list[Validation]"
) -> "Monitor":
    """The chief's `Monitor`, and all that it writes to; says what is not as it was before."""
    from tf_deblur.training import monitor, scalars, sources

    text = "".join(f"{flag.serialize()}\n" for flag in list_flags() if flag.value is not None)
    if changes := folder.list_changes(text, OWN_FOLDERS):
        print(f"{saved.path}: other flags than before: {changes}", flush=True)
    if validations and not saved.read_best(validations[0].fingerprint):
        print(f"{saved.path}: other validation pairs than before, so best begins anew", flush=True)
    folder.begin(text)
    saved.begin()
    log = scalars.Scalars(saved.path, saved.progress, text)
    # of the weights, which go places: folders stay here
    notes = {"data": sources.leave_folders(_DATASET.value)}
    notes["batch"] = f"{_BATCH_SIZE.value} patches of {_PATCH_SIZE.value}"
    if start := pathlib.Path(_INIT_FROM.value or "").name:
        notes["started_from"] = start
    every = _BATCH_SIZE.value, _CHECKPOINT_MINUTES.value
    return monitor.Monitor(saved, log, plan, validations, *every, notes)


def list_idle(going_on: bool, step: int) -> str:
    """The flags that do nothing in this sitting, each with what makes it idle; empty for none."""
    from tf_deblur.training.trainer import PROFILE_AFTER

    told = flags.FLAGS.flag_values_dict()
    ends = _STEPS.value if _MINUTES.value is None else math.inf
    idle: dict[str, tuple] = {
        "--generator": (_GENERATOR.value != "paper", ["initializer", "output_activation"]),
        "--minutes": (_MINUTES.value is not None, ["steps"]),
        "--sgd_fraction=0": (
            not _SGD_FRACTION.value,
            [n for n in told if n.startswith("sgd_") and n != "sgd_fraction"],
        ),
        "nothing trains D": (
            not _has_discriminator(told),
            [n for n in told if n.startswith("discriminator_")],
        ),
        "--decay=none": (_DECAY.value == "none", ["decay_floor"]),
        "the run goes on": (going_on, ["init_from"]),
        "it ends before": (step + PROFILE_AFTER + _PROFILE_STEPS.value > ends, ["profile_steps"]),
    }
    found = [
        f"--{name} ({why})"
        for why, (holds, names) in idle.items()
        for name in names
        if holds and flags.FLAGS[name].present and told[name] != flags.FLAGS[name].default
    ]
    return ", ".join(found)


def list_flags() -> list[flags.Flag]:
    return flags.FLAGS.get_flags_for_module(flags.FLAGS.find_module_defining_flag("workdir"))


def read_losses(phase: Phase) -> dict:
    """What `DeblurGAN.compile` gets in a phase, beside the optimisers."""
    return {
        "content": _CONTENT_LOSS.value,
        "content_weight": _CONTENT_WEIGHT.value,
        "spectral_weight": _SPECTRAL_WEIGHT.value,
        "adversarial_weight": 0.0 if phase.name == "content" else _ADVERSARIAL_WEIGHT.value,
        "discriminator_steps": _DISCRIMINATOR_STEPS.value,
        "discriminator_noise": _DISCRIMINATOR_NOISE_STDDEV.value,
        "freeze_generator": phase.freeze,
    }


def cli() -> None:
    errors.run(main)


if __name__ == "__main__":
    cli()
