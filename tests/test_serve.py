"""Replays what TensorFlow Serving answered, and tries what our own server promises beside it."""

import base64
import contextlib
import gzip
import http.client
import json
import shutil
import socket
import threading
import time

import pytest

pytest.importorskip("granian", reason="needs granian; pip install 'tf-deblur[serve]'")
from serve_server import Server, judge, settings  # noqa: E402

SETTLE = 6  # seconds within which a folder's change must have been noticed

# What we answer otherwise, and why; docs/serving.md says it in its own words.
MANY_LEVELS = "NumPy has fewer dimensions"
OWN_BATCH = "requests of another shape are a batch of their own and do not fail"
NOT_SENT = "granian does not give this part of the address to an application"
DIFFERENT = {
    **dict.fromkeys(["J0976", "J0977", "J0978", "J0979", "J0987"], MANY_LEVELS),
    "H0035": NOT_SENT,
    "H0036": NOT_SENT,
    **dict.fromkeys(["H0264", "H0265", "H0271", "H0292", "H0293"], OWN_BATCH),
    "H0274": "an empty batch is answered",
    "H0286": "nothing is padded, so that the process does not end",
}


def main_settings(folder):
    others = [path.name for path in folder.iterdir() if path.name != "half_plus_two"]
    labels = {"stable": 1, "canary": 2}
    both = settings(folder, "half_plus_two", latest=0, labels=labels)
    return both + settings(folder, *others)


SERVERS = {
    "main": lambda folder: Server(main_settings(folder), metrics_path=""),
    "cors": lambda folder: Server(settings(folder, "half_plus_two"), cors=True),
    "timeout": lambda folder: Server(
        settings(folder, "slow", "half_plus_two", timeout=0.3), timeout=0.3
    ),
    "monitoring": lambda folder: Server(settings(folder, "half_plus_two")),
    "monitoring_path": lambda folder: Server(
        settings(folder, "half_plus_two"), metrics_path="/metrics"
    ),
    "batching": lambda folder: batching_server(folder),
    "batching_pad": lambda folder: batching_server(folder),
    "batching_allowed": lambda folder: batching_server(folder),
}


def batching_server(folder):
    from tf_deblur.serving.batching import Limits

    names = ("dtypes", "image", "multi", "scalars", "slow")
    return Server(settings(folder, *names), batches=Limits(4, 500_000, 2, 1))


@pytest.fixture(scope="module")
def servers(golden_models):
    """A maker of the servers that the recordings name; each is started once."""
    running = {}

    def get(name):
        if name not in running:
            running[name] = SERVERS[name](golden_models)
        return running[name]

    yield get
    for server in running.values():
        server.stop()


def same(record, status, body, wanted_status, wanted):
    """Whether a reply is what was recorded, compared as the recording says."""
    compare = record["compare"]
    if status != wanted_status:
        return False
    if compare == "status":
        return True
    if compare == "metrics":
        return set(metric_names(wanted.decode())) & set(metric_names(body.decode())) != set()
    if compare in ("contains", "any_of"):
        error = json.loads(body)["error"]
        if compare == "contains":
            return all(text in error for text in record["contains"])
        return error in record["error_any_of"]
    if body == wanted:
        return True
    if compare == "metadata":
        return without_names(json.loads(body)) == without_names(json.loads(wanted))
    return compare == "json" and json.loads(body) == json.loads(wanted)


def metric_names(text):
    return [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]


def without_names(metadata):
    for signature in metadata["metadata"]["signature_def"]["signature_def"].values():
        for tensor in (*signature["inputs"].values(), *signature["outputs"].values()):
            del tensor["name"]
    return metadata


def recorded(record, key):
    """A recorded body as bytes."""
    if f"{key}_b64" in record:
        return base64.b64decode(record[f"{key}_b64"])
    return (record.get(key) or "").encode()


def test_predict_requests_are_answered_as_recorded(golden, servers):
    server, outcomes = servers("main"), {}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for record in golden["predict"]:
        connection.request(
            "POST", f"/v1/models/{record['model']}:predict", recorded(record, "body")
        )
        reply = connection.getresponse()
        body = reply.read()
        good = same(record, reply.status, body, record["status"], recorded(record, "reply"))
        outcomes[record["id"]] = "" if good else f"{reply.status} {body[:300]}"
    connection.close()
    judge(outcomes, DIFFERENT)


def test_tensors_are_written_as_recorded(golden):
    import numpy as np
    import tensorflow as tf

    from tf_deblur.serving import replies
    from tf_deblur.serving.status import Failure

    def tensor(told):
        values = [
            base64.b64decode(value["b64"])
            if isinstance(value, dict)
            else float(value.replace("Infinity", "inf"))
            if isinstance(value, str)
            else value
            for value in told["values"]
        ]
        array = np.empty(len(values), object)
        array[:] = values
        dtype = tf.as_dtype(told["dtype"])
        array = array if dtype == tf.string else array.astype(dtype.as_numpy_dtype)
        return array.reshape(told["shape"])

    outcomes = {}
    for record in golden["reply"]:
        try:
            made = replies.reply(
                record["format"], {told["name"]: tensor(told) for told in record["tensors"]}
            )
        except Failure as failure:
            wanted = record.get("message_any_of", [record.get("message")])
            good = failure.message in wanted and failure.code == record["code"]
        else:
            wanted = recorded(record, "reply")
            good = record["ok"] and (
                made == wanted
                or (record["compare"] == "json" and json.loads(made) == json.loads(wanted))
            )
        outcomes[record["id"]] = "" if good else "written otherwise"
    judge(outcomes, DIFFERENT)


def exchange(port, request, patient=True):
    """Sends a recorded request as it was sent; returns (status, body, closed, headers)."""
    body = recorded(request, "body")
    if "body_repeat" in request:
        told = request["body_repeat"]
        body = (told["prefix"] + told["unit"] * told["count"] + told["suffix"]).encode()
        if request.get("content_encoding_applied") == "gzip":
            body = gzip.compress(body, 1)
    lines = [f"{request['method']} {request['path']} {request.get('http_version', 'HTTP/1.1')}"]
    headers = [tuple(pair) for pair in request.get("headers", [])]
    if not request.get("no_host"):
        lines.append("Host: localhost")
    chunked = request.get("chunked")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    elif not any(name.lower() == "content-length" for name, _ in headers) and (
        body or request["method"] in ("POST", "PUT", "PATCH")
    ):
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers]
    with socket.create_connection(("127.0.0.1", port), timeout=60) as wire:
        with contextlib.suppress(OSError):
            wire.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        reply = http.client.HTTPResponse(wire, method=request["method"])
        reply.begin()
        got = reply.read()
        wire.settimeout(0.3 if patient else 0.02)
        try:
            closed = wire.recv(1) == b""
        except TimeoutError:
            closed = False
        except ConnectionError:
            closed = True
        return reply.status, got, closed, {k.lower(): v for k, v in reply.getheaders()}


def test_http_exchanges_are_as_recorded(golden, servers):
    outcomes = {}
    for record in golden["exchange"]:
        wanted = record["response"]
        try:
            status, body, closed, headers = exchange(
                servers(record["server"]).port, record["request"], wanted["connection_closed"]
            )
        except (OSError, http.client.HTTPException) as error:
            outcomes[record["id"]] = repr(error)
            continue
        good = same(record, status, body, wanted["status"], recorded(wanted, "body"))
        told = f"{status} {body[:200]}"
        if wanted.get("connection_closed") and not closed:
            good, told = False, "stays open"
        for name, value in dict(wanted["headers"]).items() if record["compare"] != "status" else ():
            name = name.lower()
            if name in ("content-length", "connection") or headers.get(name) == value:
                continue
            good, told = False, f"header {name}: {headers.get(name)}"
        outcomes[record["id"]] = "" if good else told
    judge(outcomes, DIFFERENT)


def at_once(server, requests):
    """Sends requests at the same time; returns their (status, body) in order."""
    replies = [None] * len(requests)

    def send(index, request):
        with contextlib.suppress(OSError):
            status, body, _ = server.ask(request["method"], request["path"], request["body"])
            replies[index] = status, body

    threads = [
        threading.Thread(target=send, args=(index, request))
        for index, request in enumerate(requests)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.01)  # in order, and well within the time that a batch waits
    for thread in threads:
        thread.join(60)
    return replies


def test_requests_at_once_are_answered_as_recorded(golden, servers):
    outcomes = {}
    for record in golden["concurrent"]:
        replies = at_once(servers(record["server"]), record["requests"])
        got = [status for status, _ in replies]
        wanted = [told["status"] for told in record["responses"]]
        outcomes[record["id"]] = "" if got == wanted else f"{got}, not {wanted}"
    judge(outcomes, DIFFERENT)


def states(server, base):
    """(version, state, code, message) of a server's versions, as the recordings have them."""
    status, body, _ = server.ask("GET", "/v1/models/half_plus_two")
    assert status == 200
    return [
        [
            told["version"],
            told["state"],
            told["status"]["error_code"],
            told["status"]["error_message"].replace(str(base), "BASE"),
        ]
        for told in json.loads(body)["model_version_status"]
    ]


def change(base, action, good):
    """Does to a base path what a polling record says; `good` maps a folder's name to a version."""
    first, rest = action.split(" ", 1)
    if action.startswith("add folders 3.tmp"):
        for name in ("3.tmp", "tmp-4", "v5", ".6"):
            shutil.copytree(good["1"], base / name)
        (base / "README").touch()
    elif "empty folder" in action:
        (base / "20").mkdir()
    elif action.startswith(("fill folder 20", "put a good folder 20")):
        shutil.copytree(good["2"], base / "20", dirs_exist_ok=True)
    elif "file named 21" in action:
        (base / "21").touch()
    elif "remove the file 21" in action:
        (base / "21").unlink()
    elif "moved away" in action:
        base.rename(base.with_name("away"))
    elif "is back" in action:
        base.with_name("away").rename(base)
    elif "every version folder" in action:
        for path in base.iterdir():
            if path.name.isdecimal():
                path.rename(base.parent / f"gone {path.name}")
    elif first == "remove":
        shutil.rmtree(base / rest.removeprefix("folder ").split(",")[0].split(" ")[0])
    else:
        name = rest.removeprefix("folder ").split(" ")[0].rstrip(",")
        version = "2" if name in ("2", "20", "30", "31") else "1"
        shutil.copytree(good[version], base.parent / "part", dirs_exist_ok=False)
        (base.parent / "part").rename(base / name)


def test_folders_that_come_and_go_are_followed_as_recorded(golden, golden_models, tmp_path):
    good = {number: golden_models / "half_plus_two" / number for number in ("1", "2")}
    base, outcomes = tmp_path / "base/half_plus_two", {}
    base.parent.mkdir()
    base.mkdir()
    shutil.copytree(good["1"], base / "1")
    server = Server(settings(base.parent, "half_plus_two"), poll_seconds=0.2)
    try:
        for record in sorted(golden["polling"], key=lambda record: record["step"]):
            if record["step"]:
                change(base, record["action"], good)
            until, wanted = time.monotonic() + SETTLE, record["seen"][-1]
            time.sleep(0.5)
            while states(server, base) != wanted and time.monotonic() < until:
                time.sleep(0.1)
            told = "" if states(server, base) == wanted else f"{states(server, base)}"
            for request in record["requests"]:
                status, body, _ = server.ask(request["method"], request["path"], request["body"])
                body = body.decode().replace(str(base), "BASE")
                if (status, body) != (request["status"], request["reply"]):
                    told = told or f"{request['path']}: {status} {body}"
            outcomes[record["id"]] = told
    finally:
        server.stop()
    judge(outcomes, DIFFERENT)
