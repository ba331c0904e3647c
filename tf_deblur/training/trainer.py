"""The steps of a run, and what all its processes do between two of them."""

import contextlib
import itertools
import math
import signal
import time
import typing
from collections.abc import Callable, Iterable, Iterator

import tensorflow as tf

from tf_deblur.errors import Signalled, UserError
from tf_deblur.training.checkpoints import Checkpoints
from tf_deblur.training.monitor import Monitor
from tf_deblur.training.schedule import Optimizers, Phase, Schedule
from tf_deblur.training.team import Agreement, Team

SILENT_STEPS = 20  # so many steps of nothing but zeros, and no gradient will come back
PROFILE_AFTER = 10  # steps of a sitting, so that compiling is not in it


class Trainer:
    """Makes steps, and does between them what the chief, or a signal to any process, asks for.

    Args:
      checkpoints: those of the `DeblurGAN` that is trained.
      monitor: the chief's; None in other processes.
      profile_steps: how many steps to profile, 0 for none.
    """

    def __init__(
        self,
        team: Team,
        checkpoints: Checkpoints,
        schedule: Schedule,
        monitor: Monitor | None = None,
        profile_steps: int = 0,
    ):
        self.team, self.checkpoints, self.schedule = team, checkpoints, schedule
        self.monitor, self.progress = monitor, checkpoints.progress
        first = self.progress.step + PROFILE_AFTER
        self.profiled = range(first, first + profile_steps if monitor else first)
        self.silent, self.signal = 0, 0

    def train(self, phase: Phase, optimizers: Optimizers, batches: Iterable) -> None:
        """One phase, by its own optimisers, on endless batches: this process's share of each."""
        begin_step = self.team.compile(self.checkpoints.gan.train_step)
        before, last = time.monotonic(), None
        steps = self.schedule.count_steps(phase, self.progress)
        for batch in itertools.islice(batches, steps):
            optimizers.set_rates(self.schedule.scale_rate(self.progress))
            now = time.monotonic()
            elapsed, before = now - before, now
            wishes = Agreement(stop=self.signal)
            if self.monitor:
                wishes = Agreement(elapsed, self.monitor.is_due(), self.signal)
            with self.profile():  # the device has a step to make while the host looks at the last
                this = begin_step(batch, wishes)
                agreed = self.finish_step(last)
            self.progress.step += 1
            last = this
            if agreed.save or agreed.stop:  # no step is kept that was not looked at
                self.finish_step(last)
                last = None
            if agreed.stop:
                self.stop()
            if agreed.save:
                self.save()
                before = time.monotonic()
            if self.schedule.measure(self.progress) >= phase.end:
                break
        self.finish_step(last)

    def finish_step(self, read: Callable | None) -> Agreement:
        """Waits for a step, if there is one to wait for: what the processes, all alike, then do."""
        if read is None:
            return Agreement()
        scalars, agreed = read()
        self.progress.seconds += agreed.elapsed
        self.check(scalars)
        if self.monitor:
            self.monitor.note(scalars)
        return agreed

    @contextlib.contextmanager
    def save_at_end(self) -> Iterator[None]:
        """Ends with a checkpoint and a validation; Ctrl-C and SIGTERM wait for two steps more."""
        asked = signal.SIGINT, signal.SIGTERM
        before = [signal.signal(number, self.hear) for number in asked]
        try:
            yield
            self.save()
            self.team.meet()  # else others see the chief end, and take it for dead
        finally:
            for number, handler in zip(asked, before):
                signal.signal(number, handler)
            if self.monitor:
                self.monitor.bar.close()

    def hear(self, number: int, _: object) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL)  # who asks twice does not want to wait

    def save(self) -> None:
        if self.monitor:
            self.check_weights()
            self.monitor.save()

    def stop(self) -> None:
        """After a signal to any of the processes."""
        if self.monitor:
            self.check_weights()
            self.monitor.save_checkpoint()
        self.team.meet()
        done = f"{self.checkpoints.path}: interrupted, and saved at step {self.progress.step}"
        raise Signalled(f"{done}; run again to go on", self.signal or signal.SIGTERM)

    def check(self, scalars: dict[str, float]) -> None:
        """Stops a run that can only get worse."""
        bad = [name for name, value in scalars.items() if not math.isfinite(value)]
        self.silent = self.silent + 1 if scalars["zeros"] >= 1 else 0
        if bad:
            self.fail(f"{bad[0]} is {scalars[bad[0]]}; use a lower --learning_rate")
        if self.silent >= SILENT_STEPS:
            self.fail(
                f"every restored pixel is zero, and was for {SILENT_STEPS} steps: the last ReLU "
                "gives no gradient any more; use --initializer=torch7 or another --seed"
            )

    def check_weights(self) -> None:
        """A step's last update shows in no loss before the next one, and must not be kept."""
        gan = self.checkpoints.gan
        networks = filter(None, (gan.generator, gan.discriminator, gan.average))
        weights = [weight for network in networks for weight in network.trainable_variables]
        if not all(tf.reduce_all(tf.math.is_finite(weight)) for weight in weights):
            self.fail("a weight is no longer finite; use a lower --learning_rate")

    def fail(self, why: str) -> typing.NoReturn:
        latest = self.checkpoints.latest
        kept = f"{latest} stands" if latest else "no checkpoint yet"
        raise UserError(f"step {self.progress.step}: {why} ({kept})")

    @contextlib.contextmanager
    def profile(self) -> Iterator[None]:
        """Profiles some steps of the chief's, for TensorBoard."""
        step = self.progress.step
        if step in self.profiled[:1]:
            tf.profiler.experimental.start(str(self.checkpoints.path / "logs"))
        with tf.profiler.experimental.Trace("train", step_num=step, _r=1):
            yield
        if step in self.profiled[-1:]:
            tf.profiler.experimental.stop()
