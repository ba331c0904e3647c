import math
import sys

import pytest
from commands import python

from tf_deblur import devices, memory

MEMINFO = "MemTotal:  8000 kB\nMemFree:  100 kB\nMemAvailable:  4000 kB\n"


@pytest.fixture
def machine(tmp_path):
    """Makes a /proc and /sys: machine({path: text}) -> its root."""

    def make(files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return make


def group(folder, names, numbers):
    return {f"sys/fs/cgroup/{folder}/{name}": f"{n}\n" for name, n in zip(names, numbers)}


VERSION_2 = "memory.max", "memory.current", "memory.stat"
VERSION_1 = "memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"


def test_without_a_group_it_is_what_the_machine_has_available(machine):
    assert memory.measure_free(machine({"proc/meminfo": MEMINFO})) == 4000 * 1024


def test_a_groups_limit_counts_less_what_it_uses_but_for_files_read_before(machine):
    stat = "anon 500\ninactive_file 300"
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/jobs/mine\n"}
    files |= group("jobs/mine", VERSION_2, [2000, 900, stat])
    assert memory.measure_free(machine(files)) == 2000 - 900 + 300


def test_the_tightest_of_the_groups_above_counts(machine):
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/jobs/mine\n"}
    files |= group("jobs/mine", VERSION_2, ["max", 900, "anon 1"])
    files |= group("jobs", VERSION_2, [1000, 950, "anon 1"])
    assert memory.measure_free(machine(files)) == 50


def test_a_container_that_sees_its_own_group_at_the_top_is_limited_by_it(machine):
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "4:cpu,memory:/docker/1f\n2:pids:/x\n"}
    files |= group("memory", VERSION_1, [3000, 1000, "total_inactive_file 10"])
    assert memory.measure_free(machine(files)) == 2010


def test_elsewhere_nothing_is_known_to_be_short(tmp_path):
    assert memory.measure_free(tmp_path) == math.inf


PEAK = """
import ctypes, pathlib, re, sys
import numpy as np
import tf_deblur
from tf_deblur.restoring import restorer

def used(kind):
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{kind}:\\s*(\\d+)", status)[1])

name, precision, backend, side = *sys.argv[1:4], int(sys.argv[4])
restore = tf_deblur.load(name, precision=precision, backend=backend)
restorer.LARGEST_TILE = restore.memory = 1e12
restore(np.zeros((64, 64, 3), np.uint8))
blurred = np.full((side, side, 3), 128, np.uint8)
ctypes.CDLL(None).malloc_trim(0)  # what loading left free would hide a part
before = used("VmRSS")
pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
assert restore.plan_tiles(side, side).largest == side**2
restored = restore(blurred)
print((used("VmHWM") - before - restored.nbytes) / (side**2 * restore.engine.facts.pixel_bytes))
"""


@pytest.fixture(scope="module")
def a_block_of_paper(tmp_path_factory):
    """Its memory is the whole network's: a block takes no more than the one before."""
    from tf_deblur.models import generators, networks, weights

    model = networks.build_generator("paper", blocks=1)
    whole = generators.count_values(generators.list_layers("paper", {}))
    assert (
        generators.count_values(networks.list_layers(model)) == whole == 2 * 64
    )  # Fig. 1b: x and y
    path = tmp_path_factory.mktemp("paper") / "paper.safetensors"
    weights.save(path, model)
    return path


CASES = [
    ("compact", "tensorflow", 1200),
    ("compact", "openvino", 1200),
    ("paper", "tensorflow", 600),
    ("paper", "openvino", 600),
    ("exported", "auto", 1200),
]


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize(
    "network, backend, side, precision",
    [(*case, precision) for case in CASES for precision in ("float32", "bfloat16")]
    + [(*case, "int8") for case in CASES if case[1] == "openvino"],
)
def test_a_tile_takes_the_memory_that_is_reckoned(
    network, backend, side, precision, a_block_of_paper, exported
):
    if precision == "int8" and not devices.find_unit(devices.INT8_UNITS):
        pytest.skip("this processor has no unit for int8")
    named = {"compact": "compact", "paper": a_block_of_paper, "exported": exported / "compact"}
    done = python("-c", PEAK, named[network], precision, backend, side)
    assert done.returncode == 0, done.stderr
    assert 0.75 < float(done.stdout) < 1.25
