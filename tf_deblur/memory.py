"""How much memory is free, and how much this process takes."""

import contextlib
import ctypes
import math
import pathlib
import re
from collections.abc import Callable


def measure_free(root: str | pathlib.Path = "/") -> float:
    """Bytes that this process may still take, by the machine and by its control groups.

    Args:
      root: where /proc and /sys are.

    Returns:
      A number, infinite where the system does not tell (not Linux).
    """
    proc, groups = pathlib.Path(root, "proc"), pathlib.Path(root, "sys/fs/cgroup")
    found = [math.inf]
    for line in _lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    for line in _lines(proc / "self/cgroup"):  # 0::/path, or 4:memory:/path of version 1
        _, kinds, path = line.split(":", 2)
        if not kinds:
            names, top = ("memory.max", "memory.current", "inactive_file"), groups
        elif "memory" in kinds.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            top = groups / "memory"
        else:
            continue
        inside = top / path.strip("/")
        # a container sees its own group as the top one, whatever path it is told
        for folder in {top, inside, *(p for p in inside.parents if p.is_relative_to(top))}:
            found.append(_group_free(folder, *names))
    return min(found)


def read(kind: str) -> int:
    """Bytes that this process has now, VmRSS, or had at most, VmHWM; without /proc the latter."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # getrusage tells the parent's where that is more
        return int(re.findall(rf"{kind}:\s+(\d+)", status.read_text())[0]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def trim() -> None:
    """Gives the system back what this process has freed, where its C library can."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def measure_peak(run: Callable) -> int | None:
    """Bytes that this process has at most while a function runs; None where no system tells."""
    clear = pathlib.Path("/proc/self/clear_refs")
    with contextlib.suppress(OSError):
        clear.write_text("5")  # the peak counts from here
    run()
    return read("VmHWM") if clear.exists() else None


def _group_free(folder, limit, usage, reclaimable):
    """What a control group's limit leaves; the pages of files read before do not count."""
    most = "".join(_lines(folder / limit))
    if not most.isdecimal():  # "max", or there is no such group
        return math.inf
    stat = dict(line.split() for line in _lines(folder / "memory.stat"))
    used = int("".join(_lines(folder / usage)) or 0)
    return int(most) - used + int(stat.get(reclaimable, 0))


def _lines(path):
    return path.read_text().splitlines() if path.is_file() else []
