"""What the chief does beside the steps: progress line, scalars, validation, checkpoints."""

import itertools
import math
import sys
import time
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from tf_deblur.models.networks import restore
from tf_deblur.pictures import arrays
from tf_deblur.training.checkpoints import Checkpoints
from tf_deblur.training.scalars import Scalars
from tf_deblur.training.schedule import Phase, Schedule
from tf_deblur.training.sources import Validation


class Monitor:
    """Shows progress, logs scalars, validates and saves.

    Args:
      validation: what is validated on; None for nothing.
      batch_size: patches a step.
      checkpoint_minutes: between two checkpoints, each with a validation.
      notes: dict for the metadata of the weights.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        scalars: Scalars,
        schedule: Schedule,
        validation: Validation | None,
        batch_size: int,
        checkpoint_minutes: float,
        notes: dict[str, str],
    ):
        self.checkpoints, self.scalars, self.schedule = checkpoints, scalars, schedule
        self.validation, self.batch_size, self.notes = validation, batch_size, notes
        self.between = checkpoint_minutes * 60
        self.bar = tqdm(total=1.0, disable=None, bar_format="{percentage:3.0f}%|{bar:10}| {desc}")
        self.speed, self.recent, self.spent, self.score = 0.0, 0.0, 0.0, ""
        self.saved = time.monotonic()

    def begin(self, phase: Phase) -> None:
        """Before the first step of a phase."""
        self.phase = phase
        self.reported, self.before = -math.inf, time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return time.monotonic() - self.saved > self.between

    def note(self, last: dict[str, float]) -> None:
        """After each step: its scalars."""
        self.last, now = last, time.monotonic()
        self.recent = 0.9 * self.recent + 1
        self.spent, self.before = 0.9 * self.spent + now - self.before, now
        self.speed = self.batch_size * self.recent / self.spent
        if now - self.reported > 2:
            self.report()

    def report(self) -> None:
        """The scalars of the last step, and the progress line."""
        self.reported, progress = time.monotonic(), self.checkpoints.progress
        rates = self.checkpoints.gan.read_learning_rates()
        self.scalars.log({**self.last, **rates, "patches_per_second": self.speed})
        left = "?"
        if self.schedule.by_clock:
            left = tqdm.format_interval(self.schedule.total - progress.seconds)
        elif self.speed:
            steps = self.schedule.total - progress.step
            left = tqdm.format_interval(steps * self.batch_size / self.speed)
        losses = {"content": "content", "adversarial": "adversarial", "discriminator": "D"}
        shown = [f"{losses[n]} {self.last[n]:.4f}" for n in losses if n in self.last]
        self.line = (
            f"{self.phase.name}, step {progress.step}: {', '.join(shown)}{self.score}, "
            f"{self.speed:.0f} patches/s, {max(left, '00:00')} left"
        )
        self.bar.n = min(1.0, self.schedule.measure(progress))
        self.bar.set_description_str(self.line)

    def save(self) -> None:
        """Validation, before and after, checkpoint; their time is not the training's."""
        self.validate()
        self.save_checkpoint()
        self.report()
        tqdm.write(self.line, file=sys.stderr)
        self.saved = self.before = time.monotonic()

    def save_checkpoint(self) -> None:
        self.checkpoints.save(**self._describe())
        self.scalars.flush()

    def validate(self) -> None:
        """By this process alone, outside the strategy: others have no frames to wait with."""
        if self.validation is None:
            return
        frames = self.validation.frames
        scores = [self.checkpoints.gan.score(blurred, sharp) for blurred, sharp in frames]
        psnr, blurred = np.mean(scores, axis=0, dtype=np.float64).ravel().tolist()
        self.scalars.log({"psnr": psnr, "blurred_psnr": blurred})
        self.score = f", validation {psnr:.2f} dB (blurred {blurred:.2f})"
        self.log_pictures(frames)
        if psnr > self.checkpoints.best:
            notes = {"validation": f"{psnr:.3f} dB, blurred {blurred:.3f} dB", **self._describe()}
            self.checkpoints.save_best(psnr, validated_on=self.validation.fingerprint, **notes)

    def log_pictures(self, frames: Iterable, most: int = 3, side: int = 320) -> None:
        """The middles of the first validation frames: blurred, restored, sharp, a row each."""
        rows = []
        for blurred, sharp in itertools.islice(frames, most):
            triple = blurred, restore(self.checkpoints.gan.average, blurred), sharp
            top, left = (max(length - side, 0) // 2 for length in blurred.shape[1:3])
            cut = [np.asarray(x)[0, top : top + side, left : left + side] for x in triple]
            rows.append(arrays.join_side_by_side(*map(arrays.to_uint8, cut)))
        width = max(row.shape[1] for row in rows)
        padded = [np.pad(row, [(0, 0), (0, width - row.shape[1]), (0, 0)]) for row in rows]
        self.scalars.log_picture(np.concatenate(padded))

    def _describe(self):
        progress = self.checkpoints.progress
        minutes = f"{progress.seconds / 60:.0f} minutes"
        return {"trained": f"{progress.step} steps, {minutes}", **self.notes}
