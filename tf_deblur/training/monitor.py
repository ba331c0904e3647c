"""What the chief does beside the steps: progress line, scalars, validation, checkpoints."""

import math
import sys
import time

from tqdm import tqdm

from tf_deblur.training.checkpoints import Checkpoints
from tf_deblur.training.scalars import Scalars
from tf_deblur.training.schedule import Phase, Schedule
from tf_deblur.training.sources import leave_folders
from tf_deblur.training.validation import Validation


class Monitor:
    """Shows progress, logs scalars, validates and saves.

    Args:
      validations: what is validated on, the first to choose the best; none for nothing.
      batch_size: patches a step.
      checkpoint_minutes: between two checkpoints, each with a validation.
      notes: dict for the metadata of the weights.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        scalars: Scalars,
        schedule: Schedule,
        validations: list[Validation],
        batch_size: int,
        checkpoint_minutes: float,
        notes: dict[str, str],
    ):
        self.checkpoints, self.scalars, self.schedule = checkpoints, scalars, schedule
        self.validations, self.batch_size, self.notes = validations, batch_size, notes
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
        """Checkpoint, validation, before and after; their time is not the training's."""
        self.save_checkpoint()  # first: whatever stops a validation, what was trained is kept
        self.validate()
        self.report()
        tqdm.write(self.line, file=sys.stderr)
        self.saved = self.before = time.monotonic()

    def save_checkpoint(self) -> None:
        self.checkpoints.save(**self._describe())
        self.scalars.flush()

    def validate(self) -> None:
        """By this process alone, outside the strategy: others have no frames to wait with."""
        told = []
        for number, one in enumerate(self.validations):  # the first chooses the best
            name = leave_folders(one.name)
            scores, picture = one.score(self.checkpoints.gan)
            before = f"{name}/" if number else ""
            self.scalars.log({f"{before}{key}": value for key, value in scores.items()})
            text = "{psnr:.2f} dB {ssim:.3f} (blurred {blurred_psnr:.2f} {blurred_ssim:.3f})"
            told.append(f", {name if number else 'validation'} {text.format(**scores)}")
            if not number:
                self.scalars.log_picture(picture)
                if scores["psnr"] > self.checkpoints.best:
                    notes = {"validated_on": one.fingerprint, **self._describe()}
                    notes["blurred"] = "{blurred_psnr:.3f} dB".format(**scores)
                    self.checkpoints.save_best(scores["psnr"], **notes)
        self.score = "".join(told)

    def _describe(self):
        progress = self.checkpoints.progress
        minutes = f"{progress.seconds / 60:.0f} minutes"
        return {"trained": f"{progress.step} steps, {minutes}", **self.notes}
