"""What is said of another's network: by its file, by JSON beside that, by the user over both."""

import json
import os
import pathlib
from collections.abc import Callable, Iterable

from tf_deblur.errors import UserError

LAYOUTS = {"NHWC": (1, 2, 3), "NCHW": (2, 3, 1)}  # where rows, columns and channels are


def _is_range(value):
    numbers = isinstance(value, list) and all(type(end) in (int, float) for end in value)
    return numbers and len(value) == 2 and -1e6 < value[0] < value[1] < 1e6


def _is_side(value):
    return type(value) is int and 0 < value <= 4096


# What a file may say, or JSON beside it -> whether a value can be that.
KEYS: dict[str, Callable] = {
    "range": _is_range,
    "layout": lambda value: value in [*LAYOUTS],
    "size_multiple": _is_side,
    "tile_size": _is_side,
    "radius": lambda value: value is None or type(value) is int and value >= 0,
    "pixel_bytes": lambda value: type(value) is int and value > 0,
    "output": lambda value: isinstance(value, str),
}


def choose_output(
    name: str | os.PathLike, inputs: Iterable[str], outputs: dict[str, str], told: dict
) -> str:
    """Which of a network's results is the picture: the only one, or the one that is told.

    Args:
      name: of the network.
      inputs: what the file calls all that goes in.
      outputs: what it calls each result -> what running it takes.
      told: of `read_told`.

    Raises:
      UserError: it takes more than a picture, or which result is one is not told.
    """
    if len(inputs := [*inputs]) != 1:
        raise UserError(f"{name}: takes {', '.join(inputs) or 'nothing'}; one picture is given")
    if told.get("output") in outputs:
        return outputs[told["output"]]
    if len(outputs) > 1 or "output" in told:
        known = f'{{"output": "{next(iter(outputs))}"}}'
        raise UserError(
            f"{name}: gives {', '.join(outputs)}; say which by {known} {say_where(name)}"
        )
    return next(iter(outputs.values()))


def name_beside(name: str | os.PathLike) -> pathlib.Path:
    """Where JSON says what a network's file does not."""
    path = pathlib.Path(name)
    if path.is_dir() or path.name == "model.json":
        return path.with_name("model_facts.json") if path.is_file() else path / "model_facts.json"
    return path.with_suffix(".json")


def say_where(name: str | os.PathLike) -> str:
    """The end of a line that asks for what is not said."""
    return f"in {name_beside(name)}, or by deblur's --model_facts"


def read_told(name: str | os.PathLike, asked: str | dict | None = None) -> dict:
    """What JSON beside a network's file says of it, and the user over that, by KEYS.

    Args:
      name: of the file or folder.
      asked: of the user: JSON, a file of JSON, or a dict.

    Raises:
      UserError: there is no such file; JSON that is none, or with other keys or values.
    """
    if not os.path.exists(name):
        raise UserError(f"{name}: no such file")
    beside = name_beside(name)
    told = _check(_read(beside), beside) if beside.is_file() else {}
    if isinstance(asked, str):
        asked = _read(asked if asked.lstrip().startswith("{") else pathlib.Path(asked))
    return told | _check(asked or {}, "--model_facts")


def _read(source):
    try:
        return json.loads(source if isinstance(source, str) else source.read_text())
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{str(source)[:80]}: no JSON that can be read ({reason})") from error


def _check(told, where):
    if not isinstance(told, dict) or (odd := told.keys() - KEYS.keys()):
        what = f"{', '.join(sorted(odd))}: not known" if isinstance(told, dict) else "no object"
        raise UserError(f"{where}: {what}; use {', '.join(KEYS)}")
    wrong = [key for key, value in told.items() if not KEYS[key](value)]
    if wrong:
        raise UserError(f"{where}: {wrong[0]} cannot be {json.dumps(told[wrong[0]])}")
    return told
