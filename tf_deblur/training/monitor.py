"""What the chief does beside the steps: progress, scalars, validation, checkpoints."""

import itertools
import math
import sys
import time

import numpy as np
from tqdm import tqdm

from tf_deblur.models.networks import restore
from tf_deblur.pictures import arrays


class Monitor:
    """Shows progress, writes scalars, validates and saves.

    Args:
      run: the `Workdir`.
      schedule: the `Schedule`.
      frames: whole validation pairs, each (1, h, w, 3) in [0, 1], as often as asked; or None.
      batch_size: patches a step.
      checkpoint_minutes: between two checkpoints, each with a validation.
      notes: dict for the metadata of the weights.
    """

    def __init__(self, run, schedule, frames, batch_size, checkpoint_minutes, notes):
        self.run, self.schedule, self.frames = run, schedule, frames
        self.batch_size, self.notes = batch_size, notes
        self.between = checkpoint_minutes * 60
        self.bar = tqdm(total=1.0, disable=None, bar_format="{percentage:3.0f}%|{bar:10}| {desc}")
        self.speed, self.steps, self.spent, self.score = None, 0, 0, ""
        self.saved = time.monotonic()

    def begin(self, phase, learning_rates):
        """Names the phase, and the function that tells its learning rate by name."""
        self.phase, self.rates = phase, learning_rates
        self.told, self.before = -math.inf, time.monotonic()

    def due(self):
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self.saved > self.between

    def after(self, scalars):
        """After each step."""
        self.scalars, now = scalars, time.monotonic()
        self.steps = 0.9 * self.steps + 1
        self.spent, self.before = 0.9 * self.spent + now - self.before, now
        self.speed = self.batch_size * self.steps / self.spent
        if now - self.told > 2:
            self.tell()

    def tell(self):
        """The scalars of the last step, and the progress line."""
        self.told = time.monotonic()
        self.run.log({**self.scalars, **self.rates(), "patches_per_second": self.speed})
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
        self.validate()
        self.keep()
        self.tell()
        tqdm.write(self.line, file=sys.stderr)
        self.saved = self.before = time.monotonic()

    def keep(self):
        """A checkpoint."""
        self.run.save(**self.described())

    def validate(self):
        """By this process alone, outside the strategy: others have no frames to wait with."""
        if self.frames is None:
            return
        scores = [self.run.gan.score(blurred, sharp) for blurred, sharp in self.frames]
        psnr, blurred = np.mean(scores, axis=0, dtype=np.float64).ravel().tolist()
        self.run.log({"psnr": psnr, "blurred_psnr": blurred})
        self.score = f", validation {psnr:.2f} dB (blurred {blurred:.2f})"
        self.pictures()
        if psnr > self.run.best:
            self.run.save_best(
                psnr, validation=f"{psnr:.3f} dB, blurred {blurred:.3f} dB", **self.described()
            )

    def pictures(self, most=3, side=320):
        """The middles of the first validation frames: blurred, restored, sharp, a row each."""
        rows = []
        for blurred, sharp in itertools.islice(self.frames, most):
            triple = blurred, restore(self.run.gan.average, blurred), sharp
            top, left = (max(length - side, 0) // 2 for length in blurred.shape[1:3])
            cut = [np.asarray(x)[0, top : top + side, left : left + side] for x in triple]
            rows.append(arrays.join_side_by_side(*map(arrays.to_uint8, cut)))
        width = max(row.shape[1] for row in rows)
        padded = [np.pad(row, [(0, 0), (0, width - row.shape[1]), (0, 0)]) for row in rows]
        self.run.log_picture(np.concatenate(padded))

    def described(self):
        minutes = f"{self.run.seconds / 60:.0f} minutes"
        return {"trained": f"{self.run.step} steps, {minutes}", **self.notes}
