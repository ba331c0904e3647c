"""Data sets as TFDS builders, one folder each; `prepare` opens or builds one.

Every builder has the features `blurred` and `sharp` (lossless, 8-bit RGB), `sequence` and
`frame`, keeps its records in the order of sequence and frame, and tells in its metadata
the `sequences` of each split with their counts, the `smallest_side` of its pictures, the
number of examples in an `official` copy's splits, and whether the halves are `registered`.
Pictures without their other half are in splits of their own, `blurred` and `sharp`; the half
that is not there is one black pixel, so that nothing scores against it by mistake.
TensorFlow Datasets, slow to import, is imported with the first builder that is asked for.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import json
import math
import pathlib
import statistics
import sys
import typing
from collections.abc import Iterable
from typing import Any

from tf_deblur.errors import UserError, quiet

if typing.TYPE_CHECKING:
    import tensorflow_datasets as tfds

NAMES = ("gopro", "image_pairs", "kohler", "lai", "synthetic_blur")
ALONE = ("blurred", "sharp")  # splits of pictures whose other half is not there
HELD_OUT_EVERY = 8
DOWNLOAD = "download"  # said instead of a folder
FORMAT = "array_record"  # records are read by number, in the training's own order


def prepare(
    spec: str, data_dir: str, manual_dir: str | None = None, in_place: bool = False, **fields: Any
) -> "tfds.core.DatasetBuilder":
    """Opens a prepared data set, or prepares it now.

    Other fields or other source files are another data set: hashes of the fields and of
    the source's names and sizes are part of the prepared folder's name. Half-prepared ones
    are never taken for whole: TFDS writes beside and renames.

    Args:
      spec: NAME[/CONFIG][/FIELD=VALUE…][@FOLDER], such as `gopro/blur_gamma` or
        `synthetic_blur/extent=9-16/variants=2@photographs`. A range is LOW-HIGH; FOLDER
        replaces `manual_dir`.
      data_dir: where prepared data sets are kept.
      manual_dir: where the pictures are. Without it, the one that is prepared already.
        The word "download" fetches the published archive, where a data set has one.
      in_place: whether pairs that are files already are read from these, and nothing is prepared.
      **fields: of the configuration, as in `spec`: extent=(9, 16).

    Returns:
      The prepared `tfds.core.DatasetBuilder`.

    Raises:
      UserError: no such data set, configuration or field, or a source that is missing or
        damaged.
    """
    name, config, texts, folder = _parse(spec)
    module = _import(name)
    config = _configure(module.Builder.BUILDER_CONFIGS, config, texts, fields, spec)
    folder = folder or manual_dir
    prepared = pathlib.Path(data_dir).expanduser() / name
    ending = _hash_source(module, config, folder) if folder else _find(module, config, prepared)
    config = dataclasses.replace(config, name=f"{config.name}-{ending}")
    with quiet():
        builder = module.Builder(config=config, data_dir=prepared.parent, file_format=FORMAT)
    in_place = in_place and folder is not None and hasattr(module, "read_in_place")
    if in_place and not builder.data_path.exists():
        module.read_in_place(builder, pathlib.Path(str(folder)).expanduser())
    elif not builder.data_path.exists():
        _make(builder, folder, prepared.parent / "downloads/extracted" / ending)
    return builder


def divide_photographs(folder: str) -> tuple[list, list]:
    """Sharp photographs below a folder, divided by name as `synthetic_blur` divides them.

    Returns:
      Paths to train on, and for each photograph held out a function without arguments that
      makes its first pair: blurred, sharp, (h, w, 3) uint8.

    Raises:
      UserError: no such folder, or no photographs in it.
    """
    module = _import("synthetic_blur")
    config = module.Builder.BUILDER_CONFIGS[0]
    root, files = _find_source(module, config, folder)
    train, held_out = module.divide(files, root)
    make = functools.partial(module.make_first_pair, folder=root, config=config)
    return train, [functools.partial(make, path) for path in held_out]


def choose_held_out(names: Iterable[str]) -> set[str]:
    """The one in eight that is kept for validation: one at least, and never all.

    By hashes, so that what was trained on is not validated on when others are added, in any format.
    """
    hashes = {n: int(hashlib.sha256(n.encode()).hexdigest(), 16) for n in names}
    least = sorted(hashes, key=lambda name: hashes[name])[:1]
    held = [name for name, number in hashes.items() if number % HELD_OUT_EVERY == 0] or least
    return set(sorted(held)[: len(hashes) - 1])


def _import(name):
    with quiet():
        return importlib.import_module(f"tf_deblur.datasets.{name}.{name}_dataset_builder")


def _parse(spec):
    """NAME[/CONFIG][/FIELD=VALUE…][@FOLDER] -> name, config or None, {field: text}, folder."""
    start, _, folder = spec.partition("@")
    name, *parts = start.split("/")
    if name not in NAMES:
        raise UserError(f"{name}: no such data set; use one of {', '.join(NAMES)}")
    config = parts.pop(0) if parts and "=" not in parts[0] else None
    wrong = [part for part in parts if not all(part.partition("="))]
    if wrong:
        raise UserError(f"{spec}: {wrong[0]!r} is no FIELD=VALUE")
    return name, config, dict(part.split("=", 1) for part in parts), folder


def _configure(configs, name, texts, fields, spec):
    """The configuration of this name, its fields replaced, its name ending in their hash."""
    configs = {config.name: config for config in configs}
    config = configs.get(name or next(iter(configs)))
    if not config:
        raise UserError(f"{spec}: no configuration {name}; use one of {', '.join(configs)}")
    own = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    for common in ("name", "version", "release_notes", "supported_versions", "description", "tags"):
        del own[common]  # every TFDS configuration has these
    for field in [*texts, *fields]:
        if field not in own:
            has = f"it has {', '.join(own)}" if own else "it has none"
            raise UserError(f"{spec}: no field {field}; {has}")
    fields = {
        field: _parse_value(field, text, own[field]) for field, text in texts.items()
    } | fields
    decisive = {field: value for field, value in {**own, **fields}.items() if field != "beam"}
    return dataclasses.replace(config, **fields, name=f"{config.name}-{_digest(decisive)}")


def _parse_value(field, text, default):
    """A field's value from its text, of the kind that its default has."""
    try:
        if isinstance(default, tuple):
            low, high = text.split("-")
            return _parse_number(low), _parse_number(high)
        if isinstance(default, str):
            return text
        value = _parse_number(text)
        if isinstance(default, int) and not isinstance(value, int):
            raise ValueError
        return value
    except ValueError:
        kinds = {tuple: "a range, such as 9-16", int: "a whole number", float: "a number"}
        raise UserError(f"{field}={text}: must be {kinds[type(default)]}") from None


def _parse_number(text):
    return int(text) if text.isdecimal() else float(text)


def _digest(facts):
    """Six hexadecimal digits of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:6]


def _hash_source(module, config, folder):
    """The hash of a source's files: their names and sizes."""
    if folder == DOWNLOAD and getattr(config, "url", None):
        return DOWNLOAD
    root, files = _find_source(module, config, folder)
    return _digest([[p.relative_to(root).as_posix(), p.stat().st_size] for p in files])


def _find_source(module, config, folder):
    """Where a source's files are, and which they are."""
    folder = pathlib.Path(folder).expanduser()
    wanted = module.Builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name {wanted}")
    root, files = module.find_source(folder, config)
    if not files:
        raise UserError(f"{folder}: no pictures in it; name {wanted}")
    return root, files


def _find(module, config, prepared):
    """The ending of the one build that this configuration has; half-built ones do not count."""
    info = f"{config.name}-*/{module.Builder.VERSION}/dataset_info.json"
    endings = [path.parts[-3].removeprefix(f"{config.name}-") for path in prepared.glob(info)]
    if len(endings) != 1:
        number = f"{len(endings)} are" if endings else "none is"
        raise UserError(
            f"{prepared.name}: {number} prepared in {prepared.parent}; name with --manual_dir "
            f"{module.Builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )
    return endings[0]


def _make(builder, folder, extract_dir):
    import tensorflow_datasets as tfds

    _say(f"preparing {builder.name} from {folder} in {builder.data_path}")
    # TFDS takes what it unpacked from any archive of this name: another archive, another folder.
    options = tfds.download.DownloadConfig(extract_dir=extract_dir)
    if getattr(builder.builder_config, "beam", 0):
        options.beam_options = _all_cores()
    if folder != DOWNLOAD:
        options.manual_dir = pathlib.Path(folder).expanduser().resolve()
    chatter = contextlib.nullcontext()
    if not sys.stderr.isatty():  # no progress bars, and not libpng's word on a damaged file
        tfds.disable_progress_bar()
        chatter = quiet()
    try:
        with chatter, contextlib.redirect_stdout(None):  # TFDS's own account of the same
            builder.download_and_prepare(download_config=options)
    except (OSError, *_archive_errors()) as error:
        raise UserError(f"{builder.name}: not prepared: {' '.join(str(error).split())}") from error
    _say(f"prepared {builder.name}: {', '.join(_count_splits(builder.info))}")
    if apart := builder.info.metadata.get("apart"):
        _say(f"{builder.name}: {_describe(apart)}")


def _all_cores():
    """Beam's own local runner, on all of this machine's cores."""
    from apache_beam.options.pipeline_options import PipelineOptions

    return PipelineOptions(["--direct_num_workers=0", "--direct_running_mode=multi_threading"])


def _count_splits(info):
    """How much each split has, of how much, and what is missing."""
    for name, split in info.splits.items():
        official = info.metadata["official"].get(name)
        count = f"{split.num_examples} of {official} official" if official else split.num_examples
        yield f"{count} {'pictures alone' if name in ALONE else 'pairs'} in {name}"
    if missing := info.metadata.get("missing"):
        yield f"no sharp half of {', '.join(missing)}"


def _describe(apart):
    """How far the halves of pairs are off: [name, pixels down and right, brightness] of each."""
    far = sorted((math.hypot(*shift), name) for name, *shift, _ in apart)[::-1]
    brighter = round(statistics.median(bright for *_, bright in apart) - 1, 2) + 0  # no "-0%"
    worst = ", ".join(f"{name} by {by:.1f}" for by, name in far[:5] if by >= 1)
    advice = f" ({worst}); /align=shift registers them" if worst else ""
    middle = statistics.median(by for by, _ in far)
    return (
        f"blurred and sharp halves as they came lie {middle:.1f} pixels apart, at most "
        f"{far[0][0]:.1f}{advice}; blurred ones are brighter by {brighter:+.0%}"
    )


def _archive_errors():
    """What TFDS raises when an archive is not to be had, or not whole."""
    from tensorflow_datasets.core import download

    return (
        download.download_manager.NonMatchingChecksumError,
        download.extractor.ExtractError,
        download.util.DownloadError,
    )


def _say(line):
    print(line, file=sys.stderr, flush=True)
