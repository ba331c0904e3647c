"""The steps of a run, and what all its processes do between two of them."""

import contextlib
import itertools
import math
import signal
import time

import tensorflow as tf

from tf_deblur.errors import Signalled, UserError

SILENT_STEPS = 20  # so many steps of nothing but zeros, and no gradient will come back
PROFILE_AFTER = 10  # steps of a sitting, so that compiling is not in it


class Trainer:
    """Makes steps, and does between them what the chief, or a signal to any process, asks for.

    Args:
      gan: the `DeblurGAN`, compiled anew before each phase.
      team: the `Team`.
      run: the `Workdir`.
      schedule: the `Schedule`.
      monitor: the `Monitor` of the chief; None in other processes.
      profile_steps: how many steps to profile, 0 for none.
    """

    def __init__(self, gan, team, run, schedule, monitor=None, profile_steps=0):
        self.gan, self.team, self.run, self.schedule = gan, team, run, schedule
        self.monitor, self.profile_steps = monitor, profile_steps
        self.silent, self.steps, self.signal = 0, 0, 0

    def train(self, batches, end, steps, steered, learning_rate):
        """One phase.

        Args:
          batches: endless, this process's share of each.
          end: where the phase ends, as a share of the run.
          steps: the most that it takes.
          steered: optimisers whose full learning rate is `learning_rate`.
        """
        step = self.team.compiled(self.gan.train_step)
        before, last = time.monotonic(), None
        for batch in itertools.islice(batches, steps):
            rate = learning_rate * self.schedule.rate(self.run)
            for optimizer in steered:
                optimizer.learning_rate = rate
            now = time.monotonic()
            spent, before = now - before, now
            chief = self.monitor is not None
            wishes = [spent * chief, chief and self.monitor.due(), self.signal]
            with self.profile():  # the device has a step to make while the host looks at the last
                this = step(batch, wishes)
                save, stop = self.look_at(last)
            self.run.step += 1
            last = this
            if save or stop:  # no step is kept that was not looked at
                self.look_at(last)
                last = None
            if stop:
                self.stop()
            if save:
                self.save()
                before = time.monotonic()
            if self.schedule.progress(self.run) >= end:
                break
        self.look_at(last)

    def look_at(self, read):
        """Waits for a step: whether the processes, who all see the same, wish to save, to stop."""
        if read is None:
            return False, False
        scalars, (spent, save, stop) = read()
        self.run.seconds += spent  # the chief's clock for all
        self.check(scalars)
        if self.monitor:
            self.monitor.after(scalars)
        return save, stop

    @contextlib.contextmanager
    def keeping(self):
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

    def hear(self, number, _):
        self.signal = number
        signal.signal(number, signal.SIG_DFL)  # who asks twice does not want to wait

    def save(self):
        if self.monitor:
            self.check_weights()
            self.monitor.save()

    def stop(self):
        """After a signal to any of the processes."""
        if self.monitor:
            self.check_weights()
            self.monitor.keep()
        self.team.meet()
        done = f"{self.run.path}: interrupted, and saved at step {self.run.step}"
        raise Signalled(f"{done}; run again to go on", self.signal or signal.SIGTERM)

    def check(self, scalars):
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

    def check_weights(self):
        """A step's last update shows in no loss before the next one, and must not be kept."""
        networks = self.gan.generator, self.gan.critic, self.gan.average
        weights = [weight for network in networks for weight in network.trainable_variables]
        if not all(tf.reduce_all(tf.math.is_finite(weight)) for weight in weights):
            self.fail("a weight is no longer finite; use a lower --learning_rate")

    def fail(self, why):
        kept = f"{self.run.latest} stands" if self.run.latest else "no checkpoint yet"
        raise UserError(f"step {self.run.step}: {why} ({kept})")

    @contextlib.contextmanager
    def profile(self):
        """Profiles some steps of the chief's, for TensorBoard."""
        self.steps += 1
        first = PROFILE_AFTER + 1
        wanted = self.profile_steps if self.monitor else 0
        if wanted and self.steps == first:
            tf.profiler.experimental.start(str(self.run.path / "logs"))
        with tf.profiler.experimental.Trace("train", step_num=self.steps, _r=1):
            yield
        if wanted and self.steps == first + wanted - 1:
            tf.profiler.experimental.stop()
