"""Counters and histograms by TensorFlow Serving's names, as text for Prometheus."""

import bisect
import threading

PATH = "/monitoring/prometheus/metrics"
REQUESTS = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
RUNTIME = ":tensorflow:serving:runtime_latency"
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
        lines, seen = [], set()

        def head(name, kind):
            if name not in seen:
                seen.add(name)
                lines.append(f"# TYPE {name} {kind}")

        with self._lock:
            for (name, labels), number in sorted(self._counts.items()):
                head(name, "counter")
                lines.append(f"{name}{_labels(labels)} {number}")
            for (name, labels), (buckets, total) in sorted(self._histograms.items()):
                head(name, "histogram")
                below = 0
                for bound, number in zip([*BOUNDS, None], buckets):
                    below += number
                    edge = "+Inf" if bound is None else f"{bound:g}"
                    lines.append(f"{name}_bucket{_labels((*labels, ('le', edge)))} {below}")
                lines.append(f"{name}_sum{_labels(labels)} {total:g}")
                lines.append(f"{name}_count{_labels(labels)} {below}")
        for name, value in gauges:
            head(name, "gauge")
            lines.append(f"{name} {value}")
        return "\n".join(lines) + "\n"


def _labels(labels):
    escape = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
    told = ",".join(f'{name}="{value.translate(escape)}"' for name, value in labels)
    return f"{{{told}}}" if told else ""
