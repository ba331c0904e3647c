"""Data sets as TFDS builders, one folder each; `prepare` opens or builds one.

Every builder has the features `blurred` and `sharp` (lossless, 8-bit RGB), `sequence` and
`frame`, keeps its records in the order of sequence and frame, and tells in its metadata
the `sequences` of each split with their counts, and the `smallest_side` of its pictures.
TensorFlow Datasets, slow to import, is imported with the first builder that is asked for.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import json
import pathlib
import sys

from tf_deblur.errors import UserError, quiet

NAMES = ("gopro", "image_pairs", "synthetic_blur")
DOWNLOAD = "download"  # said instead of a folder
FORMAT = "array_record"  # records are read by number, in the training's own order


def prepare(spec, data_dir, manual_dir=None, **fields):
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
      **fields: of the configuration, as in `spec`: extent=(9, 16).

    Returns:
      The prepared `tfds.core.DatasetBuilder`.

    Raises:
      UserError: no such data set, configuration or field, or a source that is missing or
        damaged.
    """
    name, config, told, folder = _parse(spec)
    with quiet():
        module = importlib.import_module(f"tf_deblur.datasets.{name}.{name}_dataset_builder")
    config = _configured(module.Builder.BUILDER_CONFIGS, config, told, fields, spec)
    folder = folder or manual_dir
    prepared = pathlib.Path(data_dir).expanduser() / name
    ending = _listing(module, folder) if folder else _only(prepared, config, module.Builder)
    config = dataclasses.replace(config, name=f"{config.name}-{ending}")
    with quiet():
        builder = module.Builder(config=config, data_dir=prepared.parent, file_format=FORMAT)
    if not builder.data_path.exists():
        _make(builder, folder, getattr(module, "OFFICIAL", {}))
    return builder


def _parse(spec):
    """NAME[/CONFIG][/FIELD=VALUE…][@FOLDER] -> name, config or None, {field: text}, folder."""
    told, _, folder = spec.partition("@")
    name, *parts = told.split("/")
    if name not in NAMES:
        raise UserError(f"{name}: no such data set; use one of {', '.join(NAMES)}")
    config = parts.pop(0) if parts and "=" not in parts[0] else None
    wrong = [part for part in parts if not all(part.partition("="))]
    if wrong:
        raise UserError(f"{spec}: {wrong[0]!r} is no FIELD=VALUE")
    return name, config, dict(part.split("=", 1) for part in parts), folder


def _configured(configs, name, told, fields, spec):
    """The configuration of this name, its fields replaced, its name ending in their hash."""
    configs = {config.name: config for config in configs}
    config = configs.get(name or next(iter(configs)))
    if not config:
        raise UserError(f"{spec}: no configuration {name}; use one of {', '.join(configs)}")
    own = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    for common in ("name", "version", "release_notes", "supported_versions", "description", "tags"):
        del own[common]  # every TFDS configuration has these
    for field in [*told, *fields]:
        if field not in own:
            has = f"it has {', '.join(own)}" if own else "it has none"
            raise UserError(f"{spec}: no field {field}; {has}")
    fields = {**{field: _value(field, text, own[field]) for field, text in told.items()}, **fields}
    return dataclasses.replace(config, **fields, name=f"{config.name}-{_digest({**own, **fields})}")


def _value(field, text, default):
    """A field's value from its text, of the kind that its default has."""
    try:
        if isinstance(default, tuple):
            low, high = text.split("-")
            return _number(low), _number(high)
        if isinstance(default, str):
            return text
        value = _number(text)
        if isinstance(default, int) and not isinstance(value, int):
            raise ValueError
        return value
    except ValueError:
        kinds = {tuple: "a range, such as 9-16", int: "a whole number", float: "a number"}
        raise UserError(f"{field}={text}: must be {kinds[type(default)]}") from None


def _number(text):
    return int(text) if text.isdecimal() else float(text)


def _digest(told):
    """Six hexadecimal digits of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:6]


def _listing(module, folder):
    """The hash of a source's files: their names and sizes."""
    if folder == DOWNLOAD and hasattr(module, "URL"):
        return DOWNLOAD
    folder = pathlib.Path(folder).expanduser()
    wanted = module.Builder.MANUAL_DOWNLOAD_INSTRUCTIONS
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name {wanted}")
    root, files = module.source(folder)
    if not files:
        raise UserError(f"{folder}: no pictures in it; name {wanted}")
    return _digest([[p.relative_to(root).as_posix(), p.stat().st_size] for p in files])


def _only(prepared, config, builder):
    """The ending of the one build that this configuration has; half-built ones do not count."""
    info = f"{config.name}-*/{builder.VERSION}/dataset_info.json"
    endings = [path.parts[-3].removeprefix(f"{config.name}-") for path in prepared.glob(info)]
    if len(endings) != 1:
        number = f"{len(endings)} are" if endings else "none is"
        raise UserError(
            f"{prepared.name}: {number} prepared in {prepared.parent}; name with --manual_dir "
            f"{builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )
    return endings[0]


def _make(builder, folder, official):
    import tensorflow_datasets as tfds

    _say(f"preparing {builder.name} from {folder} in {builder.data_path}")
    options = tfds.download.DownloadConfig()
    if folder != DOWNLOAD:
        options.manual_dir = pathlib.Path(folder).expanduser().resolve()
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(None):  # its own account of the same
            builder.download_and_prepare(download_config=options)
    except (OSError, *_archive_errors()) as error:
        raise UserError(f"{builder.name}: not prepared: {' '.join(str(error).split())}") from error
    counts = {name: split.num_examples for name, split in builder.info.splits.items()}
    of = {
        name: f"{n} of {official[name]} official" for name, n in counts.items() if name in official
    }
    told = ", ".join(f"{of.get(name, n)} pairs in {name}" for name, n in counts.items())
    _say(f"prepared {builder.name}: {told}")


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
