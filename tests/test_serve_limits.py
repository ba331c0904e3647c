"""What bad input, slow clients and half-written folders get from our server."""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib

import pytest

pytest.importorskip("granian", reason="needs granian; pip install 'tf-deblur[serve]'")
from serve_server import Server, settings  # noqa: E402

SMALL = {"max_request_mb": 1, "max_megapixels": 1, "queue_size": 4}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """double/1 and double/2 (x * 1, x * 2), and slow/1, which takes its seconds."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("models")

    def save(name, version, function, dtype):
        spec = tf.TensorSpec([None], dtype, name="x")
        module = tf.Module()
        module.f = tf.function(lambda x: {"y": function(x)}, input_signature=[spec])
        path = str(folder / name / str(version))
        tf.saved_model.save(module, path, signatures={"serving_default": module.f})

    def wait(x):
        count = tf.cast(x[0] * 100_000, tf.int32)
        burnt = tf.while_loop(
            lambda i, _: i < count, lambda i, y: (i + 1, tf.sin(y)), (tf.constant(0), x)
        )[1]
        return x + 0 * burnt

    save("times", 1, lambda x: x * 1, tf.float32)
    save("times", 2, lambda x: x * 2, tf.float32)
    save("slow", 1, wait, tf.float32)
    save(
        "decode",
        1,
        lambda x: tf.map_fn(
            lambda b: tf.shape(tf.io.decode_image(b)), x, fn_output_signature=tf.int32
        ),
        tf.string,
    )
    return folder


@pytest.fixture(scope="module")
def server(models):
    running = Server(settings(models, "times", "slow", "decode"), **SMALL)
    yield running
    running.stop()


def error_of(reply):
    return json.loads(reply[1])["error"]


def test_who_sends_a_body_over_the_limit_sees_why_it_is_refused(server):
    for _ in range(20):  # a connection closed too early would be reset, now and then
        reply = server.predict("times", b" " * 20_000_000)
        assert reply[0] == 413 and "--max_request_mb" in error_of(reply)


def test_a_length_over_the_limit_is_refused_before_the_body_and_the_connection_ends(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
        wire.sendall(
            b"POST /v1/models/times:predict HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 99999999999\r\n\r\n"
        )
        reply = http.client.HTTPResponse(wire)
        reply.begin()
        assert reply.status == 413
        reply.read()
        assert wire.recv(1) == b""


def test_a_chunked_body_over_the_limit_is_refused(server):
    chunks = (b" " * 100_000 for _ in range(30))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    with contextlib.suppress(OSError):  # it may stop listening before all is sent
        connection.request("POST", "/v1/models/times:predict", chunks, encode_chunked=True)
        assert connection.getresponse().status == 413
    connection.close()
    assert server.predict("times", b'{"instances": [1]}')[0] == 200


def test_more_requests_than_the_queue_holds_get_429(server):
    body = b'{"instances": [1]}'
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: server.predict("slow", body), range(12)))
    statuses = [status for status, _, _ in replies]
    assert set(statuses) == {200, 429} and statuses.count(200) >= 4
    refused = next(reply for reply in replies if reply[0] == 429)
    assert refused[2]["retry-after"] == "1" and "--queue_size" in error_of(refused)


def test_the_time_limit_is_504_and_the_server_goes_on(models):
    server = Server(settings(models, "slow", timeout=0.3), timeout=0.3)
    try:
        reply = server.predict("slow", b'{"instances": [100]}')
        assert reply[0] == 504 and error_of(reply) == "Timed out waiting for notification"
        time.sleep(0.5)
        assert server.predict("slow", b'{"instances": [0]}')[0] == 200
    finally:
        server.stop()


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize(
    "data, words",
    [
        (b"no picture", "Unknown image file format"),
        (b"", "Input is empty"),
        (png_header(3, 3), "PNG"),  # cut short
        (png_header(60000, 60000), "60000x60000"),
        (b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20), "65535x65535"),
        (b"BM" + bytes(16) + struct.pack("<ii", 40000, -40000) + bytes(20), "40000x40000"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 65500, 65500) + bytes(20), "65500"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
    ],
)
def test_what_is_no_picture_or_claims_to_be_a_huge_one_is_refused_in_words(server, data, words):
    body = json.dumps({"instances": [{"b64": base64.b64encode(data).decode()}]})
    reply = server.predict("decode", body)
    assert reply[0] == 400 and words in error_of(reply)


def test_a_gzip_bomb_is_an_empty_body(server):
    import gzip

    bomb = gzip.compress(bytes(105_000_000), 1)
    headers = {"Content-Encoding": "gzip"}
    reply = server.ask("POST", "/v1/models/times:predict", bomb, headers)
    assert reply[0] == 400 and "The document is empty" in error_of(reply)


@pytest.mark.parametrize("text", [b'{"instances": ' + b"[" * 400_000, b'{"a":' * 150_000])
def test_nesting_without_end_is_refused(server, text):
    reply = server.predict("times", text)
    assert reply[0] == 400 and "nested deeper" in error_of(reply)


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/page.js/../../app.py",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page.css%00.html",
        "/v1/models/..%2f..%2fetc/metadata",
        "/v1/models/" + "a" * 100_000,
        "/v1/models/times%ff%fe",
        "/v1/models/%",
    ],
)
def test_tricks_with_paths_find_nothing(server, path):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reply = http.client.HTTPResponse(wire)
        reply.begin()
        assert reply.status in (400, 404, 414)
        assert b"root:" not in reply.read()


def test_slow_bodies_and_slow_headers_are_cut_off(models, monkeypatch):
    from tf_deblur.serving import http as serving_http
    from tf_deblur.serving import listening

    monkeypatch.setattr(serving_http, "FIRST_SECONDS", 0.5)
    monkeypatch.setattr(listening, "HEADER_SECONDS", 1)
    server = Server(settings(models, "times"))
    head = b"POST /v1/models/times:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n{"
    try:
        for sent, first in [(head, b"HTTP/1.1 408"), (b"GET / HTTP/1.1\r\nHo", None)]:
            with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
                wire.sendall(sent)
                got = wire.recv(12)
                assert first is None or got == first
                while wire.recv(4096):  # until it is closed
                    pass
    finally:
        server.stop()


def test_clients_that_go_away_are_no_harm(server):
    request = b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"
    for sent in (request, request + b'{"instances": [0.1]} ', b"GE", b"\x16\x03\x01\x02"):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
            wire.sendall(sent)
            wire.shutdown(socket.SHUT_WR)
            time.sleep(0.05)
    time.sleep(1)
    assert server.predict("times", b'{"instances": [1]}')[0] == 200


@contextlib.contextmanager
def a_thousand_connections(server):
    with contextlib.ExitStack() as stack:
        address = "127.0.0.1", server.port
        yield [
            stack.enter_context(socket.create_connection(address, timeout=20)) for _ in range(1000)
        ]


def test_a_thousand_slow_senders_hold_nobody_up_and_are_answered(server):
    with a_thousand_connections(server) as wires:
        for wire in wires:
            wire.sendall(b"GET /v1/models/times HT")
        assert server.ask("GET", "/v1/models/times", timeout=5)[0] == 200
        for wire in wires:
            wire.sendall(b"TP/1.1\r\nHost: x\r\n\r\n")
        assert {wire.recv(12) for wire in wires} == {b"HTTP/1.1 200"}


def test_a_thousand_predict_requests_at_once_are_answered_or_told_to_come_again(server):
    request = b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n"
    with a_thousand_connections(server) as wires:
        for wire in wires:
            wire.sendall(request + b'{"instances": [0.5]}')
        assert {wire.recv(12) for wire in wires} == {b"HTTP/1.1 200", b"HTTP/1.1 429"}
    assert server.predict("times", b'{"instances": [1]}')[0] == 200


def test_a_new_version_takes_over_without_a_gap_and_a_broken_one_does_not(models, tmp_path):
    base = tmp_path / "times"
    shutil.copytree(models / "times/1", base / "1")
    server = Server(settings(tmp_path, "times", retries=20, retry_seconds=0.1), poll_seconds=0.1)
    seen = []

    def ask_until(wanted, seconds=10):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            status, body, _ = server.predict("times", b'{"inputs": [3]}')
            assert status == 200, body
            seen.append(json.loads(body)["outputs"][0])
            if seen[-1] == wanted:
                return
        pytest.fail(f"never {wanted}")

    try:
        ask_until(3)
        shutil.copytree(models / "times/2", tmp_path / "part")
        (tmp_path / "part").rename(base / "2")
        ask_until(6)
        (base / "3").mkdir()  # half written: no model file yet, then one that is cut short
        (base / "3/saved_model.pb").write_bytes(
            (models / "times/1/saved_model.pb").read_bytes()[:300]
        )
        time.sleep(0.5)
        ask_until(6)
        shutil.copytree(models / "times/1", base / "3", dirs_exist_ok=True)  # now it is whole
        ask_until(3)
        (base / "4").mkdir()
        (base / "4/saved_model.pb").write_bytes(b"broken")
        shutil.copytree(models / "times/2", base / "5.tmp")  # whole, but for its warm-up file
        (base / "5.tmp/assets.extra").mkdir()
        (base / "5.tmp/assets.extra/tf_serving_warmup_requests").write_bytes(b"broken" * 9)
        time.sleep(3)  # past all retries
        (base / "5.tmp").rename(base / "5")
        time.sleep(3)
        ask_until(3)
        for number, words in (4, "saved_model.pb"), (5, "warmup data is in TFRecord format"):
            told = json.loads(server.ask("GET", f"/v1/models/times/versions/{number}")[1])
            status = told["model_version_status"][0]["status"]
            assert status["error_code"] == "DATA_LOSS" and words in status["error_message"]
    finally:
        server.stop()
    assert [value for value, before in zip(seen[1:], seen) if value != before] == [6, 3]


@contextlib.contextmanager
def command(*arguments):
    """The command in a process of its own; yields it and its port once it serves."""
    line = [sys.executable, "-m", "tf_deblur.serve", "--rest_api_port=0", *map(str, arguments)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as done:
        try:
            for told in done.stdout:
                if found := re.search(r"serving on http://127.0.0.1:(\d+)", told):
                    yield done, int(found[1])
                    break
            else:
                pytest.fail(done.stderr.read())
        finally:
            done.kill()


def test_a_stopped_server_finishes_what_is_under_way(models):
    with command("--model_base_path", models / "slow") as (done, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/v1/models/slow:predict", '{"instances": [8]}')
        time.sleep(0.5)
        done.send_signal(signal.SIGTERM)
        reply = connection.getresponse()
        assert (reply.status, json.load(reply)["predictions"]) == (200, [8.0])
        assert done.wait(10) == 0
        log = [json.loads(line) for line in done.stderr.read().splitlines()]
    assert [(line["path"], line["status"]) for line in log] == [("/v1/models/slow:predict", 200)]


def test_without_flags_the_weights_that_ship_are_served(picture):
    import cv2
    import numpy as np

    png = cv2.imencode(".png", picture(45, 77))[1].tobytes()
    body = json.dumps({"instances": [{"b64": base64.b64encode(png).decode()}]})
    with command("--noaccess_log") as (done, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/v1/models/compact:predict", body)
        restored = base64.b64decode(json.load(connection.getresponse())["predictions"][0]["b64"])
        assert cv2.imdecode(np.frombuffer(restored, np.uint8), 1).shape == (45, 77, 3)
        connection.request("GET", "/")
        page = connection.getresponse()
        assert page.status == 200 and b'data-model="compact"' in page.read()
        done.send_signal(signal.SIGINT)
        assert done.wait(10) == 0 and done.stderr.read() == ""


def test_server_and_export_take_pictures_of_the_same_size(run):
    told = [
        re.search(r"--max_megapixels\n.*default: '(\S+)'", run(command, "--help").stdout)[1]
        for command in ("serve", "export")
    ]
    assert told[0] == told[1]


def test_mistakes_are_told_in_one_line(run, models, tmp_path):
    (tmp_path / "broken/1").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = f"--rest_api_port={taken.getsockname()[1]}"
        for arguments, status, words in [
            (["--model_base_path=nothing"], 1, "nothing: no such folder"),
            (["--model_base_path=broken", "--max_num_load_retries=0"], 1, "saved_model.pb"),
            (["--model_base_path", models / "times", "--versions=newest"], 1, "latest:1"),
            (["--model_base_path", models / "times", "--version_labels=a"], 1, "stable:1"),
            (["--model_base_path", models / "times", port], 1, "--rest_api_port"),
            (["photo.jpg"], 1, "not a flag"),
        ]:
            done = run("serve", *arguments)
            assert done.returncode == status and words in done.stderr, done.stderr
            assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
