"""A training that is killed, stopped or out of room goes on from what it wrote."""

import re
import resource
import shutil
import signal
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from trainings import (
    OFTEN,
    PHASES,
    STEPS,
    TINY,
    begin,
    begin_and_signal,
    checkpoints,
    opened,
    same_weights,
    train,
)

from tf_deblur.errors import UserError
from tf_deblur.models import weights
from tf_deblur.training.checkpoints import Checkpoints


def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(place, whole):
    err, status = begin_and_signal(place, "resumed", signal.SIGKILL, *PHASES)
    assert status == -signal.SIGKILL, err
    before, kept = opened(place / "resumed"), best(place / "resumed")
    status, out, err = train(place, *TINY, *PHASES, "--workdir=resumed")
    step = before.progress.step
    assert status == 0 and f"resumed: going on from step {step}\n" in out, err
    assert f"finished after {STEPS} steps" in out
    assert 0 < step < STEPS and checkpoints(place / "resumed")[-1] == STEPS
    same_weights(place / "resumed", whole, rtol=1e-4, atol=1e-5)
    assert best(place / "resumed") >= kept


def best(folder):
    """The best validation PSNR of a training, by its weights."""
    return float(weights.describe(folder / "best.safetensors")["validation"].split()[0])


def test_the_best_score_is_remembered(tmp_path):
    run = opened(tmp_path)
    run.begin()
    run.save()
    run.save_best(99.5, validated_on="these")  # after the checkpoint, and killed
    again = opened(tmp_path)
    assert again.read_best("these") and again.best == 99.5


def test_a_best_score_of_other_pairs_is_forgotten_until_there_is_one_of_these(tmp_path):
    run = opened(tmp_path)
    run.begin()
    run.save_best(99.5, validated_on="these")
    run.save()
    for _ in range(2):  # killed after the first
        run = opened(tmp_path)
        assert not run.read_best("those") and run.best == -np.inf
    run.begin()
    run.save_best(20.5, validated_on="those")
    again = opened(tmp_path)
    assert again.read_best("those") and again.best == 20.5


EXACT = [*PHASES, "--deterministic"]


@pytest.fixture(scope="session")
def exact(pairs, once):
    def make(folder):
        status, _, err = train(pairs, *TINY, *EXACT, OFTEN, f"--workdir={folder}")
        assert status == 0, err

    return once("exact", make)


def test_killed_ten_times_it_ends_with_the_same_bits(place, exact):
    rng, kills, arguments = np.random.default_rng(1), 0, [*TINY, *EXACT, OFTEN, "--workdir=mortal"]
    for step in sorted(rng.choice(np.arange(1, STEPS - 1), 10, replace=False)):
        process = begin(place, *arguments)
        while process.poll() is None and (checkpoints(place / "mortal") or [0])[-1] < step:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.2))  # so that some die while they write
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.communicate()
        if kills == 5:  # and the newest checkpoint is cut short
            newest = checkpoints(place / "mortal")[-1]
            cut(place / f"mortal/checkpoints/ckpt-{newest}.data-00000-of-00001")
    status, out, err = train(place, *arguments)
    assert status == 0 and kills == 10, err
    assert list((place / "mortal/checkpoints").glob("damaged-ckpt-*"))
    same_state(place / "mortal", exact)


def same_state(folder, other):
    """To the bit: networks, optimisers, step."""
    readers = [
        tf.train.load_checkpoint(tf.train.latest_checkpoint(path / "checkpoints"))
        for path in (folder, other)
    ]
    names = {n for n in readers[0].get_variable_to_shape_map() if "VARIABLE_VALUE" in n}
    assert len(names) > 100
    for name in names - {f"{own}/.ATTRIBUTES/VARIABLE_VALUE" for own in OWN}:
        mine, theirs = (reader.get_tensor(name) for reader in readers)
        np.testing.assert_array_equal(mine, theirs, err_msg=name)


# Seconds are the clock's; kills change how often was saved.
OWN = ("seconds", "save_counter")


def test_sigterm_saves_and_the_same_bits_come_of_it(place, exact):
    err, status = begin_and_signal(place, "preempted", signal.SIGTERM, *EXACT)
    assert status == 128 + signal.SIGTERM and "Traceback" not in err, err
    step = checkpoints(place / "preempted")[-1]
    expected = f"error: preempted: interrupted, and saved at step {step}; run again to go on"
    assert err.splitlines()[-1] == expected
    status, out, err = train(place, *TINY, *EXACT, "--workdir=preempted")
    assert status == 0 and f"going on from step {step}\n" in out, err
    same_state(place / "preempted", exact)


def test_a_second_run_on_the_same_folder_is_refused(place):
    first = begin(place, *TINY, "--workdir=shared", "--steps=100000")
    while first.poll() is None and not (place / "shared/logs").exists():
        time.sleep(0.05)
    status, _, err = train(place, *TINY, "--workdir=shared", "--steps=100000")
    first.kill()
    first.communicate()
    assert status == 1 and err.count("\n") == 1
    assert err.startswith("error: shared: another process trains here")


def test_a_full_disk_stops_in_one_line_and_the_last_checkpoint_stands(exact, tmp_path):
    shutil.copytree(exact, tmp_path / "run")
    run = opened(tmp_path / "run")
    run.begin()
    run.progress.step += 5
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # no file may grow beyond
    try:
        with pytest.raises(UserError, match="run: cannot be written"):
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert opened(tmp_path / "run").progress.step == STEPS


def test_ctrl_c_keeps_what_was_done(place):
    err, status = begin_and_signal(place, "stopped", signal.SIGINT, "--steps=100000")
    assert status == 130 and "Traceback" not in err, err
    step = checkpoints(place / "stopped")[-1]
    expected = f"error: stopped: interrupted, and saved at step {step}; run again to go on"
    assert err.splitlines()[-1] == expected
    assert opened(place / "stopped").progress.step == step


def test_a_loss_that_is_not_finite_stops_and_the_last_checkpoint_stands(place, exact):
    shutil.copytree(exact, place / "wild")
    arguments = ["--workdir=wild", "--steps=80", "--sgd_fraction=0", "--learning_rate=1e30"]
    status, _, err = train(place, *TINY, *arguments)
    assert status == 1 and re.fullmatch(r"error: step 4\d: .*--learning_rate .*\n", err), err
    assert f"wild/checkpoints/ckpt-{STEPS} stands" in err
    assert checkpoints(place / "wild") == checkpoints(exact)
    same_weights(place / "wild", exact, rtol=0)


def cut_data(folder):
    cut(folder / f"ckpt-{STEPS}.data-00000-of-00001")


def cut_index(folder):
    cut(folder / f"ckpt-{STEPS}.index")


def lose_data(folder):
    (folder / f"ckpt-{STEPS}.data-00000-of-00001").unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("damage", [cut_data, cut_index, lose_data])
def test_a_damaged_checkpoint_is_passed_over_and_said(damage, exact, tmp_path, capsys):
    shutil.copytree(exact, tmp_path / "run")
    damage(tmp_path / "run/checkpoints")
    run, before = opened(tmp_path / "run"), checkpoints(exact)[-2]
    assert run.progress.step == before
    assert f"ckpt-{STEPS}: damaged (" in capsys.readouterr().out
    run.begin()
    run.save()
    assert checkpoints(tmp_path / "run")[-1] == before


def test_a_checkpoint_of_another_precision_or_without_a_part_goes_on(exact, tmp_path, capsys):
    shutil.copytree(exact, tmp_path / "run")
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        run = opened(tmp_path / "run")  # its loss scale begins anew
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert run.progress.step == STEPS and float(run.gan.loss_scale.value) == 2**15
    run.begin()
    run.gan.discriminator = None
    without = Checkpoints(tmp_path / "without", run.gan, {})
    without.begin()
    without.save()
    capsys.readouterr()
    assert opened(tmp_path / "without").progress.step == STEPS
    assert "has no discriminator, begun anew" in capsys.readouterr().out


def test_a_checkpoint_of_another_keras_is_refused_by_that_name(tmp_path):
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    parts = ("generator", "critic", "average", "step", "seconds")
    other = {name: tf.train.Checkpoint(kernel=tf.Variable(1.0)) for name in parts}
    tf.train.Checkpoint(**other).save(str(tmp_path / "run/checkpoints/ckpt"))
    with pytest.raises(UserError, match="written by another version of Keras"):
        opened(tmp_path / "run")


def test_a_checkpoint_that_a_kill_cut_short_is_passed_over(exact, tmp_path):
    shutil.copytree(exact, tmp_path / "run")
    (tmp_path / "run/checkpoints/ckpt-77.index").write_bytes(b"")  # not in TensorFlow's list yet
    assert opened(tmp_path / "run").progress.step == STEPS


@pytest.mark.parametrize("state", [None, "", 'model_checkpoint_path: "ckpt-77"'])
def test_tensorflows_list_of_checkpoints_need_not_be_there(state, exact, tmp_path):
    shutil.copytree(exact, tmp_path / "run")
    (tmp_path / "run/checkpoints/checkpoint").unlink()
    if state is not None:
        (tmp_path / "run/checkpoints/checkpoint").write_text(state)
    run = opened(tmp_path / "run")
    assert run.progress.step == STEPS
    run.begin()
    run.progress.step += 5
    run.save()
    assert checkpoints(tmp_path / "run") == [*checkpoints(exact)[-2:], STEPS + 5]
