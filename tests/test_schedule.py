import types

import numpy as np
import pytest

from tf_deblur.training import schedule as schedules


def schedule(total=100, by_clock=False, content=0.0, sgd=0.0, warmup=0, cosine=False):
    return schedules.Schedule(total, by_clock, content, sgd, warmup, cosine)


def at(step=0, seconds=0.0):
    return types.SimpleNamespace(step=step, seconds=seconds)


def test_the_rate_rises_over_the_warm_up_and_falls_by_a_cosine():
    assert [schedule(warmup=10).rate(at(n)) for n in (0, 4, 9, 50)] == [0.1, 0.5, 1, 1]
    falling = [schedule(cosine=True).rate(at(n)) for n in (0, 25, 50, 100)]
    np.testing.assert_allclose(falling, [1, (2 + 2**0.5) / 4, 0.5, 0], atol=1e-12)
    both = schedule(total=60, by_clock=True, warmup=10, cosine=True)
    assert both.rate(at(step=4, seconds=30)) == pytest.approx(0.25)


def test_phases_are_shares_of_the_run_and_none_is_empty():
    assert list(schedule(content=0.8).phases()) == [("content", 0.8), ("adversarial", 1)]
    assert list(schedule(content=1.0).phases()) == [("content", 1)]
    three = schedule(content=0.25, sgd=0.1)
    assert list(three.phases()) == [("content", 0.25), ("adversarial", 0.9), ("sgd", 1)]
    ends = [three.steps_until(end, at()) for _, end in three.phases()]
    assert ends == [25, 90, 100]
    assert schedule(total=60, by_clock=True).progress(at(step=1000, seconds=45)) == 0.75
