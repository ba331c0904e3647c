"""How far right results and wrong ones go by the guard's two measures: what its limits rest on.

python benchmarks/guard.py --dataset=gopro@DIR --dataset=synthetic_blur/extent=2-8@PHOTOGRAPHS
"""

import numpy as np
from absl import app, flags

from tf_deblur import datasets, errors
from tf_deblur.restoring import guard, loading

_DATASETS = flags.DEFINE_multi_string("dataset", None, "A row each.", required=True)
_SPLIT = flags.DEFINE_string("split", "train", "Of all of them; limits are set by training pairs.")
_DATA_DIR = flags.DEFINE_string("data_dir", "~/tensorflow_datasets", "For what is prepared.")
_PAIRS = flags.DEFINE_integer("pairs", 10_000, "At most, evenly spaced.", 1)
_MODEL = flags.DEFINE_string("model", "compact", "What deblur's --model takes.")


def main(_):
    with errors.quiet():
        from tf_deblur.datasets import prepared
    restore = loading.load(_MODEL.value)
    print("levels of 255: largest and 99.9th percentile of the blocks; share of blocks that fail")
    print("| pairs | n | light | contrast | perfect | network | shifted by 32 | noise |")
    print("|" + "---|" * 8)
    for name in _DATASETS.value:
        pairs = prepared.open_pairs(datasets.prepare(name, _DATA_DIR.value), _SPLIT.value)
        numbers = np.unique(np.linspace(0, len(pairs) - 1, _PAIRS.value).round().astype(int))
        light, contrast, shares = [], [], []
        for number in numbers:
            pair = pairs.decode(pairs.read(number))
            blurred, sharp = (pair[half].numpy() for half in ("blurred", "sharp"))
            measured = guard.measure(blurred, sharp)
            light.append(measured[0].ravel() * 255)
            contrast.append(measured[1].ravel() * 255)
            results = sharp, restore(blurred), np.roll(blurred, 32, axis=1), noise(blurred.shape)
            shares.append([guard.find_failing_blocks(blurred, result).mean() for result in results])
        values = (np.concatenate(values) for values in (light, contrast))
        row = [f"{v.max():.1f}, {np.percentile(v, 99.9):.1f}" for v in values]
        row += [f"{share:.3%}" for share in np.mean(shares, 0)]
        print("|", " | ".join([name.split("@")[0], str(len(numbers)), *row]), "|", flush=True)


def noise(shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


if __name__ == "__main__":
    app.run(main)
