"""How commands start: quickly, without chatter, and with one line for a mistake."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

import tf_deblur
from tf_deblur import errors
from tf_deblur.__main__ import COMMANDS
from tf_deblur.pictures import photographs

PACKAGE = pathlib.Path(tf_deblur.__file__).parent
REPOSITORY = pathlib.Path(__file__).parents[1]
SOURCES = [
    *PACKAGE.rglob("*.py"),
    *(REPOSITORY / "datasets").rglob("*.py"),
    *(REPOSITORY / "export").rglob("*.py"),
]


def python(*arguments, cwd=None):
    line = [sys.executable, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, timeout=300)


@pytest.mark.parametrize(
    "start",
    [
        ["-c", "import tf_deblur"],
        ["-m", "tf_deblur", "--help"],
        ["-m", "tf_deblur", "--version"],
        *(["-m", "tf_deblur", name, "--help"] for name in COMMANDS),
    ],
    ids=" ".join,
)
def test_what_needs_no_tensorflow_loads_none(start):
    done = python("-X", "importtime", *start)
    assert done.returncode == 0
    loaded = {line.split("|")[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "tf_deblur" in loaded and not loaded & {"tensorflow", "keras", "tensorflow_datasets"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_the_same_both_ways_and_lists_our_flags_first(name):
    module = COMMANDS[name][0].removesuffix(".__main__")
    done = python("-m", module, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == python("-m", "tf_deblur", name, "--help").stdout
    listed = re.findall(r"^  --(\w+)$", done.stdout, re.MULTILINE)
    assert listed[-2:] == ["flagfile", "verbosity"] and len(listed) > 3
    assert not {"logtostderr", "pdb", "alsologtostderr"} & set(listed)


def test_help_of_all_names_every_command():
    done = python("-m", "tf_deblur")
    assert done.returncode == 0 and done.stdout == python("-m", "tf_deblur", "--help").stdout
    for name in COMMANDS:
        assert re.search(f"^  {name} ", done.stdout, re.MULTILINE)


def test_an_unknown_command_is_one_line():
    done = python("-m", "tf_deblur", "sharpen")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: sharpen: no such command; use one of {', '.join(COMMANDS)}\n"


def test_dependencies_keep_quiet_unless_asked(picture, tmp_path):
    photographs.write(tmp_path / "photo.png", picture(24, 24))
    line = ["-m", "tf_deblur.deblur", "--backend=tensorflow", "photo.png"]
    done = python(*line, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = python(*line, "--verbosity=0", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr != ""


def test_flag_files_are_found_inside_the_package_and_a_folders_own_first(run, tmp_path):
    missing = run("train", "--flagfile=configs/demo.flags")  # parsed, or it would be the problem
    assert missing.returncode == 2 and "workdir" in missing.stderr
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/demo.flags").write_text("--my_own=1\n")
    own = run("train", "--flagfile=configs/demo.flags")
    assert own.returncode == 2 and "my_own" in own.stderr


@pytest.mark.parametrize(
    "flag", ["--strength=nan", "--max_megapixels=nan", "--report=", "--model="]
)
def test_what_is_no_number_or_empty_is_one_line_and_status_2(flag, run):
    done = run("deblur", flag, "photo.png")
    assert done.returncode == 2 and re.fullmatch(f"error: {flag}: is [^\n]+\n", done.stderr)


def test_only_layers_asks_which_keras_this_is():
    asks = re.compile(r"(keras|tf|tensorflow)\.(__version__|version)|hasattr\((keras|tf)\b")
    assert len(SOURCES) > 20
    assert {path.name for path in SOURCES if asks.search(path.read_text())} <= {"layers.py"}


def test_only_commands_define_flags():
    defining = {path for path in SOURCES if "flags.DEFINE_" in path.read_text()}
    modules = [module.split(".")[1:] for module, _ in COMMANDS.values()]
    commands = {
        REPOSITORY / "export/__main__.py" if parts[0] == "export" else PACKAGE / f"{parts[0]}.py"
        for parts in modules
    }
    assert defining == commands


def test_a_reader_that_leaves_help_early_hears_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    line = [sys.executable, "-m", "tf_deblur.deblur", "--help"]
    done = subprocess.run(line, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=300)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


SIGNALLED = """
import os, signal, sys
from tf_deblur import errors, files

abandon = files.abandon

def tidy():
    os.kill(os.getpid(), signal.SIGHUP)  # a terminal that closes sends two
    abandon()

def main(argv):
    files.abandon = tidy
    with files.whole("a") as part:
        part.touch()
        if "again" in argv:
            sys.stderr = Telling()
        os.kill(os.getpid(), signal.SIGTERM)

class Telling:
    def write(self, text):  # as to a reader that does not read
        os.kill(os.getpid(), signal.SIGTERM)

errors.run(main, tensorflow=False)
"""


@pytest.mark.parametrize("more, status", [([], 128 + signal.SIGTERM), (["again"], -signal.SIGTERM)])
def test_a_signal_tidies_and_who_asks_again_does_not_wait(more, status, tmp_path):
    done = python("-c", SIGNALLED, *more, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    assert done.stderr == ("" if more else "error: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_threads_that_are_quiet_at_once_give_standard_error_back(capfd):
    first, second = errors.quiet(), errors.quiet()
    first.__enter__()
    second.__enter__()
    os.write(2, b"hidden")
    first.__exit__(None, None, None)  # in another order than they began, as threads may
    os.write(2, b"hidden")
    second.__exit__(None, None, None)
    os.write(2, b"told")
    assert capfd.readouterr().err == "told"
