"""How TensorFlow Serving starts, and what it makes of warm-up files: our own does the same."""

import pathlib
import re
import shutil
import tempfile
import threading

import pytest

pytest.importorskip("granian", reason="needs granian; pip install 'tf-deblur[serve]'")
from serve_server import judge, settings  # noqa: E402

DIFFERENT = {
    "H0327": "a relative folder is taken",
    "H0328": "a server has one model",
    "H0329": "labels are looked up when they are asked for",
}
WAITS = "waits for a version"


def predict_log(signature="", dtype="float32", version=None, filtered=(), **inputs):
    """A warm-up record of a predict request, as TensorFlow Serving's own messages write it."""
    import tensorflow as tf

    log = prediction_log()
    request = log.predict_log.request
    request.model_spec.signature_name = signature
    if version:
        request.model_spec.version.value = version
    else:
        request.model_spec.name = "m"
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


def records_file(*records, cut=0):
    """The bytes of a TFRecord file, its last ones cut off."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "records"
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        data = path.read_bytes()
    return data[: len(data) - cut]


def start(folder, versions, warm_up=None, **more):
    """Starts a server's models on what lies in FOLDER/m; returns why that failed, WAITS or None.

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
    times = more.pop("times", 1)
    models = Models(settings(folder, "m", retry_seconds=0.01, **more) * times, poll_seconds=0)
    if not versions:
        threading.Timer(0.5, models.stop).start()  # it would wait for ever
    try:
        models.start()
    except Failure as failure:
        return failure.message.replace(str(base), "BASE")
    try:
        return models.serving("m") and None
    except Failure:
        return WAITS


def starts(golden_models):
    """Recorded case -> arguments of `start`."""
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
        case: {"versions": dtypes, "warm_up": records_file(*records)}
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
        "record file cut short": {"versions": dtypes, "warm_up": records_file(good, good, cut=5)},
        "wrong rank for the graph (image signature)": {
            "versions": image,
            "warm_up": records_file(wrong_rank),
        },
        "base path without version folders": {"versions": {}},
        "version folder without saved_model.pb": {"versions": {1: None}},
        "version folder without saved_model.pb, retries": {"versions": {1: None}, "retries": 2},
        "saved_model.pb is garbage": {"versions": {1: b"garbage"}},
        "specific versions policy": {"versions": dict(enumerate(half, 1)), "specific": (1,)},
        "latest 2": {"versions": dict(enumerate(half, 1)), "latest": 2},
        "label for a version that is not loaded": {"versions": dtypes, "labels": {"stable": 9}},
        "same model twice": {"versions": dtypes, "times": 2},
        "relative base path": {"versions": dtypes, "relative": True},
    }


def comparable(told):
    """A message without what differs between versions of TensorFlow, and protobuf's own marks."""
    told = (told or "").replace("/emptybase", "")
    told = re.sub(r"goo\.gle/\w+ *\n|\n\t \[\[.*\]\]", "", told)
    told = re.sub(r"truncated record at \d+", "", told)  # where depends on the record before
    return re.sub(r'(Shape of tensor|name:) (\S+_\S+|"\S+"|image)', r"\1", told)


def test_a_start_ends_as_recorded(golden, golden_models, tmp_path, monkeypatch):
    cases, outcomes = starts(golden_models), {}
    for record in golden["startup"]:
        folder = tmp_path / record["id"]
        folder.mkdir()
        arguments = dict(cases[record["case"]])
        if arguments.pop("relative", False):
            monkeypatch.chdir(tmp_path)
            folder = pathlib.Path(record["id"])
        told = start(folder, **arguments)
        waits = record.get("http") == "connection refused" and not record["start_error"]
        wanted = WAITS if waits else record["start_error"]
        good = comparable(told) == comparable(wanted)
        outcomes[record["id"]] = "" if good else f"{told}\n  and not {wanted}"
    judge(outcomes, DIFFERENT)


@pytest.mark.parametrize(
    "record, words",
    [
        # tensorflow_serving/servables/tensorflow/predict_util.cc, and saved_model/util.cc of
        # tensorflow/cc, say these
        (lambda: predict_log("nope"), 'FAILED_PRECONDITION: Serving signature key "nope" not'),
        (
            lambda: predict_log("float32"),
            "input size does not match signature: 0!=1 len({}) != len({x}). "
            "Sent extra: {}. Missing but required: {x}.",
        ),
        (
            lambda: predict_log(x=[1.0], z=[2.0]),
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). "
            "Sent extra: {z}. Missing but required: {}.",
        ),
        (lambda: predict_log(z=[1.0]), "Inputs expected to be in the request {z}, or default"),
        (
            lambda: predict_log(x=[1.0], filtered=["z"]),
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ),
        # tensorflow/core/framework/function.cc
        (
            lambda: predict_log(dtype="int32", x=[1]),
            "INVALID_ARGUMENT: Expects arg[0] to be float but int32 is provided",
        ),
        # saved_model_warmup.cc, with the numbers that prediction_log.proto gives its fields
        (
            lambda: prediction_log("session_run_log").SerializeToString(),
            "UNIMPLEMENTED: Unsupported log_type for warmup: 5",
        ),
        (
            lambda: prediction_log("predict_streamed_log").SerializeToString(),
            "UNIMPLEMENTED: Unsupported log_type for warmup: 7",
        ),
        (
            lambda: prediction_log("regress_log").SerializeToString(),
            "No regression inputs found in SignatureDef: ",
        ),
    ],
)
def test_a_bad_warm_up_record_keeps_its_version_from_loading(
    golden_models, tmp_path, record, words
):
    made = {1: golden_models / "dtypes/1"}
    assert words in start(tmp_path, made, warm_up=records_file(record()))


def test_a_host_may_be_a_name_and_one_that_is_none_is_told_before_loading():
    from tf_deblur.errors import UserError
    from tf_deblur.serving import listening

    assert listening.find_address("localhost") in ("127.0.0.1", "::1")
    assert listening.find_address("0.0.0.0") == "0.0.0.0"
    for name in ("nothing.invalid", "a..b", "a" * 64):
        with pytest.raises(UserError, match=f"--host={name}: "):
            listening.find_address(name)
