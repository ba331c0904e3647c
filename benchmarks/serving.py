"""What the server costs beside the network: latencies, megapixels a second and memory, in a table.

python benchmarks/serving.py [--clients=1,4,16] [--forms=bytes,uint8,float] [--minutes=10]
"""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import flags
from apart import Apart

from tf_deblur import errors

_SIZE = flags.DEFINE_string("size", "1280x720", "Of the photograph.")
_CLIENTS = flags.DEFINE_list("clients", ["1", "4", "16"], "How many ask at the same time.")
_FORMS = flags.DEFINE_list("forms", ["bytes", "uint8", "float"], "How the picture is sent.")
_REQUESTS = flags.DEFINE_integer("requests", 48, "Of each row in bytes; others take a quarter.", 1)
_MINUTES = flags.DEFINE_float(
    "minutes", 0, "How long the most clients ask at the end, for errors and growing memory.", 0
)

SIGNATURES = {"bytes": "serving_default", "uint8": "uint8", "float": "float32"}
TARGETS = {"added": 10, "growth": 10, "paint": 300}
PHOTOGRAPH = pathlib.Path(__file__).parents[1] / "examples/photographs/singapore.jpg"


def main(argv):
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; this benchmark takes flags only")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by the processes started below
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}; 0 is quiet")
    width, height = map(int, _SIZE.value.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        model = export(pathlib.Path(folder))
        values = inputs(photograph(height, width))
        print(
            "| form | clients | p50 | p95 | p99 | megapixels/s | request, MB | errors | RSS "
            "| peak |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        with Apart(Direct, model / "1", values) as direct, server(model) as (process, port):
            told = [rows(form, values[form], direct, process, port) for form in _FORMS.value]
            painted = first_paint(port)
            if _MINUTES.value:
                endured = endure(port, body("bytes", values["bytes"][1]), process)
    print()
    for form, (own, alone, growth, failed) in zip(_FORMS.value, told):
        added = 100 * (alone / own - 1)
        if form == "bytes":  # the others pay for millions of numbers as text, by their nature
            say("bytes: the server adds to the model's own", added, "added", " %")
        else:
            print(f"{form}: the server adds to the model's own: {added:.3g} %")
        say(f"{form}: memory grows in a row's second half by", growth, "growth", " %")
        print(f"{form}: {failed} errors (none is allowed)")
    if _MINUTES.value:
        growth, failed = endured
        say(
            f"memory grows in the last four fifths of {_MINUTES.value:g} minutes by",
            growth,
            "growth",
            " %",
        )
        print(f"{failed} errors in them (none is allowed)")
    if painted:
        say("first paint of the page", painted, "paint", " ms")


def export(folder):
    line = [sys.executable, "-m", "tf_deblur.export", "--model=compact", "--formats=saved_model"]
    subprocess.run([*line, f"--output={folder}"], check=True, capture_output=True)
    return folder / "compact"


def photograph(height, width):
    import cv2

    pixels = cv2.imread(str(PHOTOGRAPH))[..., ::-1]
    return np.ascontiguousarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC))


def inputs(pixels):
    """form -> (the signature's input, array)."""
    import cv2

    jpeg = cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()
    return {
        "bytes": ("image_bytes", np.array([jpeg], object)),
        "uint8": ("image", pixels[None]),
        "float": ("image", pixels[None] / np.float32(255)),
    }


def body(form, array):
    """A request's JSON."""
    if form == "bytes":
        instances = [{"b64": base64.b64encode(array[0]).decode()}]
    else:
        instances = (array.astype(float).round(6) if form == "float" else array).tolist()
    return json.dumps({"signature_name": SIGNATURES[form], "instances": instances}).encode()


class Direct:
    """The exported model in a process of its own, without any server: seconds of each run."""

    def __init__(self, path, values):
        from tf_deblur import devices
        from tf_deblur.serving.loaded import Loaded

        self._values = values
        self._model = Loaded(path, devices.choose_precision()[0] == "bfloat16")

    def __call__(self, form, times):
        name, array = self._values[form]
        seconds = []
        for _ in range(times + 2):
            begin = time.perf_counter()
            self._model.run(SIGNATURES[form], {name: array})
            seconds.append(time.perf_counter() - begin)
        return seconds[2:]


@contextlib.contextmanager
def server(model):
    """The command as a user starts it; yields its process and its port."""
    line = [sys.executable, "-m", "tf_deblur.serve", "--rest_api_port=0", "--noaccess_log"]
    line += [f"--model_base_path={model}", "--rest_api_timeout_in_ms=0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = next(
                int(found[1])
                for told in process.stdout
                if (found := re.search(r"serving on .*:(\d+)", told))
            )
            yield process, port
        finally:
            process.terminate()


def rows(form, value, direct, process, port):
    """Prints a form's rows; returns (model's own s, server's s, growth in %, errors)."""
    sent, megapixels = body(form, value[1]), np.prod([int(side) for side in _SIZE.value.split("x")])
    count = _REQUESTS.value if form == "bytes" else max(_REQUESTS.value // 4, 4)
    ask(port, sent)  # warm
    # by turns, so that whatever else the machine does is the same for both
    turns = [(*direct(form, 1), ask(port, sent)[1]) for _ in range(min(count, 12))]
    own, alone = (statistics.median(seconds) for seconds in zip(*turns))
    row(form, "no server", [own], 1 / own * megapixels / 1e6, 0, 0, None)
    growth, failed = 0, 0
    for clients in map(int, _CLIENTS.value):
        clear_peak(process)
        seconds, wrong, took, first, second = load(port, sent, clients, count, process)
        row(
            form, clients, seconds, count * megapixels / 1e6 / took, len(sent) / 1e6, wrong, process
        )
        failed += wrong
        growth = max(growth, 100 * (second / first - 1))
    return own, alone, growth, failed


def load(port, sent, clients, count, process):
    """Clients that ask without pause: (seconds of each, errors, seconds in all, peak of the first
    half of the requests and of all of them)."""
    half, seconds, wrong = None, [], 0
    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        asked = [pool.submit(ask, port, sent) for _ in range(count)]
        for index, each in enumerate(asked):
            status, took = each.result()
            seconds.append(took)
            wrong += status != 200
            if index == count // 2:
                half = memory_mb(process, "VmHWM")
    return seconds, wrong, time.perf_counter() - begin, half, memory_mb(process, "VmHWM")


def endure(port, sent, process):
    """The most clients ask for --minutes, without pause; prints what each fifth of it brings.

    Returns:
      (growth of the server's memory from the first fifth to the end, in %; errors).
    """
    clients, pixels = max(map(int, _CLIENTS.value)), math.prod(map(int, _SIZE.value.split("x")))
    statuses, held = [], [memory_mb(process, "VmRSS")]
    begin = time.monotonic()
    end = begin + _MINUTES.value * 60

    def client():
        while time.monotonic() < end:
            statuses.append(ask(port, sent)[0])

    print(f"\n{clients} clients without pause; RSS before: {held[0]:.0f} MB\n")
    print("| minute | requests | errors | megapixels/s | RSS | peak |\n|---|---|---|---|---|---|")
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(client) for _ in range(clients)]
        for part in range(1, 6):
            clear_peak(process)
            time.sleep(max(begin + part * _MINUTES.value * 12 - time.monotonic(), 0))
            if part == 5:
                concurrent.futures.wait(asking)
            held.append(memory_mb(process, "VmRSS"))
            minutes, wrong = (time.monotonic() - begin) / 60, len(statuses) - statuses.count(200)
            speed = len(statuses) * pixels / 1e6 / minutes / 60
            peak = memory_mb(process, "VmHWM")
            cells = [f"{minutes:.1f}", len(statuses), wrong, f"{speed:.2f}"]
            cells += [f"{held[-1]:.0f} MB", f"{peak:.0f} MB"]
            print("|", " | ".join(map(str, cells)), "|", flush=True)
    return 100 * (held[-1] / held[1] - 1), len(statuses) - statuses.count(200)


def ask(port, sent):
    """(status, seconds) of one request; 0 is no reply."""
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("POST", "/v1/models/compact:predict", sent)
        reply = connection.getresponse()
        reply.read()
        return reply.status, time.perf_counter() - begin
    except OSError:
        return 0, time.perf_counter() - begin
    finally:
        connection.close()


def row(form, clients, seconds, speed, size, wrong, process):
    cells = [f"{np.percentile(seconds, part) * 1000:.0f} ms" for part in (50, 95, 99)]
    kinds = ("VmRSS", "VmHWM")
    memory = [f"{memory_mb(process, kind):.0f} MB" if process else "" for kind in kinds]
    cells = [form, clients, *cells, f"{speed:.2f}", f"{size:.1f}", wrong, *memory]
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def memory_mb(process, kind):
    """VmRSS, what a process holds now, or VmHWM, the most that it did."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{kind}:\s*(\d+) kB", status)[1]) * 1024 / 1e6


def clear_peak(process):
    pathlib.Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def first_paint(port):
    """Milliseconds until Chromium shows something of the page; the median of five."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if not chromium:
        print("first paint: left out; wants chromium and playwright")
        return None
    paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    times = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(5):
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_timeout(400)
            times.append(page.evaluate(paint))
            page.close()
        browser.close()
    return statistics.median(times)


def say(what, value, target, unit):
    met = "met" if value <= TARGETS[target] else "MISSED"
    print(f"{what}: {value:.3g}{unit} (at most {TARGETS[target]}: {met})")


if __name__ == "__main__":
    errors.run(main, tensorflow=False)
