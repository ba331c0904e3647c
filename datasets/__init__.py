"""Data sets as TFDS builders, one folder each; importing a builder registers it.

Every builder has the features `blurred` and `sharp` (lossless, 8-bit RGB), `sequence` and
`frame`, keeps its records in the order of sequence and frame, and tells in its metadata
the `sequences` of each split with their counts, and the `smallest_side` of its pictures.
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
FORMAT = "array_record"  # records are read by number, in the training's own order


def prepare(spec, data_dir, manual_dir=None):
    """Opens a prepared data set, or prepares it now.

    Other fields or other source files are another data set: a hash of the fields and of
    the source's names and sizes is part of the prepared folder's name. Half-prepared ones
    are never taken for whole: TFDS writes beside and renames.

    Args:
      spec: NAME, NAME/CONFIG or either with @FOLDER, which replaces `manual_dir`.
      data_dir: where prepared data sets are kept.
      manual_dir: where the pictures are. Without it, the one that is prepared already.

    Returns:
      The prepared `tfds.core.DatasetBuilder`.

    Raises:
      UserError: no such data set or configuration, or its source is missing or damaged.
    """
    spec, _, folder = spec.partition("@")
    name, _, config = spec.partition("/")
    folder = folder or manual_dir
    data_dir = pathlib.Path(data_dir).expanduser()
    if name not in NAMES:
        raise UserError(f"{name}: no such data set; use one of {', '.join(NAMES)}")
    with quiet():
        module = importlib.import_module(f"tf_deblur.datasets.{name}.{name}_dataset_builder")
    configs = {config.name: config for config in module.Builder.BUILDER_CONFIGS}
    config = config or next(iter(configs))
    if config not in configs:
        raise UserError(f"{name}/{config}: no such configuration; use one of {', '.join(configs)}")
    config = configs[config]
    if folder:
        config = dataclasses.replace(config, name=f"{config.name}-{_hash(module, config, folder)}")
    else:
        config = dataclasses.replace(config, name=_only(data_dir / name, config.name, spec))
    with quiet():
        builder = module.Builder(config=config, data_dir=data_dir, file_format=FORMAT)
    if not builder.data_path.exists():
        _make(builder, folder)
    return builder


def _hash(module, config, folder):
    """Eight hexadecimal digits of a configuration's fields and its source's listing."""
    folder = pathlib.Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; name the one that holds the pictures")
    fields = {key: value for key, value in vars(config).items() if key != "description"}
    files = [[str(p.relative_to(folder)), p.stat().st_size] for p in module.source_files(folder)]
    told = json.dumps([fields, str(module.Builder.VERSION), files], default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:8]


def _only(prepared, config, spec):
    """The name of the one prepared configuration that began as `config`."""
    found = [p.name for p in prepared.glob(f"{config}-*") if "incomplete" not in p.name]
    if len(found) != 1:
        what = "several are" if found else "none is"
        raise UserError(
            f"{spec}: {what} prepared in {prepared.parent}; "
            "say with --manual_dir where the pictures are"
        )
    return found[0]


def _make(builder, folder):
    import tensorflow_datasets as tfds

    print(f"preparing {builder.name} from {folder} in {builder.data_path}", file=sys.stderr)
    options = tfds.download.DownloadConfig(manual_dir=pathlib.Path(folder).expanduser().resolve())
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    with contextlib.redirect_stdout(None):  # its own account of the same
        builder.download_and_prepare(download_config=options)
    counts = ", ".join(
        f"{split.num_examples} in {name}" for name, split in builder.info.splits.items()
    )
    print(f"prepared {builder.name}: pairs: {counts}", file=sys.stderr)
