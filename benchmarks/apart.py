"""Measurements in processes of their own, by turns."""

import concurrent.futures
import multiprocessing

from tf_deblur import errors


class Apart:
    """A callable made and called in a process of its own: so are its memory and its threads."""

    def __init__(self, make, *arguments):
        spawn = multiprocessing.get_context("spawn")
        self._process = concurrent.futures.ProcessPoolExecutor(1, spawn)
        self._process.submit(_make, make, *arguments).result()

    def __call__(self, *arguments):
        return self._process.submit(_call, *arguments).result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.shutdown()


def _make(make, *arguments):
    global _made
    with errors.quiet():
        _made = make(*arguments)


def _call(*arguments):
    return _made(*arguments)


def alone(function, *arguments):
    """Calls a function once, in a process of its own: this one stays small, its cores free."""
    with Apart(function, *arguments):
        pass


def in_turn(rounds, measured, *arguments):
    """name -> the results of all rounds; what else the machine does meets all of them alike."""
    results = {name: [] for name in measured}
    for _ in range(rounds):
        for name, measure in measured.items():
            results[name].append(measure(*arguments))
    return results
