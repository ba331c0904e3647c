"""Good clients of a server beside bad ones: are they answered rightly and in time, does it grow?

python benchmarks/serving_soak.py [--minutes=10] [--good=16] [--bad=50] [--size=320x180]
"""

import base64
import concurrent.futures
import contextlib
import functools
import gzip
import json
import multiprocessing
import os
import pathlib
import random
import socket
import tempfile
import threading
import time

import numpy as np
import served
from absl import flags

from tf_deblur import errors

_MINUTES = flags.DEFINE_float(
    "minutes", 10, "How long the bad ones ask; a fifth of it they do not."
)
_GOOD = flags.DEFINE_integer("good", 16, "Clients whose requests are answered.", 1)
_BAD = flags.DEFINE_integer("bad", 50, "Clients that do harm.", 1)
_SIZE = flags.DEFINE_string("size", "320x180", "Of the good ones' photograph.")
_PAUSE = flags.DEFINE_float("pause", 2, "Seconds between what one bad client does.", 0)

OURS = multiprocessing.current_process()
TARGETS = {"times": 2, "growth": 5, "end": 10}
HEAD = b"POST /v1/models/compact:predict HTTP/1.1\r\nHost: localhost\r\n"


def main(argv):
    served.begin(argv)
    width, height = map(int, _SIZE.value.split("x"))
    jpeg = encode(served.photograph(height, width))
    with tempfile.TemporaryDirectory() as folder:
        model = served.export(pathlib.Path(folder))
        with served.start(model, "--rest_api_timeout_in_ms=120000") as (process, port):
            good = Good(port, as_json(jpeg))
            seconds = _MINUTES.value * 60
            head = "| seconds | bad | good | wrong | again | p50 | p95 | RSS, median | most |"
            print(head, "server | good ones | bad ones |")
            print("|" + "---|" * 12)
            with good.asking():
                alone = good.watch(seconds / 5, process)
                with bad_clients(port, jpeg) as bad:
                    parts = [good.watch(seconds / 5, process, bad) for _ in range(5)]
                    begin, busy = time.monotonic(), served.processor_seconds(process)
                    good.stop.set()  # those under way are answered, or told to come again
                    process.terminate()
                    while not os.waitid(
                        os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG
                    ):
                        time.sleep(0.01)
                    end = time.monotonic() - begin
                    busy = served.processor_seconds(process) - busy  # of what has ended, too
                    status = process.wait()
    print(f"\nload of the machine at the end: {os.getloadavg()[0]:.1f}")
    wrong = alone["wrong"] + sum(part["wrong"] for part in parts)
    print(f"{wrong} good requests were not answered rightly (none is allowed)")
    beside = np.percentile(sum((part["seconds"] for part in parts), []), 95)
    say(
        "p95 beside bad ones, of that without",
        beside / np.percentile(alone["seconds"], 95),
        "times",
    )
    growth = 100 * (parts[-1]["held"] / parts[1]["held"] - 1)
    say("memory grows after the first fifth, to the last, by", growth, "growth", " %")
    say(f"from SIGTERM to the end, {busy:.1f} s of a core in it", end, "end", " s")
    print(f"exit status {status} (0 is clean)")


class Good:
    """Clients that ask without pause, and come again where they are told to."""

    def __init__(self, port, sent):
        self._port, self._sent = port, sent
        status, _, self._right = served.ask(port, sent)
        assert status == 200, self._right[:200]
        self.stop = threading.Event()
        self._told = []  # (seconds, right, times that it was told to come again)

    @contextlib.contextmanager
    def asking(self):
        with concurrent.futures.ThreadPoolExecutor(_GOOD.value) as pool:
            try:
                for _ in range(_GOOD.value):
                    pool.submit(self._ask)
                yield
            finally:
                self.stop.set()

    def _ask(self):
        while not self.stop.is_set():
            begin, again = time.monotonic(), 0
            while (reply := served.ask(self._port, self._sent))[0] in (429, 503):
                again += 1
                time.sleep(1)
            right = reply[2] == self._right
            if not right and not self.stop.is_set():
                print("wrong:", reply[0], reply[2][:200])
            self._told.append((time.monotonic() - begin, right, again))

    def watch(self, seconds, process, bad=None):
        """A row of the table: what comes in so many seconds, and the cores that each took."""
        first, held, end = len(self._told), [], time.monotonic() + seconds
        busy = [served.processor_seconds(each) for each in (process, OURS, bad) if each]
        while time.monotonic() < end:
            held.append(served.memory_mb(process, "VmRSS"))
            time.sleep(0.5)
        told = self._told[first:]
        took, right, again = zip(*told) if told else ([0], [False], [0])
        part = {"seconds": list(took), "wrong": right.count(False), "held": np.median(held)}
        cells = [f"{seconds:.0f}", _BAD.value if bad else 0, len(told), part["wrong"], sum(again)]
        cells += [f"{np.percentile(took, each):.2f} s" for each in (50, 95)]
        cells += [f"{each:.0f} MB" for each in (part["held"], max(held))]
        for each, before in zip((process, OURS, bad), busy):
            cells.append(f"{(served.processor_seconds(each) - before) / seconds:.2f}")
        print("|", " | ".join(map(str, cells)), "|" if bad else "| |", flush=True)
        return part


def encode(pixels):
    import cv2

    return cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()


def as_json(file):
    return json.dumps({"instances": [{"b64": base64.b64encode(file).decode()}]}).encode()


# ---------------------------------------------------------------- what the bad ones do


@contextlib.contextmanager
def bad_clients(port, jpeg):
    """--bad clients in a process of their own, which costs the good ones no time but the cores'."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    arguments = port, jpeg, _BAD.value, _PAUSE.value, stop
    process = context.Process(target=do_harm, args=arguments)
    process.start()
    try:
        yield process
    finally:
        stop.set()
        process.join()


def do_harm(port, jpeg, count, pause, asked_to_stop):
    """Clients, each of one kind, which they do again and again."""
    stop, kinds = threading.Event(), list_kinds(jpeg)

    def harm(index):
        dice, kind = random.Random(index), kinds[index % len(kinds)]
        while not stop.wait(dice.random() * 2 * pause):
            with contextlib.suppress(OSError), socket.socket() as wire:
                wire.settimeout(20)
                wire.connect(("127.0.0.1", port))
                kind(wire, dice, stop)

    for index in range(count):
        threading.Thread(target=harm, args=(index,)).start()
    asked_to_stop.wait()
    stop.set()


def list_kinds(jpeg):
    good = as_json(jpeg)
    start = jpeg.rindex(b"\xff\xda")
    scans = jpeg[:start] + jpeg[start:-2] * 250 + jpeg[-2:]
    numbers = json.dumps(
        {"signature_name": "float32", "instances": np.zeros((1, 300, 300, 3)).tolist()}
    )
    send_gzip = functools.partial(send_body, headers=b"Content-Encoding: gzip\r\n")
    return [
        drip_header,
        functools.partial(drip_body, body=good),
        functools.partial(read_nothing, body=numbers.encode()),
        functools.partial(send_body, bodies=[good[:-9], b"{]" * 9999, good * 2, b"[" * 99999]),
        functools.partial(
            send_body,
            bodies=[b'{"instances": [%s0]}' % (b"0," * count) for count in (4 << 20, 21 << 20)],
        ),
        functools.partial(
            send_gzip, bodies=[gzip.compress(unit * (50 << 20)) for unit in (b" ", b"{},")]
        ),
        functools.partial(send_pictures, jpeg=jpeg, scans=scans),
        functools.partial(cut_body, body=good),
        functools.partial(go_before_the_reply, body=good),
    ]


def send(wire, body, headers=b""):
    wire.sendall(HEAD + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def send_body(wire, dice, stop, bodies, headers=b""):
    send(wire, dice.choice(bodies), headers)
    wire.recv(4096)


def send_pictures(wire, dice, stop, jpeg, scans):
    damaged = bytearray(jpeg)
    for _ in range(9):
        damaged[dice.randrange(20, len(jpeg))] = dice.randrange(256)
    cut = jpeg[: dice.randrange(len(jpeg))]
    send(wire, as_json(dice.choice([bytes(damaged), cut, scans])))
    wire.recv(4096)


def drip_header(wire, dice, stop):
    for byte in HEAD * 99:
        wire.sendall(bytes([byte]))
        if stop.wait(0.5):
            return


def drip_body(wire, dice, stop, body):
    wire.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
    for byte in body:
        wire.sendall(bytes([byte]))
        if stop.wait(0.5):
            return


def read_nothing(wire, dice, stop, body):
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    send(wire, body)
    stop.wait(20)


def cut_body(wire, dice, stop, body):
    wire.sendall(
        HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[: dice.randrange(len(body))]
    )


def go_before_the_reply(wire, dice, stop, body):
    send(wire, body)
    time.sleep(dice.random() / 10)


def say(what, value, target, unit=""):
    met = "met" if value <= TARGETS[target] else "MISSED"
    print(f"{what}: {value:.3g}{unit} (at most {TARGETS[target]}: {met})")


if __name__ == "__main__":
    errors.run(main, tensorflow=False)
