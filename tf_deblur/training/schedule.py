"""How a run is divided into phases, and how its learning rate goes."""

import dataclasses
import math


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
