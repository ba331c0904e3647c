"""Training, as a user runs it: what it writes, and what it refuses."""

import json
import pathlib
import re
import shutil
import types

import numpy as np
import pytest
import tensorflow as tf
from commands import python
from trainings import (
    PHASES,
    SMALL,
    STEPS,
    TINY,
    checkpoints,
    opened,
    same_weights,
    train,
    write_pairs,
)

import tf_deblur
from tf_deblur.errors import UserError
from tf_deblur.models import losses, weights
from tf_deblur.pictures import photographs
from tf_deblur.training import monitor, sources, trainer
from tf_deblur.training.schedule import Optimizers, Phase, Progress, Schedule

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
NETWORKS = ("generator", "discriminator")


def test_a_training_writes_what_it_promises(whole):
    assert {path.name for path in whole.iterdir()} == {
        "flags.flags",
        "run.json",
        "checkpoints",
        "best",
        "generator.safetensors",
        "best.safetensors",
        "logs",
        "pictures",
        "lock",
    }
    assert checkpoints(whole) == [STEPS]
    notes = weights.describe(whole)
    assert notes["data"] == "image_pairs" and notes["trained"].startswith(f"{STEPS} steps")
    [strip] = (whole / "pictures").iterdir()
    assert photographs.read(strip).shape == (2 * 40, 3 * 48, 3)  # blurred, restored, sharp
    assert tf_deblur.load(whole)(np.zeros((9, 7, 3), np.uint8)).shape == (9, 7, 3)


def test_the_weights_to_restore_with_are_the_moving_average(whole):
    saved, run = weights.read_variables(weights.load(whole)), opened(whole)
    live = weights.read_variables(run.gan.generator)
    for name, mean in weights.read_variables(run.gan.average).items():
        np.testing.assert_array_equal(saved[name], mean)
    assert any(not np.array_equal(saved[name], live[name]) for name in saved)


def test_g_waits_while_d_warms_up(whole, place):
    steps = ["--steps=6", "--discriminator_warmup_steps=6", "--sgd_fraction=0"]
    line = [*TINY, *steps, f"--init_from={whole}", "--workdir=warming"]
    assert train(place, *line)[0] == 0
    run = opened(place / "warming")
    for name, value in weights.read_variables(run.gan.generator).items():
        np.testing.assert_array_equal(value, weights.read_variables(weights.load(whole))[name])
    assert int(run.gan.step) == 6


def test_the_logs_hold_every_promised_scalar(whole, pairs):
    logged = {}
    for file in (whole / "logs").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                logged.setdefault(value.tag, []).append(tf.make_ndarray(value.tensor))
    steps = {"loss", "content", "spectral", "adversarial", "zeros"}
    steps |= {"discriminator", "d_sharp", "d_restored"}
    both = {f"{what}_{of}" for what in ("gradient", "learning_rate") for of in NETWORKS}
    scores = {"psnr", "ssim", "blurred_psnr", "blurred_ssim", "patches_per_second"}
    assert set(logged) == steps | both | scores | {"blurred, restored, sharp", "flags"}
    assert f"--steps={STEPS}\n" in logged["flags"][0].item().decode()
    assert logged["learning_rate_generator"][-1] == pytest.approx(1e-5)  # SGD's
    for name in ("d_sharp", "d_restored", "zeros"):
        assert 0 <= min(logged[name]) <= max(logged[name]) <= 1
    pairs = [
        [
            photographs.read(pairs / f"pictures/second/{kind}/{frame}.png").astype(float)
            for frame in "01"
        ]
        for kind in ("blur", "sharp")
    ]
    by_hand = 10 * np.log10(255**2 / ((np.array(pairs[0]) - pairs[1]) ** 2).mean((1, 2, 3)))
    assert logged["blurred_psnr"][-1] == pytest.approx(by_hand.mean(), abs=1e-3)


def test_its_flag_file_can_be_used_again_and_a_finished_run_says_so(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "whole")
    status, out, err = train(tmp_path, "--flagfile=whole/flags.flags")
    assert (status, err) == (0, "")
    assert f"whole: finished already, after {STEPS} steps" in out
    before, after = (folder / "whole/flags.flags" for folder in (whole.parent, tmp_path))
    assert before.read_text() == after.read_text()


def test_what_is_not_as_before_is_said_and_a_best_of_other_pairs_forgotten(place):
    line = [*TINY, "--workdir=run", "--learning_rate=0"]
    status, out, err = train(place, *line, "--steps=2")
    assert status == 0 and "best.safetensors: by 2 of those of image_pairs\n" in out, err
    status, out, err = train(place, *line, "--steps=4")
    assert status == 0 and "other flags than before: --steps=4; before --steps=2\n" in out, err
    assert "begins anew" not in out
    status, out, err = train(place, *line, "--steps=6", "--validation_pairs=1")
    assert status == 0 and "other validation pairs than before, so best begins anew" in out, err


def test_by_the_clock_from_other_weights(place, whole):
    rates = ["--learning_rate=0", "--sgd_learning_rate=0"]
    status, out, err = train(
        place, *TINY, "--workdir=clock", "--minutes=0.02", f"--init_from={whole}", *rates
    )
    assert status == 0 and "clock: finished after" in out, err
    assert f"clock: starting from the weights of {whole}" in out
    same_weights(place / "clock", whole, rtol=0, atol=1e-7)
    assert weights.describe(place / "clock")["started_from"] == whole.name


def test_a_silent_network_stops_with_the_way_out(place, run):
    paper = ["--generator=paper", '--generator_arguments={"filters": 16, "blocks": 2}']
    silent = [
        "--discriminator_filters=512",
        "--initializer=he",
        "--learning_rate=0.01",
        "--workdir=silent",
        "--steps=200",
    ]
    done = run("train", *TINY, *paper, *silent)
    assert done.returncode == 1 and "every restored pixel is zero" in done.stderr
    assert "--initializer=torch7" in done.stderr.splitlines()[-1]


def training(model=None):
    run = types.SimpleNamespace(gan=model, progress=Progress(step=7), latest="here/ckpt-5")
    return trainer.Trainer(None, run, None, monitor=types.SimpleNamespace(note=lambda _: None))


def test_zeros_stop_a_run_only_when_they_stay():
    watch = training()
    for zeros in [1.0] * 19 + [0.99] + [1.0] * 19:
        watch.check({"loss": 0.1, "zeros": zeros})
    with pytest.raises(UserError, match=r"step 7: every restored pixel .* \(here/ckpt-5 stands\)"):
        watch.check({"loss": 0.1, "zeros": 1.0})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_not_kept(value, tmp_path):
    run = opened(tmp_path)
    tail = run.gan.generator.get_layer("tail")
    kernel, bias = tail.get_weights()
    tail.set_weights([kernel, bias + value])
    with pytest.raises(UserError, match="step 7: a weight is no longer finite"):
        training(run.gan).save()


class Clockwork:
    """A team whose steps give nothing but word of when they begin, and when they are waited for."""

    def __init__(self):
        self.told = []

    def compile(self, train_step):
        def step(batch, wishes):
            self.told.append(f"{batch} begins")

            def read():
                self.told.append(f"{batch} is read")
                return {"zeros": 0.0}, wishes

            return read

        return step


def train_by_clockwork(batches, watch=None):
    """What a phase of three steps does, in order, and the run."""
    gan, optimizer = types.SimpleNamespace(train_step=None), types.SimpleNamespace()
    team, run = Clockwork(), types.SimpleNamespace(gan=gan, progress=Progress(), latest="")
    one = trainer.Trainer(team, run, Schedule(3, False, 0.0, 0.0, 0, "none"), watch)
    one.save = lambda: team.told.append(f"{run.progress.step} steps are saved") or watch.reset()
    adam = Optimizers(optimizer, optimizer, 1e-4, True)
    one.train(Phase("adversarial", 1), adam, iter(batches))
    return team.told, run


def test_the_next_step_is_under_way_before_the_host_waits_for_one():
    told, run = train_by_clockwork("abc")
    assert told == ["a begins", "b begins", "a is read", "c begins", "b is read", "c is read"]
    assert run.progress.step == 3


def test_a_step_is_saved_once_and_not_before_it_was_looked_at():
    class Watch:
        wanted, reset = True, lambda self: setattr(self, "wanted", False)

        def is_due(self):
            return self.wanted

        def note(self, scalars):
            pass

    told, _ = train_by_clockwork("abc", Watch())
    assert told[3:] == ["b is read", "2 steps are saved", "c begins", "c is read"]


def test_steps_that_end_at_once_have_no_endless_speed(monkeypatch):
    seconds = iter([0, 0, 2, 2, 4, 4])  # made, begun; then steps of a second, two at a time
    monkeypatch.setattr(monitor.time, "monotonic", lambda: next(seconds))
    watch = monitor.Monitor(None, None, None, None, 10, 5, {})
    watch.begin(Phase("content", 1))
    watch.report = lambda: None
    for _ in range(4):
        watch.note({})
    assert watch.speed == pytest.approx(10, rel=0.06)


def test_another_architecture_is_refused_and_named(place, whole):
    shutil.copytree(whole, place / "whole")
    wider = {**SMALL, "middle": 2}
    status, _, err = train(
        place, *TINY, *PHASES, "--workdir=whole", f"--generator_arguments={json.dumps(wider)}"
    )
    assert status == 1 and err.count("\n") == 1
    assert err.startswith("error: whole: was made with arguments") and '"middle": 2' in err


def without_its_sharp_frame(pictures, picture):
    (pictures / "second/sharp/1.png").unlink()
    return "second/blur/1.png: has no other half"


def of_two_sizes(pictures, picture):
    photographs.write(pictures / "second/sharp/1.png", picture(40, 40))
    return "second/blur/1.png: is 48x40, but"


def that_is_text(pictures, picture):
    (pictures / "second/blur/1.png").write_text("no picture")
    return "second/blur/1.png: not a whole PNG"


def damaged_in_the_middle(pictures, picture):
    file = pictures / "second/blur/1.png"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] + data[-12:])
    return "second/blur/1.png: not a whole PNG"


def smaller_than_a_patch(pictures, picture):
    for kind in ("blur", "sharp"):
        photographs.write(pictures / f"second/{kind}/1.png", picture(15, 48))
    return "has a side of 15 pixels, and a patch 16"


def no_pairs_at_all(pictures, picture):
    shutil.rmtree(pictures)
    pictures.mkdir()
    return "pictures: no pictures in it"


@pytest.mark.parametrize(
    "spoil",
    [
        without_its_sharp_frame,
        of_two_sizes,
        that_is_text,
        damaged_in_the_middle,
        smaller_than_a_patch,
        no_pairs_at_all,
    ],
)
def test_bad_pictures_are_named_and_leave_nothing(spoil, run, picture, tmp_path):
    write_pairs(tmp_path / "pictures", picture)
    message = spoil(tmp_path / "pictures", picture)
    done = run("train", *TINY, "--workdir=run", "--steps=2")
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 1 and done.stderr.endswith(f"{lines[0]}\n"), done.stderr
    assert len(lines) == 1 and message in lines[0] and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
    if spoil is not smaller_than_a_patch:  # which is a whole data set, for smaller patches
        assert not list(tmp_path.rglob("*array_record*"))


def test_adam_who_has_prepared_nothing_is_told_how(run, tmp_path):
    done = run("train", "--flagfile=configs/paper.flags", "--data_dir=prepared", "--workdir=run")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: gopro: none is prepared in") and "--manual_dir" in (
        done.stderr
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        "--batch_size=0",
        "--patch_size=100",
        "--patch_size=4",
        "--steps=0",
        "--steps=many",
        "--learning_rate=-1",
        "--content_fraction=1.5",
        "--sgd_fraction=-0.1",
        "--generator=large",
        "--colour=blue",
        "--flagfile=configs/nowhere.flags",
        "--flagfile=nowhere/paper.flags",
    ],
)
def test_a_wrong_flag_is_one_line_and_status_2(wrong, run, tmp_path):
    done = run("train", "--workdir=run", wrong)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    name, value = wrong.lstrip("-").split("=")
    assert (value if name == "flagfile" else name) in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_content_losses_to_choose_from_are_all_that_there_are(run):
    done = run("train", "--workdir=run", "--content_loss=none")
    choices = re.search(r"<([a-z|]+)>", done.stderr)[1]
    assert done.returncode == 2 and choices.split("|") == list(losses.CONTENT)


def test_shares_of_more_than_the_whole_run_are_refused(run):
    done = run("train", "--workdir=run", "--content_fraction=0.8", "--sgd_fraction=0.3")
    assert done.returncode == 2 and "more than the whole run" in done.stderr


def parse(flag_file):
    """The value of every training flag under a flag file, told by the command itself."""
    code = (
        "import json, sys; from absl import flags; import tf_deblur.train; "
        "flags.FLAGS(sys.argv); print(json.dumps(flags.FLAGS.flag_values_dict()))"
    )
    return json.loads(python("-c", code, f"--flagfile={flag_file}", "--workdir=run").stdout)


def test_every_flag_of_the_losses_reaches_the_training_step():
    code = (
        "import json, sys; from absl import flags; from tf_deblur import train; "
        "from tf_deblur.training.schedule import Phase; flags.FLAGS(sys.argv); "
        "print(json.dumps(train.read_losses(Phase('adversarial', 1))))"
    )
    said = ["content_weight=2", "spectral_weight=3", "adversarial_weight=4"]
    said += ["discriminator_steps=5", "discriminator_noise_stddev=0.6", "content_loss=charbonnier"]
    done = python("-c", code, "--workdir=run", *(f"--{flag}" for flag in said))
    told = json.loads(done.stdout)
    weights_told = [told[f"{name}_weight"] for name in ("content", "spectral", "adversarial")]
    assert weights_told == [2, 3, 4] and told["content"] == "charbonnier"
    assert told["discriminator_steps"] == 5 and told["discriminator_noise"] == 0.6


@pytest.mark.parametrize("name", sorted(path.name for path in CONFIGS.glob("*.flags")))
def test_every_preset_parses(name):
    assert parse(CONFIGS / name)["generator"] in ("paper", "compact")


def test_what_the_paper_leaves_open_is_a_flag_with_this_default():
    stated = {"dataset": "gopro", "generator": "paper", "patch_size": 128, "batch_size": 6}
    table = {
        "learning_rate": 1e-4,
        "adam_beta_1": 0.9,
        "sgd_fraction": 0.1,
        "sgd_learning_rate": 1e-5,
        "sgd_momentum": 0.9,
        "sgd_nesterov": True,
        "content_weight": 1,
        "adversarial_weight": 1e-4,
        "content_fraction": 0,
        "discriminator_steps": 1,
        "discriminator_warmup_steps": 0,
        "discriminator_noise_stddev": 0,
        "spectral_weight": 0,
        "rotation": "any",
        "noise_stddev": pytest.approx(2 / 255, rel=1e-3),
        "identity_fraction": 0,
        "initializer": "torch7",
        "output_activation": "relu",
    }
    expected = {**stated, "steps": 600_000, "content_loss": "squared", **table}
    values = parse(CONFIGS / "paper.flags")
    assert {name: values[name] for name in expected} == expected
    spelt_out = {
        line[2:].split("=")[0]
        for line in (CONFIGS / "paper.flags").read_text().splitlines()
        if line.startswith("--")
    }
    assert set(expected) <= spelt_out


FROM_PYTHON = """
import json, keras, sys, tf_deblur
from tf_deblur import errors, train
chosen = dict(flag.lstrip("-").split("=", 1) for flag in sys.argv[1:])
arguments = json.loads(chosen.pop("generator_arguments"))
chosen |= {"steps": 2, "precision": "bfloat16", "minutes": None}
folder = train.run(**chosen, generator_arguments=arguments, workdir="run")
assert keras.mixed_precision.global_policy().name == "float32"
tf_deblur.load(folder)
try:
    train.run(workdir="run", patch_size=100)
except errors.UserError as error:
    print(error)
"""


def test_python_trains_too(place):
    done = python("-c", FROM_PYTHON, *TINY, "--adversarial_weight=0", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "run: finished after 2 steps" in done.stdout and "in bfloat16" in done.stdout
    assert "100" in done.stdout.splitlines()[-1] and (place / "run/best.safetensors").exists()


def test_no_folders_go_into_the_weights():
    expected = {
        "photographs@/home/me/cats/:0.3": "photographs@cats:0.3",
        "photographs@/home/me/cats": "photographs@cats",
        "gopro/blur_gamma@../data": "gopro/blur_gamma@data",
        "gopro:2": "gopro:2",
    }
    assert [*map(sources.leave_folders, expected)] == list(expected.values())
