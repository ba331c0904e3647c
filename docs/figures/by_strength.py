"""How much a network gains, and where it makes things worse, by how blurred its input was.

python docs/figures/by_strength.py scores/gopro/result.json scores/photographs/result.json

Each is what `evaluate --output` wrote. Their pictures, of whatever data sets, are taken together
and told apart by the PSNR of the blurred one, whole pictures as they lie. A table for each method.
"""

import itertools
import json
import math
import pathlib
import statistics

from tf_deblur import errors

EDGES = (22, 26, 30, 34)  # dB of the blurred picture


def main(argv):
    if len(argv) < 2:
        raise errors.UserError("no scores; name the result.json of one evaluation or more")
    methods = {}
    for name in argv[1:]:
        for method, gains in gains_of(pathlib.Path(name)).items():
            methods.setdefault(method, []).extend(gains)
    print("\n\n".join(table(method, gains) for method, gains in methods.items()))


def gains_of(path):
    """{method: [(PSNR of the blurred, what the method adds to it), …]}, where both are finite."""
    try:
        result = json.loads(path.read_text())
        scores = [frame["scores"]["none"] for frame in result["frames"] if "scores" in frame]
        psnrs = [{name: float(own["psnr"]) for name, own in each.items()} for each in scores]
        inputs = [by_method.pop("blurred") for by_method in psnrs]
    except OSError as error:
        raise errors.UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, LookupError, TypeError) as error:
        raise errors.UserError(
            f"{path}: holds no PSNR of pictures as they lie; `evaluate --output` writes such files"
        ) from error
    gains = {}
    for before, by_method in zip(inputs, psnrs):
        for method, after in by_method.items():
            if math.isfinite(before) and math.isfinite(after):
                gains.setdefault(method, []).append((before, after - before))
    return gains


def table(method, gains):
    """In Markdown: a row for each strength of which there are pictures, and one for all."""
    lines = [
        f"| {method}, PSNR of the blurred | pictures | gain, mean | made worse | least gain |",
        "|---|---:|---:|---:|---:|",
    ]
    edges = (-math.inf, *EDGES, math.inf)
    for low, high in [*itertools.pairwise(edges), (edges[0], edges[-1])]:
        own = [gain for before, gain in gains if low <= before < high]
        if own:
            worse = sum(gain < 0 for gain in own)
            mean = f"{statistics.mean(own):+.2f} ± {statistics.pstdev(own):.2f} dB"
            least = f"{min(own):+.2f} dB"
            lines.append(f"| {_name_range(low, high)} | {len(own)} | {mean} | {worse} | {least} |")
    return "\n".join(lines)


def _name_range(low, high):
    if math.isfinite(low) and math.isfinite(high):
        return f"{low} to {high}"
    return f"below {high} dB" if high < math.inf else f"from {low}" if low > -math.inf else "all"


if __name__ == "__main__":
    errors.run(main, tensorflow=False)
