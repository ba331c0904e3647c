"""What the server costs beside the network: latencies, megapixels a second and memory, in a table.

python benchmarks/serving.py [--clients=1,4,16] [--forms=bytes,uint8,float]
"""

import base64
import concurrent.futures
import json
import pathlib
import shutil
import statistics
import tempfile
import time

import numpy as np
import served
from absl import flags
from apart import Apart

from tf_deblur import errors

_SIZE = flags.DEFINE_string("size", "1280x720", "Of the photograph.")
_CLIENTS = flags.DEFINE_list("clients", ["1", "4", "16"], "How many ask at the same time.")
_FORMS = flags.DEFINE_list("forms", ["bytes", "uint8", "float"], "How the picture is sent.")
_REQUESTS = flags.DEFINE_integer("requests", 48, "Of each row in bytes; others take a quarter.", 1)

SIGNATURES = {"bytes": "serving_default", "uint8": "uint8", "float": "float32"}
TARGETS = {"added": 10, "growth": 10, "paint": 300, "parsing": 1 / 3}


def main(argv):
    served.begin(argv)
    width, height = map(int, _SIZE.value.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        model = served.export(pathlib.Path(folder))
        values = inputs(served.photograph(height, width))
        print(
            "| form | clients | p50 | p95 | p99 | megapixels/s | request, MB | errors | RSS "
            "| peak |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        with Apart(Direct, model / "1", values) as direct, served.start(model) as (process, port):
            told = [rows(form, values[form], direct, process, port) for form in _FORMS.value]
            painted = first_paint(port)
    print()
    for form, (own, alone, growth, failed) in zip(_FORMS.value, told):
        added = 100 * (alone / own - 1)
        if form == "bytes":  # the others pay for millions of numbers as text, by their nature
            say("bytes: the server adds to the model's own", added, "added", " %")
        else:
            print(f"{form}: the server adds to the model's own: {added:.3g} %")
        say(f"{form}: memory grows in a row's second half by", growth, "growth", " %")
        print(f"{form}: {failed} errors (none is allowed)")
    say("a float picture as JSON, of json.loads's own time", time_parsing(values), "parsing", "")
    if painted:
        say("first paint of the page", painted, "paint", " ms")


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


def time_parsing(values):
    """Processor time of our parser over that of `json.loads`, by turns; the median of five."""
    from tf_deblur.serving import requests

    sent, ratios = body("float", values["float"][1]), []
    for _ in range(5):
        seconds = []
        for parse in (json.loads, requests.parse):
            begin = time.thread_time()
            parse(sent)
            seconds.append(time.thread_time() - begin)
        ratios.append(seconds[1] / seconds[0])
    return statistics.median(ratios)


def rows(form, value, direct, process, port):
    """Prints a form's rows; returns (model's own s, server's s, growth in %, errors)."""
    sent, megapixels = body(form, value[1]), np.prod([int(side) for side in _SIZE.value.split("x")])
    count = _REQUESTS.value if form == "bytes" else max(_REQUESTS.value // 4, 4)
    served.ask(port, sent)  # warm
    # by turns, so that whatever else the machine does is the same for both
    turns = [(*direct(form, 1), served.ask(port, sent)[1]) for _ in range(min(count, 12))]
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
        asked = [pool.submit(served.ask, port, sent) for _ in range(count)]
        for index, each in enumerate(asked):
            status, took, _ = each.result()
            seconds.append(took)
            wrong += status != 200
            if index == count // 2:
                half = served.memory_mb(process, "VmHWM")
    return seconds, wrong, time.perf_counter() - begin, half, served.memory_mb(process, "VmHWM")


def row(form, clients, seconds, speed, size, wrong, process):
    cells = [f"{np.percentile(seconds, part) * 1000:.0f} ms" for part in (50, 95, 99)]
    kinds = ("VmRSS", "VmHWM")
    memory = [f"{served.memory_mb(process, kind):.0f} MB" if process else "" for kind in kinds]
    cells = [form, clients, *cells, f"{speed:.2f}", f"{size:.1f}", wrong, *memory]
    print("|", " | ".join(map(str, cells)), "|", flush=True)


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
