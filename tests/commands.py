"""Python's command line in a fork of a process that has imported TensorFlow already.

A command of ours takes four seconds to import TensorFlow and less to do what a test asks of it.
`multiprocessing`'s fork server imports it once; each fork is a process of its own, with its own
flags, folder, environment and standard streams, and can be signalled and killed. What a test wants
to know of the start itself, or of a bare environment, it asks `subprocess`.
"""

import gc
import multiprocessing
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import time

import pytest

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["keras", "tensorflow_addons", "tensorflow_datasets", "safetensors.numpy", "cv2", "tqdm"]
)


class Command:
    """`python *arguments`, begun: what `subprocess.Popen` offers of it, its output in files."""

    def __init__(self, *arguments, cwd=None, stdin=b"", environment=(), text=True):
        self.args, self._text = [*map(str, arguments)], text
        self._folder = tempfile.TemporaryDirectory()
        self._streams = [pathlib.Path(self._folder.name, name) for name in ("in", "out", "err")]
        for path, data in zip(self._streams, (stdin, b"", b"")):
            path.write_bytes(data)
        environment = {**os.environ, "TMPDIR": self._folder.name, **dict(environment)}
        told = self.args, os.path.abspath(cwd or ""), environment
        self._process = _context.Process(target=_become, args=(*told, self._streams), daemon=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is imported, so once
            self._process.start()

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def kill(self):
        self._process.kill()

    def wait(self, timeout=300):
        self._process.join(timeout)
        if self.returncode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.args, timeout, *self.said())
        return self.returncode

    def communicate(self, timeout=300):
        self.wait(timeout)
        return self.said()

    def said(self):
        """Standard output and standard error, so far."""
        written = [path.read_bytes() for path in self._streams[1:]]
        return [data.decode() if self._text else data for data in written]

    def wait_for_line(self, start):
        """Waits until it says a line that begins so."""
        while not any(line.startswith(start) for line in self.said()[0].splitlines()):
            assert self.poll() is None, self.said()
            time.sleep(0.01)


def python(*arguments, timeout=300, **more):
    """What `subprocess.run([sys.executable, *arguments], capture_output=True)` returns."""
    command = Command(*arguments, **more)
    out, err = command.communicate(timeout)
    return subprocess.CompletedProcess(command.args, command.returncode, out, err)


def _become(line, folder, environment, streams):
    """In the fork: what Python does with its command line."""
    gc.freeze()  # what was imported is not looked through again, and so not copied
    for number, path in enumerate(streams):
        file = os.open(path, os.O_WRONLY | os.O_APPEND if number else os.O_RDONLY)
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also under `nohup`
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # TMPDIR is another
    os.chdir(folder)
    first, *rest = line
    if first == "-m":
        sys.path.insert(0, folder)
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path.insert(0, "")
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.path.insert(0, str(pathlib.Path(first).parent))
        sys.argv = line
        runpy.run_path(first, run_name="__main__")
