"""A server of the weights that ship, and who asks it, for the benchmarks of serving."""

import contextlib
import http.client
import os
import pathlib
import re
import subprocess
import sys
import time

import numpy as np

from tf_deblur import errors

PHOTOGRAPH = pathlib.Path(__file__).parents[1] / "examples/photographs/singapore.jpg"


def begin(argv):
    """What a benchmark of serving does first: refuses arguments, and tells the machine's load."""
    if len(argv) > 1:
        raise errors.UserError(f"{argv[1]}: not a flag; this benchmark takes flags only")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read by the processes started later
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}; 0 is quiet")


def export(folder):
    """The folder of `compact`'s versions."""
    line = [sys.executable, "-m", "tf_deblur.export", "--model=compact", "--formats=saved_model"]
    subprocess.run([*line, f"--output={folder}"], check=True, capture_output=True)
    return folder / "compact"


def photograph(height, width):
    import cv2

    pixels = cv2.imread(str(PHOTOGRAPH))[..., ::-1]
    return np.ascontiguousarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC))


@contextlib.contextmanager
def start(model, *flags):
    """The command as a user starts it; yields its process and its port."""
    line = [sys.executable, "-m", "tf_deblur.serve", "--rest_api_port=0", "--noaccess_log"]
    line += [f"--model_base_path={model}", "--rest_api_timeout_in_ms=0", *flags]
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


def ask(port, sent):
    """(status, seconds, body) of one predict request; status 0 is no reply."""
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("POST", "/v1/models/compact:predict", sent)
        reply = connection.getresponse()
        body = reply.read()
        return reply.status, time.perf_counter() - begin, body
    except (OSError, http.client.HTTPException):
        return 0, time.perf_counter() - begin, b""
    finally:
        connection.close()


def memory_mb(process, kind):
    """VmRSS, what a process holds now, or VmHWM, the most that it did."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{kind}:\s*(\d+) kB", status)[1]) * 1024 / 1e6


def processor_seconds(process):
    """Of all its threads."""
    told = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")
