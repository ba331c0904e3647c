"""A training's folder, its checkpoints and its scalars, each without the others."""

import pytest
import tensorflow as tf
from trainings import opened

from tf_deblur.errors import UserError
from tf_deblur.pictures import photographs
from tf_deblur.training.scalars import Scalars
from tf_deblur.training.schedule import Progress
from tf_deblur.training.workdir import Workdir


def test_a_folder_is_locked_from_its_beginning_on(tmp_path):
    first, second = (Workdir(tmp_path / "run", {"preset": "paper"}) for _ in range(2))
    first.lock()  # nothing yet that could be locked
    first.begin("--steps=3\n")
    assert (tmp_path / "run/flags.flags").read_text() == "--steps=3\n"
    with pytest.raises(UserError, match="another process trains here"):
        second.begin("")


def test_a_folder_knows_its_architecture(tmp_path):
    Workdir(tmp_path, {"preset": "paper", "patch_size": 128}).begin("")
    Workdir(tmp_path, {"preset": "paper", "patch_size": 128})
    with pytest.raises(UserError, match="was made with patch_size 128, not 64"):
        Workdir(tmp_path, {"preset": "paper", "patch_size": 64})
    Workdir(tmp_path, {"discriminator_filters": 512})  # of which older folders say nothing
    with pytest.raises(UserError, match="was made with discriminator_filters 512, not 64"):
        Workdir(tmp_path, {"discriminator_filters": 64})


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match="a folder of something else"):
        Workdir(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_checkpoints_keep_progress_and_need_no_more_than_a_folder(tmp_path):
    first = opened(tmp_path)
    assert (first.latest, first.progress) == (None, Progress())
    first.begin()
    first.gan.step.assign(5)
    first.progress.step, first.progress.seconds = 5, 2.5
    first.save()
    again = opened(tmp_path)
    assert again.progress == Progress(step=5, seconds=2.5)
    assert again.latest == str(tmp_path / "checkpoints/ckpt-5")


def test_scalars_belong_to_the_step_that_the_run_is_at(tmp_path, picture):
    progress = Progress()
    scalars = Scalars(tmp_path, progress, "--steps=3\n")
    progress.step = 7
    scalars.log({"loss": 0.5})
    scalars.log_picture(sheet := picture(8, 9))
    scalars.flush()
    assert (photographs.read(tmp_path / "pictures/step_0000007.png") == sheet).all()
    [file] = (tmp_path / "logs").iterdir()
    events = list(tf.compat.v1.train.summary_iterator(str(file)))
    found = [(event.step, value.tag) for event in events for value in event.summary.value]
    assert found == [(0, "flags"), (7, "loss"), (7, "blurred, restored, sharp")]
