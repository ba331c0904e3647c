"""How much of an evaluation is scoring: restoring alone, against scoring beside it.

python benchmarks/evaluate.py [--precision=float32] [--pictures=12]
"""

import time

import numpy as np
from absl import flags

from tf_deblur import errors
from tf_deblur.scoring import methods, metrics, scoring

_PICTURES = flags.DEFINE_integer("pictures", 12, "Pairs of 1280x720 a round.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 3, "The best one counts.", 1)
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "Of `compact`.")
MOST = 0.35  # of the run's time


class Frames:
    """Pairs that are in memory: neither disk nor decoding is in the figures."""

    def __init__(self):
        rng = np.random.default_rng(0)
        halves = rng.integers(0, 256, (2, 720, 1280, 3), np.uint8)
        self.pair = dict(zip(("blurred", "sharp"), halves), sequence=".", frame="0")

    def read(self, index):
        return self.pair


def main(argv):
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; this benchmark takes flags only")
    frames, [model] = Frames(), methods.open_models("compact", _PRECISION.value)
    both = [methods.Method(methods.BLURRED, lambda pair: pair["blurred"]), model]
    numbers = range(_PICTURES.value)

    def evaluate():
        for _ in scoring.score_all(frames, numbers, both, ["none"], check=False):
            pass

    def restore():
        for number in numbers:
            model.restore(frames.read(number))

    def score():
        metrics.score(*(frames.pair[half] for half in ("blurred", "sharp")), data_range=255)

    restore(), score()  # warm
    times = np.array(
        [[measure_time(f) for f in (evaluate, restore, score)] for _ in range(_ROUNDS.value)]
    )
    whole, alone, one = times.min(0)
    share = 1 - alone / whole
    print(f"{_PICTURES.value} pairs of 1280x720, blurred and `compact` in {_PRECISION.value}")
    print(f"restoring alone: {alone:.2f} s; with scoring beside it: {whole:.2f} s")
    print(f"scoring one picture, on one core: {one:.3f} s")
    met = "met" if share <= MOST else "not met"
    print(f"scoring's share of the run: {share:.0%} (at most {MOST:.0%}: {met})")


def measure_time(function):
    begin = time.monotonic()
    function()
    return time.monotonic() - begin


if __name__ == "__main__":
    errors.run(main)
