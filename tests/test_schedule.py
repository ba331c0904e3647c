import numpy as np
import pytest

from tf_deblur.training.schedule import Phase, Progress, Schedule


def schedule(total=100, by_clock=False, content=0.0, sgd=0.0, warmup=0, decay="none"):
    return Schedule(total, by_clock, content, sgd, warmup, decay)


def test_the_rate_rises_over_the_warm_up_and_falls_by_a_cosine():
    assert [schedule(warmup=10).scale_rate(Progress(n)) for n in (0, 4, 9, 50)] == [0.1, 0.5, 1, 1]
    falling = [schedule(decay="cosine").scale_rate(Progress(n)) for n in (0, 25, 50, 100, 130)]
    np.testing.assert_allclose(falling, [1, (2 + 2**0.5) / 4, 0.5, 0, 0], atol=1e-12)
    both = schedule(total=60, by_clock=True, warmup=10, decay="cosine")
    assert both.scale_rate(Progress(step=4, seconds=30)) == pytest.approx(0.25)


def run_through(plan, updates=0):
    """The phases of a run, each trained to its end."""
    progress = Progress()
    for phase in plan.list_phases(progress, updates):
        yield phase
        progress.step += plan.count_steps(phase, progress)


def test_phases_are_shares_of_the_run_and_none_is_empty():
    content, sgd = Phase("content", 0.25), Phase("sgd", 1, "sgd")
    assert list(run_through(schedule(content=0.8))) == [
        Phase("content", 0.8),
        Phase("adversarial", 1),
    ]
    assert list(run_through(schedule(content=1.0))) == [Phase("content", 1)]
    three = schedule(content=0.25, sgd=0.1)
    assert list(run_through(three)) == [content, Phase("adversarial", 0.9), sgd]
    assert [phase.name for phase in three.list_phases(Progress(25))] == ["adversarial", "sgd"]
    ends = [three.count_steps(phase, Progress()) for phase in three.list_phases(Progress())]
    assert ends == [25, 90, 100]
    assert three.count_steps(Phase("discriminator", 0.9, steps=7), Progress(step=80)) == 7
    assert schedule(total=60, by_clock=True).measure(Progress(step=1000, seconds=45)) == 0.75


@pytest.mark.parametrize("updates, steps", [(0, [4]), (3, [2]), (6, [1]), (7, []), (100, [])])
def test_the_adversarial_phase_begins_with_what_is_left_of_the_discriminators_warm_up(
    updates, steps
):
    plan = schedule(content=0.25, sgd=0.1)
    plan.discriminator_warmup, plan.discriminator_steps = 7, 2
    content, *warm, adversarial, sgd = run_through(plan, updates)
    assert warm == [Phase("discriminator", 0.9, freeze=True, steps=left) for left in steps]
    assert (content.name, adversarial.name, sgd.name) == ("content", "adversarial", "sgd")
