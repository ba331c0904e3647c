"""Small trainings, as a user runs them, for the tests of what they write and survive."""

import json
import time

import numpy as np
import tensorflow as tf
from commands import Command
from scipy import ndimage

from tf_deblur.models import gan, networks, weights
from tf_deblur.pictures import photographs
from tf_deblur.training.checkpoints import Checkpoints

SMALL = {"filters": [8, 8], "down": [0], "middle": 1, "up": [0]}
TINY = [
    "--dataset=image_pairs",
    "--manual_dir=pictures",
    "--data_dir=prepared",
    "--generator=compact",
    f"--generator_arguments={json.dumps(SMALL)}",
    "--patch_size=16",
    "--discriminator_filters=32",
    "--batch_size=2",
    "--precision=float32",
]
STEPS = 40
PHASES = [f"--steps={STEPS}", "--content_fraction=0.3", "--sgd_fraction=0.3"]
PHASES += ["--discriminator_warmup_steps=5", "--discriminator_noise_stddev=0.1"]
PHASES += ["--spectral_weight=0.05"]
OFTEN = "--checkpoint_minutes=0.0001"  # after every step


def write_pairs(folder, picture, height=40, width=48):
    for number, name in enumerate(["first/0", "first/1", "second/0", "second/1"]):
        sharp = picture(height, width, seed=number)
        sequence, frame = name.split("/")
        photographs.write(folder / sequence / "sharp" / f"{frame}.png", sharp)
        blurred = ndimage.uniform_filter(sharp, (1, 5, 1))
        photographs.write(folder / sequence / "blur" / f"{frame}.png", blurred)


def begin(place, *arguments):
    return Command("-m", "tf_deblur.train", *arguments, cwd=place)


def train(place, *arguments):
    """Runs to the end: status, standard output, standard error."""
    process = begin(place, *arguments)
    out, err = process.communicate()
    return process.returncode, out, err


def begin_and_signal(place, name, which, *arguments):
    """Begins, sends a signal after the second checkpoint: status, standard error."""
    process = begin(place, *TINY, f"--workdir={name}", OFTEN, *arguments)
    while process.poll() is None and len(checkpoints(place / name)) < 2:
        time.sleep(0.01)
    process.send_signal(which)
    return process.communicate()[1], process.returncode


def checkpoints(folder):
    """Steps of the checkpoints that are whole, as TensorFlow lists them."""
    state = tf.train.get_checkpoint_state(str(folder / "checkpoints"))
    return [int(name.split("-")[-1]) for name in state.all_model_checkpoint_paths] if state else []


def opened(folder, network=SMALL):
    """A training's checkpoints, restored in this process; its optimisers are not needed."""
    generator, average = (networks.build_generator("compact", **network) for _ in range(2))
    discriminator = networks.cut_at_logit(networks.build_discriminator(16, 32))
    run = Checkpoints(folder, gan.DeblurGAN(generator, discriminator, average), {})
    run.restore()
    return run


def same_weights(one, other, **tolerance):
    for name, value in weights.read_variables(weights.load(one)).items():
        theirs = weights.read_variables(weights.load(other))[name]
        np.testing.assert_allclose(value, theirs, **tolerance)
