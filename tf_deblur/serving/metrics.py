"""Counters and histograms by TensorFlow Serving's names, as text for Prometheus."""

import bisect
import threading

PATH = "/monitoring/prometheus/metrics"
REQUESTS = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
RUNTIME = ":tensorflow:serving:runtime_latency"
KINDS = {REQUESTS: "counter", LATENCY: "histogram", RUNTIME: "histogram"}
BOUNDS = [10 * 1.8**power for power in range(33)]  # microseconds


class Metrics:
    """What has been counted since the start; any thread may add to it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._counts = {}  # (name, labels) -> number
        self._histograms = {}  # (name, labels) -> [count of each bucket, sum]

    def count(self, name, **labels):
        key = (name, tuple(labels.items()))
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1

    def observe(self, name, seconds, **labels):
        micros = seconds * 1e6
        with self._lock:
            empty = [[0] * (len(BOUNDS) + 1), 0.0]
            told = self._histograms.setdefault((name, tuple(labels.items())), empty)
            told[0][bisect.bisect_left(BOUNDS, micros)] += 1
            told[1] += micros

    def text(self, gauges=()):
        """The page that Prometheus reads; `gauges` are (name, value) of the moment."""
        lines = []

        with self._lock:
            for name, kind in KINDS.items():
                lines.append(f"# TYPE {name} {kind}")
                for labels, number in _of(name, self._counts):
                    lines.append(f"{name}{_labels(labels)} {number}")
                for labels, told in _of(name, self._histograms):
                    lines += _histogram(name, labels, *told)
        for name, value in gauges:
            lines += [f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"


def _of(name, table):
    """(labels, value) of one name's entries in a table, sorted."""
    return sorted((key[1], value) for key, value in table.items() if key[0] == name)


def _histogram(name, labels, buckets, total):
    below, lines = 0, []
    for bound, number in zip([*BOUNDS, None], buckets):
        below += number
        edge = "+Inf" if bound is None else f"{bound:g}"
        lines.append(f"{name}_bucket{_labels((*labels, ('le', edge)))} {below}")
    return [
        *lines,
        f"{name}_sum{_labels(labels)} {total:g}",
        f"{name}_count{_labels(labels)} {below}",
    ]


def _labels(labels):
    escape = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    told = ",".join(f'{name}="{value.translate(escape)}"' for name, value in labels)
    return f"{{{told}}}" if told else ""
