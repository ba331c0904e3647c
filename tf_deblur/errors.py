"""How a command starts and how it fails: one line for a user's mistake, a traceback for ours."""

import contextlib
import importlib.util
import os
import pathlib
import sys
import warnings

from absl import app, flags, logging


class UserError(Exception):
    """What the user named, what is wrong with it, and what to do: one line."""


def run(main):
    """Runs a command: parses its flags, loads TensorFlow without chatter, calls `main(argv)`.

    A wrong flag ends with status 2, a UserError with 1, each with one line on standard
    error. Anything else is a bug of ours and keeps its traceback.
    """

    def guarded(argv):
        if not wordy():
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            logging.set_verbosity(logging.ERROR)
            warnings.simplefilter("ignore")
        with quiet():
            import tensorflow

            tensorflow.config.list_physical_devices()  # says now whether CUDA is there
            tensorflow.get_logger().setLevel("WARNING" if wordy() else "ERROR")
        try:
            return main(argv)
        except UserError as error:
            return _fail(error, status=1)
        except KeyboardInterrupt:
            return _fail("interrupted", status=130)

    app.run(guarded, flags_parser=_parse)


@contextlib.contextmanager
def quiet():
    """Keeps dependencies' log lines and warnings off the terminal, unless --verbosity is given.

    TensorFlow's C++ code writes straight to file descriptor 2, before any of its settings
    is read, so the descriptor itself is taken away.
    """
    if wordy():
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def wordy():
    """Whether the user asked for dependencies' log lines: --verbosity, any."""
    return flags.FLAGS.is_parsed() and bool(flags.FLAGS["verbosity"].present)


def _parse(argv):
    try:
        return flags.FLAGS([_packaged(argument) for argument in argv])
    except (flags.Error, OSError) as error:
        sys.exit(_fail(str(error).replace("\n", " "), status=2))


def _packaged(argument):
    """--flagfile=configs/X finds the file inside the package where the folder has none."""
    name, _, path = argument.partition("=")
    if name.lstrip("-") != "flagfile" or pathlib.Path(path).exists():
        return argument
    configs = importlib.util.find_spec("tf_deblur.configs")
    for folder in configs.submodule_search_locations if configs else ():
        found = pathlib.Path(folder) / pathlib.Path(path).name
        if found.exists():
            return f"--flagfile={found}"
    sys.exit(_fail(f"{path}: no such flag file; use configs/paper.flags or your own", status=2))


def _fail(message, status):
    print(f"error: {message}", file=sys.stderr)
    return status
