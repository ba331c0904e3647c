"""Several replicas and several processes make the updates that one makes of the whole batch."""

import json
import signal
import socket
import time

import numpy as np
import pytest
import tensorflow as tf
from commands import Command, python
from trainings import OFTEN, TINY, checkpoints, opened, train

from tf_deblur.errors import UserError
from tf_deblur.training import patches, team

# One step of Adam that moves nothing, whose moments hold the gradients; then eleven of SGD.
STEPS = ["--steps=12", "--sgd_fraction=0.917", "--learning_rate=0", "--sgd_learning_rate=2e-4"]
STEPS += ["--average_decay=0", "--adversarial_weight=0.01", "--batch_size=4"]
# Its gradients are no sums that cancel, in which the order of the addends would show.
NETWORK = {"filters": [8, 8, 8], "down": [1, 1], "middle": 1, "up": [1, 1]}
STEPS += [f"--generator_arguments={json.dumps(NETWORK)}"]
TWO_CPUS = """
import runpy, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
runpy.run_module("tf_deblur.train", run_name="__main__")
"""


@pytest.fixture(scope="module", autouse=True)
def processors_only():
    """Two workers cannot share one GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "-1")
        yield


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def begin_workers(place, *arguments, own=((), ())):
    """Two workers on loopback; `own` are the arguments of one each."""
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    processes = []
    for index in range(2):
        task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
        line = ["-m", "tf_deblur.train", *TINY, *arguments, *own[index]]
        environment = {"TF_CONFIG": json.dumps(task)}
        processes.append(Command(*line, cwd=place, environment=environment))
    return processes


def ended(processes, timeout=900):
    """Status, standard output and standard error of each."""
    try:
        told = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()  # nothing, to one that has ended
    return [(process.returncode, *texts) for process, texts in zip(processes, told)]


def trained(folder):
    """What a training ends with: the weights of G and D, and its optimisers' moments by name."""
    gan = opened(folder, NETWORK).gan
    weights = gan.generator.get_weights() + gan.discriminator.get_weights()
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(folder / "checkpoints"))
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith(("adam_", "sgd_"))]
    moments = {n: reader.get_tensor(n) for n in names}
    return weights, {n: value for n, value in moments.items() if np.size(value) > 1}


def same(folder, other):
    (weights, moments), (others, other_moments) = trained(folder), trained(other)
    for mine, theirs in zip(weights, others):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-5)
    assert moments.keys() == other_moments.keys()
    for name, mine in moments.items():
        if name.startswith("adam_"):  # the first step's gradients, times 0.1
            close = 1e-4 * np.abs(other_moments[name]).max() + 1e-12
            np.testing.assert_allclose(mine, other_moments[name], rtol=0, atol=close)
    for network in ("generator", "discriminator"):  # one step alone moved more than that
        last = [value for name, value in moments.items() if name.startswith(f"sgd_{network}")]
        assert max(np.abs(value).max() for value in last) > 2e-5


@pytest.fixture(scope="module")
def alone(pairs, processors_only):
    status, _, err = train(pairs, *TINY, *STEPS, "--workdir=alone")
    assert status == 0, err
    return pairs / "alone"


def test_two_workers_make_the_updates_of_one(place, alone):
    chief, worker = ended(begin_workers(place, *STEPS, "--workdir=two"))
    assert chief[0] == worker[0] == 0, chief[2] + worker[2]
    assert worker[2] == ""  # nor a progress line
    same(place / "two", alone)


def test_two_replicas_in_one_process_do_too(place, alone):
    line = ["-c", TWO_CPUS, *TINY, *STEPS, "--strategy=mirrored", "--workdir=mirrored"]
    done = python(*line, cwd=place)
    assert done.returncode == 0, done.stderr
    same(place / "mirrored", alone)


def test_a_worker_that_dies_ends_the_other_and_both_go_on_when_restarted(place, alone):
    chief, worker = begin_workers(place, *STEPS, OFTEN, "--workdir=killed")
    while chief.poll() is None and (checkpoints(place / "killed") or [0])[-1] < 5:
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    (status, _, err), _ = ended([chief, worker], timeout=60)
    assert status == 1 and err.splitlines()[-1].startswith("error: worker 0: another worker has")
    step = checkpoints(place / "killed")[-1]
    assert step < 12
    told = ended(begin_workers(place, *STEPS, "--workdir=killed"))
    for status, out, err in told:
        assert status == 0 and f"killed: going on from step {step}\n" in out, err
    same(place / "killed", alone)


def test_sigterm_to_one_worker_saves_and_ends_both(place):
    processes = begin_workers(place, "--steps=100000", OFTEN, "--workdir=preempted")
    while processes[0].poll() is None and len(checkpoints(place / "preempted")) < 2:
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGTERM)
    step = None
    for status, _, err in ended(processes):
        assert status == 128 + signal.SIGTERM and "Traceback" not in err
        step = step or checkpoints(place / "preempted")[-1]
        assert err.splitlines()[-1].endswith(f"saved at step {step}; run again to go on")


def test_workers_with_different_flags_are_told_so_in_one_line(place):
    own = ["--batch_size=4"], ["--batch_size=8"]
    for status, _, err in ended(begin_workers(place, "--workdir=odd", own=own)):
        assert status == 1 and err.count("\n") == 1
        assert "worker 1 has another --batch_size than the chief" in err


def test_what_stops_the_chief_alone_stops_the_other(place):
    own = ["--workdir=pictures"], ["--workdir=nothing"]  # a folder of something else
    chief, worker = ended(begin_workers(place, own=own))
    assert chief[0] == worker[0] == 1
    assert "a folder of something else" in chief[2] and chief[2].count("\n") == 1
    assert "worker 1: another worker has ended" in worker[2] and worker[2].count("\n") == 1


def test_a_port_in_use_is_one_line(run):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cluster = {"worker": [f"localhost:{port}"]}
        task = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
        done = with_tf_config(json.dumps(task), run)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"localhost:{port}: its port is in use" in done.stderr


def with_tf_config(text, run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CONFIG", text)
        return run("train", "--workdir=run")


WORKERS = '"cluster": {"worker": ["a:1", "b:2"]}'


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "[]",
        "{}",
        f"{{{WORKERS}}}",
        f'{{{WORKERS}, "task": {{"type": "worker", "index": 2}}}}',
        f'{{{WORKERS}, "task": {{"type": "evaluator", "index": 0}}}}',
        '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:http"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_malformed_tf_config_shows_one_that_is_right(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UserError, match=r'TF_CONFIG is malformed .* like \{"cluster"'):
        team.Team()


def test_several_workers_want_tf_config(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UserError, match="wants TF_CONFIG"):
        team.Team("multi_worker_mirrored")


def test_a_batch_that_replicas_cannot_share_is_refused():
    with pytest.raises(UserError, match="a batch of 6 patches cannot be shared evenly by 4"):
        patches.share_batch(6, 4)


def test_a_worker_that_waits_for_others_ends_at_once_by_a_signal(tmp_path):
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    task = {"cluster": cluster, "task": {"type": "worker", "index": 1}}
    line = ["-m", "tf_deblur.train", *TINY, "--workdir=run"]
    process = Command(*line, cwd=tmp_path, environment={"TF_CONFIG": json.dumps(task)})
    process.wait_for_line("2 workers; this is number 1")
    process.send_signal(signal.SIGHUP)  # of SIGTERM TensorFlow takes note itself there
    assert process.wait(60) == -signal.SIGHUP
