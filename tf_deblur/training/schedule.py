"""How a run is divided into phases, how its learning rate goes, and how far it is."""

import dataclasses
import math
import sys
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

if typing.TYPE_CHECKING:  # loads TensorFlow
    import keras

DECAYS = ("none", "cosine")


@dataclasses.dataclass
class Progress:
    """How far a run is, earlier sittings included; all that counts steps counts them here.

    Attributes:
      step: training steps done. To read the networks' own variable would wait for the device.
      seconds: spent in them.
    """

    step: int = 0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a run with the same losses and optimisers.

    Attributes:
      name: "content" (without D), "discriminator" (D's warm-up), "adversarial" or "sgd".
      end: where it ends, as a share of the run.
      optimizers: which of the run's `Optimizers`, "adam" or "sgd".
      freeze: whether D alone learns.
      steps: the most that it takes.
    """

    name: str
    end: float
    optimizers: str = "adam"
    freeze: bool = False
    steps: int = sys.maxsize


@dataclasses.dataclass(frozen=True)
class Optimizers:
    """One kind of optimiser for both networks.

    Attributes:
      generator, discriminator: a Keras optimiser each, built; None without a discriminator.
      learning_rate: the full one.
      scheduled: whether it follows `Schedule.scale_rate`.
      discriminator_rate: D's own, which follows nothing; None for one as G's.
    """

    generator: "keras.optimizers.Optimizer"
    discriminator: "keras.optimizers.Optimizer | None"
    learning_rate: float
    scheduled: bool
    discriminator_rate: float | None = None

    @classmethod
    def build(
        cls, kind: Callable, networks: Iterable, *rates: float | None, **options: Any
    ) -> "Optimizers":
        """Of a `kind` of Keras', for a generator and a discriminator; a checkpoint fits them."""
        made = [network and kind(rates[0], **options) for network in networks]
        for optimizer, network in zip(made, networks):
            if optimizer:
                optimizer.build(network.trainable_variables)
        return cls(*made, *rates)

    def set_rates(self, scale: float) -> None:
        """Gives both the learning rate of a step, of which `scale` is left where scheduled."""
        rate = self.learning_rate * (scale if self.scheduled else 1)
        self.generator.learning_rate = rate
        if self.discriminator:
            own = self.discriminator_rate
            self.discriminator.learning_rate = rate if own is None else own


@dataclasses.dataclass
class Schedule:
    """How a run is divided, by steps or by the clock.

    Attributes:
      total: steps, or seconds with `by_clock`.
      content_fraction: share at the start with content loss only.
      sgd_fraction: share at the end by SGD.
      warmup_steps: in which Adam's learning rate rises to its full value.
      decay: one of `DECAYS`: with "cosine" the rate falls to its floor over the run.
      floor: that, as a share of the full rate.
      discriminator_warmup: D's updates before G learns from it.
      discriminator_steps: D's updates a step.
    """

    total: float
    by_clock: bool
    content_fraction: float
    sgd_fraction: float
    warmup_steps: int
    decay: str
    floor: float = 0.0
    discriminator_warmup: int = 0
    discriminator_steps: int = 1

    def list_phases(self, progress: Progress, updates: int = 0) -> Iterator[Phase]:
        """What is left of the run, phase by phase; none of them is empty.

        Args:
          progress: looked at anew before each phase.
          updates: D's until now, of those of its warm-up.
        """
        last = round(1 - self.sgd_fraction, 9)  # 1 - 0.7 is above 0.3
        left = math.ceil((self.discriminator_warmup - updates) / self.discriminator_steps)
        for phase in (
            Phase("content", self.content_fraction),
            Phase("discriminator", last, freeze=True, steps=left),
            Phase("adversarial", last),
            Phase("sgd", 1.0, "sgd"),
        ):
            if phase.steps > 0 and self.measure(progress) < phase.end:
                yield phase

    def measure(self, progress: Progress) -> float:
        """Share of the run that is done."""
        return (progress.seconds if self.by_clock else progress.step) / self.total

    def count_steps(self, phase: Phase, progress: Progress) -> int:
        """Steps to go in a phase, at most; by the clock, more than there will be."""
        left = sys.maxsize if self.by_clock else math.ceil(phase.end * self.total) - progress.step
        return min(phase.steps, left)

    def scale_rate(self, progress: Progress) -> float:
        """What Adam's full learning rate is multiplied with."""
        warm = min(1.0, (progress.step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        done = min(1.0, self.measure(progress))
        left = 0.5 + 0.5 * math.cos(math.pi * done) if self.decay == "cosine" else 1.0
        return warm * (self.floor + (1 - self.floor) * left)
