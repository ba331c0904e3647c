"""What --dataset names, opened: gopro:0.3,photographs@FOLDER:0.7."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable

from tf_deblur import datasets
from tf_deblur.datasets import prepared
from tf_deblur.datasets.prepared import Pairs
from tf_deblur.errors import UserError
from tf_deblur.training.patches import PatchSettings
from tf_deblur.training.team import Team

PHOTOGRAPHS = "photographs"  # the data set that is never prepared


@dataclasses.dataclass(frozen=True)
class Source:
    """Pairs, or sharp photographs, of which a training makes pairs.

    Attributes:
      name: as --dataset has it.
      train: `Pairs`, or the photographs' paths.
      held_out: `Pairs`, or for each photograph a function that makes its first pair.
      facts: text that tells them from others.
      weight: their share of a batch, of the sum of all sources'.
    """

    name: str
    train: Pairs | list[pathlib.Path]
    held_out: Pairs | list[Callable]
    facts: str
    weight: float


def open_sources(
    dataset: str, data_dir: str, manual_dir: str | None, settings: PatchSettings, team: Team
) -> list[Source]:
    """All processes together: opens what --dataset names, and says how much it is.

    Args:
      dataset: what `datasets.prepare` takes, or photographs@FOLDER, with :WEIGHT or without;
        several with commas between.
      data_dir, manual_dir: as there.
      settings: what patches will go through.

    Raises:
      UserError: one cannot be opened, no such patches can be cut from it, or another process
        has others.
    """
    if not team.chief:
        team.meet()  # the chief prepares first, for others may share its disk
    opened = [_open(part, data_dir, manual_dir, settings) for part in dataset.split(",")]
    if team.chief:
        team.meet()
    team.compare({"data": " ".join(source.facts for source in opened)})
    return opened


def _open(part, data_dir, manual_dir, settings):
    spec, weight = _split_weight(part)
    name, _, folder = spec.partition("@")
    if name.partition("/")[0] == PHOTOGRAPHS:
        kind, opened = PHOTOGRAPHS, _open_photographs(spec, name, folder or manual_dir, settings)
    else:
        kind, opened = "pairs", _open_pairs(spec, data_dir, manual_dir, settings)
    train, held_out, facts = opened
    print(f"{spec}: {len(train)} {kind} to train on, {len(held_out)} to validate on", flush=True)
    return Source(spec, train, held_out, facts, weight)


def _open_pairs(spec, data_dir, manual_dir, settings):
    builder = datasets.prepare(spec, data_dir, manual_dir)
    smallest = builder.info.metadata["smallest_side"]
    if smallest < settings.patch_size:
        raise UserError(
            f"{spec}: a picture in it has a side of {smallest} pixels, and a patch "
            f"{settings.patch_size}; take it out, or use a smaller --patch_size"
        )
    train, held_out = (prepared.open_pairs(builder, split) for split in ("train", "validation"))
    return train, held_out, f"{builder.info.full_name} {len(train)}"


def _open_photographs(spec, name, folder, settings):
    if name != PHOTOGRAPHS or not folder:
        raise UserError(
            f"{spec}: {PHOTOGRAPHS}@FOLDER, or with --manual_dir=FOLDER, and no fields; use "
            "synthetic_blur for those"
        )
    if settings.rotation != "right_angles":
        raise UserError(f"{spec}: wants --rotation=right_angles, which keep pixels as they are")
    train, held_out = datasets.divide_photographs(folder)
    paths = [*train, *(make.args[0] for make in held_out)]
    facts = " ".join(f"{path.name} {path.stat().st_size}" for path in paths)
    return train, [functools.cache(make) for make in held_out], facts  # each made once


def _split_weight(part):
    """gopro:0.3 -> ("gopro", 0.3); without a number the weight is 1."""
    spec, colon, number = part.rpartition(":")
    try:
        weight = float(number) if colon else 1.0
    except ValueError:
        return part, 1.0
    if not 0 < weight < math.inf:
        raise UserError(f"--dataset={part}: a weight is a finite number above 0")
    return (spec if colon else part), weight


def group(sources: list[Source]) -> tuple[list, list]:
    """Pairs and photographs, each with its weight, as `Mixture` takes them."""
    pairs = [(s.train, s.weight) for s in sources if isinstance(s.train, Pairs)]
    return pairs, [(s.train, s.weight) for s in sources if not isinstance(s.train, Pairs)]


def leave_folders(dataset: str) -> str:
    """photographs@/home/me/cats:0.3,gopro -> photographs@cats:0.3,gopro"""
    told = []
    for part in dataset.split(","):
        spec, _ = _split_weight(part)
        name, at, folder = spec.partition("@")
        told.append(f"{name}{at}{pathlib.Path(folder).name}{part.removeprefix(spec)}")
    return ",".join(told)
