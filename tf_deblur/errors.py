"""How a command starts and how it fails: one line for a user's mistake, a traceback for ours."""

import contextlib
import io
import os
import pathlib
import re
import signal
import sys
import textwrap
import threading
import typing
import warnings
from collections.abc import Callable, Iterator
from typing import NoReturn

from absl import app, flags, logging

from tf_deblur import files

HERE = pathlib.Path(__file__).parent
CONFIGS = (HERE / "configs", HERE.parent / "configs")  # in the wheel, and in a clone
HELP = {"--help", "-help", "-h"}
REPEATED = r";\s*repeat this option to specify a list of values$"  # our own words say so
ENDING = [  # what ends a process that does not hear it, and can be heard
    *(signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGALRM),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
]
OF_ALL = {
    "flagfile": "Read flags from a file, one a line: configs/paper.flags, say.",
    "verbosity": "Let through what TensorFlow and others log, if 0.",
}


class UserError(Exception):
    """What the user named, what is wrong with it, and what to do: one line."""

    status = 1


class Signalled(UserError):
    """A signal was heard and obeyed. The status is not 0: a scheduler is to start it again."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.status = 128 + number


class BadPicture(UserError):
    """One picture that cannot be done; the others can.

    Args:
      reason: what is wrong with it, in words.
      name: which one; None by those that do not know.
    """

    def __init__(self, reason: str, name: object = None) -> None:
        super().__init__(reason if name is None else f"{name}: {reason}")
        self.name = name


def run(main: Callable, tensorflow: bool = True) -> None:
    """Runs a command: parses its flags, loads TensorFlow without chatter, calls `main(argv)`.

    Commands that do without TensorFlow, or load it where they need it, say so: they start at once.

    A wrong flag ends with status 2, a UserError with 1, each with one line on standard
    error. A signal that ends it leaves nothing half-written, with 128 and its number. Anything
    else is a bug of ours and keeps its traceback.
    """

    def catch_mistakes(argv):
        for number in ENDING:
            if signal.getsignal(number) == signal.SIG_DFL:  # not under `nohup`, say
                signal.signal(number, _end)
        try:
            if tensorflow:
                load_tensorflow()
            return main(argv)
        except UserError as error:
            return _fail(error, error.status)
        except KeyboardInterrupt:
            return _fail("interrupted", status=130)
        except BrokenPipeError:  # `| head` has read enough
            drop_output()
            return 128 + signal.SIGPIPE

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # who pipes it reads a line when it is said
    if HELP & set(sys.argv[1:]):
        try:
            print(_help(main), flush=True)
        except BrokenPipeError:
            drop_output()
    else:
        app.run(catch_mistakes, flags_parser=_parse)


def end(status: int) -> NoReturn:
    """Ends the process at once, inside whatever it does, and leaves nothing half-written."""
    try:
        files.abandon()
        for number in ENDING:  # who asks twice does not want to wait
            signal.signal(number, signal.SIG_DFL)
        print("error: interrupted", file=sys.stderr, flush=True)
    finally:  # even where nobody is left to tell
        os._exit(status)


def _end(number, frame):
    for other in ENDING:  # the others, as of a terminal that closes, would interrupt the tidying
        signal.signal(other, signal.SIG_IGN)
    end(128 + number)


@contextlib.contextmanager
def end_by_signals() -> Iterator[None]:
    """Inside, signals end the process by default: where C++ waits, no handler of Python's runs."""
    heard = [n for n in (signal.SIGINT, *ENDING) if callable(signal.getsignal(n))]
    handlers = [signal.signal(number, signal.SIG_DFL) for number in heard]
    try:
        yield
    finally:
        for number, handler in zip(heard, handlers):
            signal.signal(number, handler)


def say(line: str, file: typing.TextIO | None = None) -> None:
    """Prints a line above a progress bar; when whoever read it has gone, the work goes on."""
    from tqdm import tqdm

    try:
        tqdm.write(line, file=file or sys.stdout)
    except BrokenPipeError:
        drop_output()


def drop_output() -> None:
    """Sends what is still said to nobody, since the exit would try to say it again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def load_tensorflow() -> None:
    """Imports TensorFlow without chatter; UserError where it is not installed."""
    if not is_wordy():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        logging.set_verbosity(logging.ERROR)
        warnings.simplefilter("ignore")
    with quiet():
        try:
            import tensorflow
        except ModuleNotFoundError as error:
            if error.name != "tensorflow":
                raise
            told = "TensorFlow is not installed; pip install tf-deblur brings it"
            raise UserError(f"{told} (.tflite files do without it)") from error
        tensorflow.config.list_physical_devices()  # says now whether CUDA is there
        tensorflow.get_logger().setLevel("WARNING" if is_wordy() else "ERROR")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps dependencies' log lines and warnings off the terminal, unless --verbosity is given.

    Of several threads that are quiet at once, the first begins and the last ends it.
    """
    if is_wordy():
        yield
        return
    with _changing:
        if not _quiet_ones:
            _quiet_ones.append(contextlib.ExitStack())
            _quiet_ones[0].enter_context(_mute())
        _quiet_ones.append(None)
    try:
        yield
    finally:
        with _changing:
            _quiet_ones.pop()
            if len(_quiet_ones) == 1:
                _quiet_ones.pop().close()


_changing = threading.Lock()
_quiet_ones: list = []  # what ends it, and one more for each that is quiet


@contextlib.contextmanager
def _mute():
    """Takes file descriptor 2 away: TensorFlow's C++ writes there before it reads a setting."""
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


@contextlib.contextmanager
def explain_unwritable(path: str | pathlib.Path, *others: type[Exception]) -> Iterator[None]:
    """UserError where a file or folder cannot be written, for a full disk most often.

    OSError says so, and so do `others`: TensorFlow has its own.
    """
    unwritable: tuple[type[Exception], ...] = (OSError, *others)
    try:
        yield
    except unwritable as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{path}: cannot be written ({reason})") from error


def is_wordy() -> bool:
    """Whether the user asked for dependencies' log lines: --verbosity, any."""
    return flags.FLAGS.is_parsed() and bool(flags.FLAGS["verbosity"].present)


def _help(main):
    """What the command's module says of itself, its flags, and the two that all have."""
    module = sys.modules[main.__module__]
    name = sys.argv[0] if module.__name__ == "__main__" else module.__name__  # as absl has it
    lines = [module.__doc__]
    for flag in flags.FLAGS.get_flags_for_module(name):
        default = f" (default: {flag.default_as_str})" if flag.default not in (None, []) else ""
        lines += _format_flag(flag.name, re.sub(REPEATED, "", flag.help) + default)
    for flag in OF_ALL.items():
        lines += _format_flag(*flag)
    return "\n".join(lines)


def _format_flag(name, text):
    return [
        f"  --{name}",
        *textwrap.wrap(text, 96, initial_indent=" " * 6, subsequent_indent=" " * 6),
    ]


def _parse(argv):
    try:
        rest = flags.FLAGS([find_flagfile(argument) for argument in argv])
    except (flags.Error, OSError) as error:
        sys.exit(_fail(str(error).replace("\n", " "), status=2))
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.present and (flag.value == "" or flag.value != flag.value):
            what = "not a number" if flag.value else "empty, as a shell's variable that is not set"
            sys.exit(_fail(f"--{name}={flag.value}: is {what}", status=2))
    return rest


def find_flagfile(argument: str) -> str:
    """--flagfile=configs/X finds the file inside the package where the folder has none."""
    name, _, text = argument.partition("=")
    path = pathlib.Path(text)
    if name.lstrip("-") != "flagfile" or path.exists():
        return argument
    for folder in CONFIGS if path.parent.name == "configs" else ():
        if (folder / path.name).exists():
            return f"--flagfile={folder / path.name}"
    raise flags.Error(f"{path}: no such flag file; use configs/paper.flags or your own")


def _fail(message, status):
    try:
        print(f"error: {message}", file=sys.stderr)
    except BrokenPipeError:
        drop_output()
    return status
