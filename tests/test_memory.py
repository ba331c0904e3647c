import math

import pytest

from tf_deblur import memory

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
    assert memory.free(machine({"proc/meminfo": MEMINFO})) == 4000 * 1024


def test_a_groups_limit_counts_less_what_it_uses_but_for_files_read_before(machine):
    stat = "anon 500\ninactive_file 300"
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/jobs/mine\n"}
    files |= group("jobs/mine", VERSION_2, [2000, 900, stat])
    assert memory.free(machine(files)) == 2000 - 900 + 300


def test_the_tightest_of_the_groups_above_counts(machine):
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/jobs/mine\n"}
    files |= group("jobs/mine", VERSION_2, ["max", 900, "anon 1"])
    files |= group("jobs", VERSION_2, [1000, 950, "anon 1"])
    assert memory.free(machine(files)) == 50


def test_a_container_that_sees_its_own_group_at_the_top_is_limited_by_it(machine):
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": "4:cpu,memory:/docker/1f\n2:pids:/x\n"}
    files |= group("memory", VERSION_1, [3000, 1000, "total_inactive_file 10"])
    assert memory.free(machine(files)) == 2010


def test_elsewhere_nothing_is_known_to_be_short(tmp_path):
    assert memory.free(tmp_path) == math.inf
