"""What happens round the training steps: the schedule, and the monitor that keeps it."""

import contextlib
import dataclasses
import math
import sys
import time

import keras
import numpy as np
from tqdm import tqdm

from tf_deblur.errors import UserError
from tf_deblur.models.networks import restore
from tf_deblur.pictures import arrays

SILENT_STEPS = 20  # so many steps of nothing but zeros, and no gradient will come back


@dataclasses.dataclass
class Schedule:
    """How a run is divided, by steps or by the clock.

    Attributes:
      total: steps, or seconds with `by_clock`.
      content_fraction: share at the start with content loss only.
      sgd_fraction: share at the end by SGD.
      warmup_steps: in which Adam's learning rate rises to its full value.
      cosine: whether it falls to zero over the run.
    """

    total: float
    by_clock: bool
    content_fraction: float
    sgd_fraction: float
    warmup_steps: int
    cosine: bool

    def phases(self):
        """(name, where it ends as a share of the run), in order; none of them empty."""
        ends = {"content": self.content_fraction, "adversarial": 1 - self.sgd_fraction, "sgd": 1}
        begin = 0
        for name, end in ends.items():
            if end > begin:
                yield name, end
                begin = end

    def progress(self, run):
        """Share of the run that is done."""
        return (run.seconds if self.by_clock else run.step) / self.total

    def steps_until(self, end, run):
        """Steps to go until the share `end`; by the clock, more than there will be."""
        return 2**31 if self.by_clock else math.ceil(end * self.total) - run.step

    def rate(self, run):
        """What Adam's learning rate is multiplied with."""
        warm = min(1.0, (run.step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        done = min(1.0, self.progress(run))
        return warm * (0.5 + 0.5 * math.cos(math.pi * done) if self.cosine else 1.0)


class Monitor(keras.callbacks.Callback):
    """Sets learning rates, shows progress, saves and validates, and stops what has failed.

    Args:
      run: the `Workdir`.
      schedule: the `Schedule`.
      frames: whole validation pairs, a dataset, or None.
      batch_size: patches a step.
      checkpoint_minutes: between two checkpoints, each with a validation.
      notes: dict for the metadata of the weights.
    """

    def __init__(self, run, schedule, frames, batch_size, checkpoint_minutes, notes):
        super().__init__()
        self.run, self.schedule, self.frames = run, schedule, frames
        self.batch_size, self.notes = batch_size, notes
        self.between = checkpoint_minutes * 60
        self.bar = tqdm(total=1.0, disable=None, bar_format="{percentage:3.0f}%|{bar:10}| {desc}")
        self.speed, self.silent, self.score = None, 0, ""
        self.saved = time.monotonic()

    def begin(self, phase, end, steered, learning_rate):
        """Names the phase, where it ends, and the optimisers whose full rate is `learning_rate`."""
        self.phase, self.end = phase, end
        self.steered, self.learning_rate = steered, learning_rate
        self.told, self.before = -math.inf, time.monotonic()

    def on_train_batch_begin(self, batch, logs=None):
        rate = self.learning_rate * self.schedule.rate(self.run)
        for optimizer in self.steered:
            optimizer.learning_rate = rate

    def on_train_batch_end(self, batch, logs=None):
        self.scalars = {name: float(value) for name, value in logs.items()}
        self.check(self.scalars)
        now = time.monotonic()
        spent, self.before = now - self.before, now
        self.run.add_seconds(spent)
        self.speed = 0.9 * (self.speed or self.batch_size / spent) + 0.1 * self.batch_size / spent
        if now - self.saved > self.between:
            self.save()
        elif now - self.told > 2:
            self.tell()
        if self.schedule.progress(self.run) >= self.end:
            self.model.stop_training = True

    def check(self, scalars):
        """Stops a run that can only get worse."""
        bad = [name for name, value in scalars.items() if not math.isfinite(value)]
        self.silent = self.silent + 1 if scalars["zeros"] >= 1 else 0
        if bad:
            self.stop(f"{bad[0]} is {scalars[bad[0]]}; use a lower --learning_rate")
        if self.silent >= SILENT_STEPS:
            self.stop(
                f"every restored pixel is zero, and was for {SILENT_STEPS} steps: the last ReLU "
                "gives no gradient any more; use --initializer=torch7 or another --seed"
            )

    def stop(self, why):
        kept = f"{self.run.latest} stands" if self.run.latest else "no checkpoint yet"
        raise UserError(f"step {self.run.step}: {why} ({kept})")

    def tell(self):
        """The scalars of the last step, and the progress line."""
        self.told = time.monotonic()
        self.run.log({**self.scalars, "patches_per_second": self.speed})
        left = "?"
        if self.schedule.by_clock:
            left = tqdm.format_interval(self.schedule.total - self.run.seconds)
        elif self.speed:
            steps = self.schedule.total - self.run.step
            left = tqdm.format_interval(steps * self.batch_size / self.speed)
        losses = {"content": "content", "adversarial": "adversarial", "discriminator": "D"}
        shown = [f"{losses[n]} {self.scalars[n]:.4f}" for n in losses if n in self.scalars]
        self.line = (
            f"{self.phase}, step {self.run.step}: {', '.join(shown)}{self.score}, "
            f"{self.speed:.0f} patches/s, {max(left, '00:00')} left"
        )
        self.bar.n = min(1.0, self.schedule.progress(self.run))
        self.bar.set_description_str(self.line)

    def save(self):
        """Validation, before and after, checkpoint; their time is not the training's."""
        self.check_weights()
        self.validate()
        self.run.save(**self.described())
        self.tell()
        tqdm.write(self.line, file=sys.stderr)
        self.saved = self.before = time.monotonic()

    def check_weights(self):
        """A step's last update shows in no loss before the next one, and must not be kept."""
        gan = self.run.gan
        networks = gan.generator, gan.critic, gan.average
        if not all(np.isfinite(w).all() for network in networks for w in network.get_weights()):
            self.stop("a weight is no longer finite; use a lower --learning_rate")

    @contextlib.contextmanager
    def keeping(self):
        """Ends with a checkpoint and a validation; interrupted, with a checkpoint."""
        try:
            yield
            self.save()
        except KeyboardInterrupt:
            self.check_weights()
            self.run.save(**self.described())
            done = f"{self.run.path}: interrupted, and saved at step {self.run.step}"
            raise KeyboardInterrupt(f"{done}; run again to go on") from None
        finally:
            self.bar.close()

    def validate(self):
        if self.frames is None:
            return
        scores = self.model.evaluate(self.frames, verbose=0, return_dict=True)
        psnr, blurred = scores["psnr"], scores["blurred_psnr"]
        self.run.log(scores)
        self.score = f", validation {psnr:.2f} dB (blurred {blurred:.2f})"
        self.picture()
        if psnr > self.run.best:
            self.run.save_best(
                psnr, validation=f"{psnr:.3f} dB, blurred {blurred:.3f} dB", **self.described()
            )

    def picture(self, side=320):
        """The middle of the first validation frame: blurred, restored, sharp."""
        blurred, sharp = next(iter(self.frames))
        triple = blurred, restore(self.model.average, blurred), sharp
        top, left = ((length - side) // 2 if length > side else 0 for length in blurred.shape[1:3])
        cut = [np.asarray(x)[0, top : top + side, left : left + side] for x in triple]
        self.run.log_picture(*(arrays.to_uint8(x) for x in cut))

    def described(self):
        minutes = f"{self.run.seconds / 60:.0f} minutes"
        return {"trained": f"{self.run.step} steps, {minutes}", **self.notes}
