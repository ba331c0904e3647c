"""Replays TensorFlow Serving's answers: what our own server answers otherwise, and why."""

import base64
import contextlib
import gzip
import http.client
import json
import math
import pathlib
import shutil
import socket
import tempfile
import threading
import time

import pytest

pytest.importorskip("uvicorn", reason="needs uvicorn; pip install 'tf-deblur[serve]'")
from serve_server import Server, settings  # noqa: E402

SETTLE = 6  # seconds within which a folder's change must have been noticed
# What we answer otherwise: why -> recordings; docs/reference/serving.md says it in its own words.
DIFFERENT = {
    "JSON as it is written down: no -Inf and -NaN, no text after the document, no broken UTF-8": (
        "J0484 J0486 J0621 J0622 J0623 J0648 J0793 J0809 J0810 J0811"
    ),
    "of a name that is there twice the last counts": "J0587 J0664 J0685 J0760",
    "NumPy has fewer dimensions, and nesting ends at 1024": ("J0976 J0977 J0978 J0979 J0987 J0991"),
    "what begins like a JPEG file must be one": "J0723",
    "no labels": "H0006 H0008 H0011 H0120 H0121 H0329",
    "no classify and regress": "H0215 H0222",
    "addresses are as they are written": "H0026 H0053",
    "a query belongs to no name": "H0034 H0035 H0084 H0254",
    "%2F and %3A are / and :": "H0031 H0090",
    "a method without a meaning is 400 in one way": "H0105",
    "OPTIONS is for --cors": "H0106 H0110",
    "HEAD is GET without a body": "H0111",
    "HTTP/1.1 wants a Host": "H0164",
    "the limit of what gzip unpacks to is another": "H0199",
    "a relative folder is taken": "H0327",
    "the command refuses it": "H0328",
    "a version that failed is tried again once it has changed": "P006 P008 P009",
}


@pytest.fixture(scope="module")
def servers(golden_models):
    """A maker of the servers that the recordings name; each is started once."""
    running = {}

    def get(name):
        if name not in running:
            running[name] = start(name, golden_models)
        return running[name]

    yield get
    for server in running.values():
        server.stop()


def start(name, folder):
    if name == "main":
        others = [path.name for path in folder.iterdir() if path.name != "half_plus_two"]
        both = settings(folder, "half_plus_two", latest=0)
        return Server(both + settings(folder, *others), metrics_path="")
    if name == "timeout":
        return Server(settings(folder, "slow", "half_plus_two", timeout=9), timeout=9)
    more = {"cors": {"cors": ["*"]}, "monitoring_path": {"metrics_path": "/metrics"}}
    return Server(settings(folder, "half_plus_two"), **more.get(name, {}))


def judge(outcomes):
    """Compares the recordings that differ, {id: what was answered or None}, with those that may."""
    may = {name for names in DIFFERENT.values() for name in names.split()}
    wrong = {name: told for name, told in outcomes.items() if told and name not in may}
    right = {name for name, told in outcomes.items() if not told and name in may}
    assert not wrong, f"{len(wrong)} of {len(outcomes)} differ: " + "\n".join(
        f"{name}: {told}" for name, told in wrong.items()
    )
    assert not right, f"these agree now, so take them from the list: {sorted(right)}"


def test_at_most_five_of_a_hundred_recordings_may_differ(recordings):
    count = sum(map(len, recordings.values()))
    assert sum(len(names.split()) for names in DIFFERENT.values()) <= 0.05 * count


def equal(ours, theirs):
    """Whether two documents are the same, numbers to float32's precision."""
    if isinstance(theirs, dict):
        return (
            isinstance(ours, dict)
            and ours.keys() == theirs.keys()
            and all(equal(ours[key], theirs[key]) for key in theirs)
        )
    if isinstance(theirs, list):
        same = isinstance(ours, list) and len(ours) == len(theirs)
        return same and all(map(equal, ours, theirs))
    if isinstance(theirs, float) and isinstance(ours, float):
        both_nan = math.isnan(theirs) and math.isnan(ours)
        return both_nan or math.isclose(ours, theirs, rel_tol=2**-23, abs_tol=1.2e-38)
    return type(ours) is type(theirs) and ours == theirs


def differ(record, status, body, wanted_status, wanted):
    """What was answered, unless it is what was recorded."""
    told = f"{status} {body[:200]}, not {wanted_status} {wanted[:100]}"
    if status != wanted_status:
        return told
    if status >= 400:
        return None if record.get("head") or json.loads(body)["error"] else told
    if record["compare"] == "status":
        return None
    if record["compare"] == "metrics":
        ours, theirs = (
            {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE")}
            for text in (body, wanted)
        )
        return None if ours & theirs else told
    ours, theirs = json.loads(body), json.loads(wanted.decode(errors="replace"))
    if record["compare"] == "metadata":
        ours, theirs = without_names(ours), without_names(theirs)
    return None if equal(ours, theirs) else told


def without_names(metadata):
    for signature in metadata["metadata"]["signature_def"]["signature_def"].values():
        for tensor in (*signature["inputs"].values(), *signature["outputs"].values()):
            del tensor["name"]
    return metadata


def get_body(record, key):
    """A recorded body as bytes."""
    if f"{key}_b64" in record:
        return base64.b64decode(record[f"{key}_b64"])
    return (record.get(key) or "").encode()


def test_predict_requests_are_answered_as_recorded(recordings, servers):
    server, outcomes = servers("main"), {}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for record in recordings["predict"]:
        body = get_body(record, "body")
        connection.request("POST", f"/v1/models/{record['model']}:predict", body)
        reply = connection.getresponse()
        wanted = record["status"], get_body(record, "reply")
        outcomes[record["id"]] = differ(record, reply.status, reply.read(), *wanted)
    connection.close()
    judge(outcomes)


def make_tensor(told):
    """A recorded tensor as an array."""
    import numpy as np
    import tensorflow as tf

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


def test_tensors_are_written_as_recorded(recordings):
    from tf_deblur.serving import replies
    from tf_deblur.serving.status import Failure

    outcomes = {}
    for record in recordings["reply"]:
        tensors = {told["name"]: make_tensor(told) for told in record["tensors"]}
        try:
            made = replies.encode(record["format"] == "row", tensors)
        except Failure as failure:
            outcomes[record["id"]] = None if failure.code == record["code"] else failure.message
        else:
            wanted = get_body(record, "reply")
            good = record["ok"]
            outcomes[record["id"]] = differ(record, 200 if good else 0, made, 200, wanted)
    judge(outcomes)


def exchange(port, request):
    """Sends a recorded request as it was sent; returns (status, body)."""
    body = get_body(request, "body")
    if "body_repeat" in request:
        told = request["body_repeat"]
        body = (told["prefix"] + told["unit"] * told["count"] + told["suffix"]).encode()
        if request.get("content_encoding_applied") == "gzip":
            body = gzip.compress(body, 1)
    lines = [f"{request['method']} {request['path']} {request.get('http_version', 'HTTP/1.1')}"]
    headers = [tuple(pair) for pair in request.get("headers", [])]
    if not request.get("no_host"):
        lines.append("Host: localhost")
    if request.get("chunked"):
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
        return reply.status, reply.read()


def test_http_exchanges_are_as_recorded(recordings, servers):
    outcomes = {}
    for record in recordings["exchange"]:
        request, wanted = record["request"], record["response"]
        try:
            status, body = exchange(servers(record["server"]).port, request)
        except (OSError, http.client.HTTPException) as error:
            outcomes[record["id"]] = repr(error)
            continue
        record["head"] = request["method"] == "HEAD"
        outcomes[record["id"]] = differ(
            record, status, body, wanted["status"], get_body(wanted, "body")
        )
    judge(outcomes)


def list_states(server):
    status, body, _ = server.ask("GET", "/v1/models/half_plus_two")
    assert status == 200
    told = json.loads(body)["model_version_status"]
    return [[each["version"], each["state"]] for each in told]


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


def test_folders_that_come_and_go_are_followed_as_recorded(recordings, golden_models, tmp_path):
    good = {number: golden_models / "half_plus_two" / number for number in ("1", "2")}
    base, outcomes = tmp_path / "base/half_plus_two", {}
    base.parent.mkdir()
    base.mkdir()
    shutil.copytree(good["1"], base / "1")
    server = Server(settings(base.parent, "half_plus_two"), poll_seconds=0.1)
    may = {name for names in DIFFERENT.values() for name in names.split()}
    try:
        for record in sorted(recordings["polling"], key=lambda record: record["step"]):
            if record["step"]:
                change(base, record["action"], good)
            wanted = [told[:2] for told in record["seen"][-1]]
            until = time.monotonic() + (1 if record["id"] in may else SETTLE)
            time.sleep(0.4)
            while list_states(server) != wanted and time.monotonic() < until:
                time.sleep(0.1)
            told = None if list_states(server) == wanted else f"{list_states(server)}"
            for request in record["requests"]:
                status, body, _ = server.ask(request["method"], request["path"], request["body"])
                asked = {"compare": "json" if ":predict" in request["path"] else "status"}
                wanted = request["status"], request["reply"].encode()
                told = told or differ(asked, status, body, *wanted)
            outcomes[record["id"]] = told
    finally:
        server.stop()
    judge(outcomes)


def predict_log(signature="", dtype="float32", version=None, filtered=(), **inputs):
    """A warm-up record of a predict request, as TensorFlow Serving's own messages write it."""
    import tensorflow as tf

    log = prediction_log()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    if version:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype))
    request.output_filter.extend(filtered)
    return log.SerializeToString()


def prediction_log(kind=None):
    """An empty PredictionLog, or one whose only field is set."""
    log = pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api"
    ).PredictionLog()
    if kind:
        getattr(log, kind).SetInParent()
    return log


def write_records(*records, cut=0):
    """The bytes of a TFRecord file, its last ones cut off."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "records"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        data = path.read_bytes()
    return data[: len(data) - cut]


def begin(folder, versions, warm_up=None, times=1, **more):
    """Starts a server's models on what lies in FOLDER/m; returns whether it serves then.

    Args:
      versions: number -> a version to copy, or what its `saved_model.pb` holds, or None.
      warm_up: bytes of version 1's warm-up file.
    """
    from tf_deblur.serving.models import Models
    from tf_deblur.serving.status import Failure

    base = folder / "m"
    base.mkdir()
    for number, made in versions.items():
        if isinstance(made, pathlib.Path):
            shutil.copytree(made, base / str(number))
        else:
            (base / str(number)).mkdir()
            if made:
                (base / str(number) / "saved_model.pb").write_bytes(made)
    if warm_up is not None:
        (base / "1/assets.extra").mkdir(exist_ok=True)
        (base / "1/assets.extra/tf_serving_warmup_requests").write_bytes(warm_up)
    models = Models(settings(folder, "m", **more) * times, poll_seconds=0)
    if not versions:
        threading.Timer(0.5, models.stop).start()  # it would wait for ever
    try:
        models.start()
        return bool(models.get("m").find())
    except Failure:
        return False


def list_starts(golden_models):
    """Recorded case -> arguments of `begin`."""
    good = predict_log("float32", x=[1.0])
    half = [golden_models / f"half_plus_two/{number}" for number in (1, 2)]
    dtypes, image = {1: golden_models / "dtypes/1"}, {1: golden_models / "image/1"}
    classify, nope = prediction_log("classify_log"), predict_log("nope", x=[1.0])
    by_record = {
        "one good record": [good],
        "good record, empty signature name (the default signature)": [predict_log(x=[1.0])],
        "good record, empty model name, version 77 that does not exist": [
            predict_log("float32", version=77, x=[1.0])
        ],
        "no record (empty file)": [],
        "two good records and one without any log (empty PredictionLog)": [good, b"", good],
        "record that is not a PredictionLog": [b"\xff\xff\xff garbage"],
        "record with unknown signature": [nope],
        "classify record": [classify.SerializeToString()],
        "1000 good records": [good] * 1000,
        "1001 good records": [good] * 1001,
        "good record then a bad one": [good, nope],
    }
    cases = {
        case: {"versions": dtypes, "warm_up": write_records(*records)}
        for case, records in by_record.items()
    }
    garbage = cases["record that is not a PredictionLog"]
    wrong_rank = predict_log("float32", image=[1.0, 2.0])
    return cases | {
        "record that is not a PredictionLog, --enable_model_warmup=false": {
            **garbage,
            "warmed": False,
        },
        "file is not TFRecord": {"versions": dtypes, "warm_up": b"this is no file of records"},
        "record file cut short": {"versions": dtypes, "warm_up": write_records(good, good, cut=5)},
        "wrong rank for the graph (image signature)": {
            "versions": image,
            "warm_up": write_records(wrong_rank),
        },
        "base path without version folders": {"versions": {}},
        "version folder without saved_model.pb": {"versions": {1: None}},
        "version folder without saved_model.pb, retries": {"versions": {1: None}},
        "saved_model.pb is garbage": {"versions": {1: b"garbage"}},
        "specific versions policy": {"versions": dict(enumerate(half, 1))},
        "latest 2": {"versions": dict(enumerate(half, 1)), "latest": 2},
        "label for a version that is not loaded": {"versions": dtypes},
        "same model twice": {"versions": dtypes, "times": 2},
        "relative base path": {"versions": dtypes, "relative": True},
    }


def test_a_start_ends_as_recorded(recordings, golden_models, tmp_path, monkeypatch):
    cases, outcomes = list_starts(golden_models), {}
    for record in recordings["startup"]:
        folder = tmp_path / record["id"]
        folder.mkdir()
        arguments = dict(cases[record["case"]])
        if arguments.pop("relative", False):
            monkeypatch.chdir(tmp_path)
            folder = pathlib.Path(record["id"])
        serves = begin(folder, **arguments)
        wanted = record["loads"] if "loads" in record else record["ready"]
        outcomes[record["id"]] = None if serves == wanted else f"{record['case']}: {serves}"
    judge(outcomes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: predict_log("float32"),
        lambda: predict_log(x=[1.0], z=[2.0]),
        lambda: predict_log(z=[1.0]),
        lambda: predict_log(x=[1.0], filtered=["z"]),
        lambda: predict_log(dtype="int32", x=[1]),
        lambda: prediction_log("session_run_log").SerializeToString(),
    ],
)
def test_a_bad_warm_up_record_keeps_its_version_from_loading(golden_models, tmp_path, make):
    made = {1: golden_models / "dtypes/1"}
    assert not begin(tmp_path, made, warm_up=write_records(make()))
