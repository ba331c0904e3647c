"""What bad input, slow clients and half-written folders get from our server."""

import asyncio
import base64
import concurrent.futures
import contextlib
import http.client
import io
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
from PIL import Image

pytest.importorskip("uvicorn", reason="needs uvicorn; pip install 'tf-deblur[serve]'")
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
    for _ in range(5):  # a connection closed too early would be reset, now and then
        reply = server.predict("times", b" " * 4_000_000)
        assert reply[0] == 413 and "--max_request_mb" in error_of(reply)


def test_a_length_over_the_limit_is_refused_before_the_body_and_the_connection_ends(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
        wire.sendall(
            b"POST /v1/models/times:predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Connection: close\r\nContent-Length: 99999999999\r\n\r\n"
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


def test_a_body_in_chunks_of_a_byte_is_refused(server):
    head = b"POST /v1/models/times:predict HTTP/1.1\r\nHost: localhost\r\n"
    body = b"1\r\n \r\n" * 20_000 + b'12\r\n{"instances": [1]}\r\n0\r\n\r\n'
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as wire:
        wire.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        assert wire.recv(12) == b"HTTP/1.1 400"


def test_many_small_requests_on_one_connection_are_all_answered(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for _ in range(1100):
        connection.request("POST", "/v1/models/times:predict", b'{"instances": [1]}')
        reply = connection.getresponse()
        assert (reply.status, json.loads(reply.read())) == (200, {"predictions": [2.0]})


def test_a_client_that_goes_at_the_moment_of_the_stop_is_no_fault():
    from tf_deblur.serving import limits

    async def stop():
        workers, reply = limits.Workers(1, 4, 1e6), asyncio.get_running_loop().create_future()
        reply.cancel()
        workers._waiting.append(limits._Job(None, b"", False, reply))
        workers.stop()
        return workers.count

    assert asyncio.run(stop()) == 0


def test_more_requests_than_the_queue_holds_get_429(server):
    body = b'{"instances": [0.3]}'
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
        assert reply[0] == 504 and "--rest_api_timeout_in_ms" in error_of(reply)
        time.sleep(0.5)
        assert server.predict("slow", b'{"instances": [0]}')[0] == 200
    finally:
        server.stop()


def png_header(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk


def encode(format):
    """A picture of more than the megapixel that the server takes."""
    file = io.BytesIO()
    Image.new("RGB", (1100, 1000)).save(file, format)
    return file.getvalue()


@pytest.mark.parametrize(
    "data, words",
    [
        (b"no picture", "Unknown image file format"),
        (b"", "Input is empty"),
        (png_header(3, 3), "PNG"),  # cut short
        (png_header(60000, 60000), "PNG"),
        (encode("PNG"), "1100x1000"),
        (encode("GIF"), "1100x1000"),
        (encode("JPEG"), "1100x1000"),
        (encode("WEBP"), "1100x1000"),
        (b"GIF89a" + struct.pack("<HH", 65535, 65535) + bytes(20), ""),
        (b"BM" + bytes(16) + struct.pack("<ii", 40000, -40000) + bytes(20), "BMP"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", 65500, 65500) + bytes(20), "JPEG"),
        (b"\xff\x0a" + bytes(20), "not a JPEG or PNG"),  # JPEG XL
    ],
)
def test_what_is_no_picture_or_claims_to_be_a_huge_one_is_refused_in_words(server, data, words):
    body = json.dumps({"instances": [{"b64": base64.b64encode(data).decode()}]})
    reply = server.predict("decode", body)
    assert reply[0] == 400 and words in error_of(reply) and "node" not in error_of(reply)


@pytest.mark.parametrize("unit", [b" ", b"{},"])
def test_a_gzip_bomb_is_refused_by_what_it_unpacks_to(server, unit):
    import gzip

    bomb = gzip.compress(unit * 5_000_000, 9)
    headers = {"Content-Encoding": "gzip"}
    reply = server.ask("POST", "/v1/models/times:predict", bomb, headers)
    assert reply[0] == 413 and "--max_request_mb" in error_of(reply)


def test_more_elements_than_a_picture_has_are_refused_before_they_are_read(monkeypatch):
    from tf_deblur.serving import requests
    from tf_deblur.serving.status import Failure

    monkeypatch.setattr(requests, "MOST_ELEMENTS", 1000)
    assert requests.parse(b'{"a": [%s0]}' % (b"0," * 900))
    for body in (b"0," * 1000 + b"0", b"[]," * 600 + b"0", b"{}," * 600 + b"0"):
        with pytest.raises(Failure, match="1000 elements"):
            requests.parse(b'{"a": [%s]}' % body)


@pytest.mark.parametrize(
    "values",
    [
        ["a"] * 5000 + ["b" * 5000],  # an array of NumPy's own making would have 4 * 5000² bytes
        [[1]] * 50_000 + [True],  # joined one by one, they took a time that grows with the square
        [1.5] * 50_000 + ["1"],
        [[1] * 3] * 50_000 + [[1]],
    ],
)
def test_what_is_no_tensor_costs_no_more_than_it_is_long(server, values):
    import tracemalloc

    import tensorflow as tf

    from tf_deblur.serving import requests
    from tf_deblur.serving.status import Failure

    tracemalloc.start()
    with pytest.raises(Failure):
        requests.make_tensor("x", values, tf.float32)
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert server.predict("times", json.dumps({"inputs": values}))[0] == 400


@pytest.mark.parametrize("text", [b'{"instances": ' + b"[" * 400_000, b'{"a":' * 150_000])
def test_nesting_without_end_is_refused(server, text):
    reply = server.predict("times", text)
    assert reply[0] == 400 and error_of(reply)


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
        "/v1/models/times/versions/" + "9" * 5000,
        "/v1/models/%",
    ],
)
def test_tricks_with_paths_find_nothing(server, path):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        reply = http.client.HTTPResponse(wire)
        reply.begin()
        assert reply.status in (400, 404, 414)
        assert b"root:" not in reply.read()


def test_slow_bodies_and_slow_headers_are_cut_off(models, monkeypatch):
    from tf_deblur.serving import limits, listening

    monkeypatch.setattr(limits, "FIRST_SECONDS", 0.5)
    monkeypatch.setattr(listening, "HEADER_SECONDS", 1)
    server = Server(settings(models, "times"))
    head = b"POST /v1/models/times:predict HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Length: 9999\r\n\r\n{"
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
    request = (
        b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n"
    )
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
            wire.sendall(b"TP/1.1\r\nHost: localhost\r\n\r\n")
        assert {wire.recv(12) for wire in wires} == {b"HTTP/1.1 200"}


def test_a_thousand_predict_requests_at_once_are_answered_or_told_to_come_again(server):
    request = (
        b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n"
    )
    with a_thousand_connections(server) as wires:
        for wire in wires:
            wire.sendall(request + b'{"instances": [0.5]}')
        assert {wire.recv(12) for wire in wires} == {b"HTTP/1.1 200", b"HTTP/1.1 429"}
    assert server.predict("times", b'{"instances": [1]}')[0] == 200


def test_a_new_version_takes_over_without_a_gap_and_a_broken_one_does_not(models, tmp_path):
    base = tmp_path / "times"
    shutil.copytree(models / "times/1", base / "1")
    server = Server(settings(tmp_path, "times"), poll_seconds=0.1)
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
        time.sleep(0.5)
        (base / "5.tmp").rename(base / "5")
        time.sleep(0.5)
        ask_until(3)
        for number in (4, 5):
            told = json.loads(server.ask("GET", f"/v1/models/times/versions/{number}")[1])
            status = told["model_version_status"][0]["status"]
            assert status["error_code"] != "OK" and status["error_message"]
    finally:
        server.stop()
    assert [value for value, before in zip(seen[1:], seen) if value != before] == [6, 3]


def test_headers_alone_and_bodies_that_stop_leave_room_for_others(models, monkeypatch):
    server = Server(settings(models, "times"), queue_size=4, queue_mb=0.3, max_request_mb=0.2)
    head = b"POST /v1/models/times:predict HTTP/1.1\r\nHost: localhost\r\n"
    try:
        with contextlib.ExitStack() as stack:
            for sent in [b""] * 50 + [b" " * 100_000] * 10:
                wire = socket.create_connection(("127.0.0.1", server.port), timeout=10)
                stack.enter_context(wire).sendall(head + b"Content-Length: 150000\r\n\r\n" + sent)
            body = b" " * 100_000 + b'{"instances": [1]}'
            assert [server.predict("times", body)[0] for _ in range(3)] == [200] * 3
    finally:
        server.stop()


def test_a_reply_that_nobody_reads_is_cut_off(models, monkeypatch):
    from tf_deblur.serving import listening

    monkeypatch.setattr(listening, "PIECE_SECONDS", 0.5)
    server = Server(settings(models, "times"))
    body = json.dumps({"instances": [1.2345678] * 1_000_000}).encode()
    head = b"POST /v1/models/times:predict HTTP/1.1\r\nHost: localhost\r\n"
    try:
        with socket.socket() as wire:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.settimeout(20)
            wire.connect(("127.0.0.1", server.port))
            wire.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert wire.recv(12) == b"HTTP/1.1 200"
            time.sleep(2)
            with contextlib.suppress(ConnectionError):
                received = sum(len(part) for part in iter(lambda: wire.recv(65536), b""))
                assert received < 8_000_000
    finally:
        server.stop()


def test_work_that_nobody_waits_for_keeps_its_place_until_it_ends(models):
    server = Server(settings(models, "slow", timeout=0), timeout=0.2, queue_size=1)
    try:
        assert server.predict("slow", b'{"instances": [5]}')[0] == 504
        assert server.predict("slow", b'{"instances": [0]}')[0] == 429
    finally:
        server.stop()


def test_large_requests_leave_a_thread_to_others(models):
    server = Server(settings(models, "slow", "times"), threads=2)
    large = b'{"instances": [0.1]}' + b" " * 2_000_000
    try:
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(server.predict, "slow", large) for _ in range(3)]
            while server.app.busy < 3:
                time.sleep(0.01)
            assert server.predict("times", b'{"instances": [1]}')[0] == 200
            assert not any(each.done() for each in asked)
            assert [each.result()[0] for each in asked] == [200] * 3
    finally:
        server.stop()


def test_after_a_large_request_others_come_before_the_next_one():
    from tf_deblur.serving import limits

    begun = []

    def work(body):
        begun.append(body)
        time.sleep(0.5 if body == b"large" else 0)

    async def ask(workers, body):
        large, never = body.startswith(b"large"), asyncio.Event()
        await workers.run(20, work, body, large, never.wait)

    async def ask_all():
        workers = limits.Workers(threads=1, most=9, most_bytes=1e6)
        bodies = [b"large", b"large, too", b"small", b"small"]
        await asyncio.gather(*(ask(workers, body) for body in bodies))

    asyncio.run(ask_all())
    assert begun == [b"large", b"small", b"small", b"large, too"]


def test_a_request_whose_client_has_gone_does_not_begin(models):
    server = Server(settings(models, "slow", "times"), threads=1)
    head = b"POST /v1/models/slow:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n"
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            first = pool.submit(server.predict, "slow", b'{"instances": [2]}')
            while not server.app.busy:
                time.sleep(0.01)
            for _ in range(4):
                with socket.create_connection(("127.0.0.1", server.port), timeout=5) as wire:
                    wire.sendall(head + b'{"instances": [100]}')
                    time.sleep(0.1)
            while server.app.busy > 1:
                time.sleep(0.01)
            assert not first.done()
            assert first.result()[0] == 200
        assert server.predict("times", b'{"instances": [1]}')[0] == 200
    finally:
        server.stop()


def test_a_page_of_elsewhere_is_refused_and_the_own_one_is_not(models):
    server = Server(settings(models, "times"))
    shared = Server(settings(models, "times"), cors=["https://a.org"], allowed_hosts=["b.org"])
    address, body = f"127.0.0.1:{server.port}", b'{"instances": [1]}'
    try:
        for running, headers, status in [
            (server, {}, 200),
            (server, {"Origin": f"http://{address}"}, 200),
            (server, {"Host": "localhost", "Origin": "http://localhost"}, 200),
            (server, {"Origin": "https://a.org", "Content-Type": "text/plain"}, 403),
            (server, {"Origin": "null"}, 403),
            (server, {"Origin": "http://["}, 403),
            (server, {"Host": "[::1]:80"}, 200),
            (server, {"Host": "rebound.org", "Origin": "http://rebound.org"}, 403),
            (server, {"Host": "localhost@rebound.org"}, 403),
            (server, {"Host": "rebound.org/localhost"}, 403),
            (shared, {"Host": "b.org", "Origin": "https://a.org"}, 200),
            (shared, {"Host": "b.org", "Origin": "https://c.org"}, 403),
            (shared, {"Host": "localhost"}, 403),
        ]:
            path = "/v1/models/times:predict"
            assert running.ask("POST", path, body, headers)[0] == status, headers
        for path in ("/v1/models/times/metadata", "/monitoring/prometheus/metrics", "/healthz"):
            assert server.ask("GET", path, headers={"Host": "rebound.org"})[0] == 403
            assert server.ask("GET", path)[0] == 200
        told = shared.ask(
            "GET", "/v1/models/times", headers={"Host": "b.org", "Origin": "https://a.org"}
        )
        assert told[2]["access-control-allow-origin"] == "https://a.org"
    finally:
        server.stop()
        shared.stop()


def make_scans(count):
    """A progressive JPEG of 8x8 pixels that says the same scan again and again."""
    file = io.BytesIO()
    Image.new("RGB", (512, 512)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * count + data[-2:]


def test_a_jpeg_of_scans_without_end_reaches_no_graph(server):
    for scans, status in [(1, 200), (250, 400)]:
        encoded = base64.b64encode(make_scans(scans)).decode()
        reply = server.predict("decode", json.dumps({"instances": [{"b64": encoded}]}))
        assert reply[0] == status, reply[1]


def test_a_version_that_may_not_be_read_or_grows_slowly_is_served_once_it_can_be(models, tmp_path):
    base = tmp_path / "times"
    shutil.copytree(models / "times/1", base / "1")
    readable = {"may": False}

    def load(path):
        from tf_deblur.serving.loaded import Loaded

        if path.name == "2" and not readable["may"]:
            raise PermissionError(f"{path}: permission denied")
        return Loaded(path)

    [own] = settings(tmp_path, "times")
    own.load = load
    server = Server([own], poll_seconds=0.1)

    def wait_for(value):
        until, got = time.monotonic() + 20, None
        while got != value and time.monotonic() < until:
            got = json.loads(server.predict("times", b'{"inputs": [3]}')[1])["outputs"][0]
        assert got == value

    try:
        shutil.copytree(models / "times/2", base / "2")
        time.sleep(0.5)
        wait_for(3)
        readable["may"] = True
        (base / "2").chmod(0o700)
        wait_for(6)
        (base / "3").mkdir()
        for path in sorted((models / "times/1").rglob("*")):
            time.sleep(0.15)
            copy = base / "3" / path.relative_to(models / "times/1")
            copy.mkdir(exist_ok=True) if path.is_dir() else shutil.copy(path, copy)
        wait_for(3)
    finally:
        server.stop()


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
        connection.request("GET", "/nothing")
        connection.getresponse().read()
        connection.request("POST", "/v1/models/slow:predict", '{"instances": [4]}')
        time.sleep(0.5)
        done.send_signal(signal.SIGTERM)
        reply = connection.getresponse()
        assert (reply.status, json.load(reply)["predictions"]) == (200, [4.0])
        assert done.wait(10) == 0
        log = [json.loads(line) for line in done.stderr.read().splitlines()]
    assert [(line["path"], line["status"], line["code"]) for line in log] == [
        ("/nothing", 404, "NOT_FOUND"),
        ("/v1/models/slow:predict", 200, "OK"),
    ]


def test_without_flags_the_weights_that_ship_are_served(picture):
    import cv2
    import numpy as np

    png = cv2.imencode(".png", picture(45, 77))[1].tobytes()
    body = json.dumps({"instances": [{"b64": base64.b64encode(png).decode()}]})
    with command("--noaccess_log", "--host=localhost") as (done, port):
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
    from tf_deblur.serving.listening import bind

    (tmp_path / "broken/1").mkdir(parents=True)
    (tmp_path / "training/weights").mkdir(parents=True)
    with bind("127.0.0.1", 0) as taken:  # by a server that still loads
        port = f"--rest_api_port={taken.getsockname()[1]}"
        for arguments, status, words in [
            (["--model_base_path=nothing"], 1, "nothing: no such folder"),
            (["--model_base_path=broken"], 1, "saved_model.pb"),
            (["--model_base_path", models], 1, f"use --model_base_path={models / 'decode'}"),
            (["--model_base_path=training"], 1, "it holds weights; `tf-deblur export` writes"),
            (["--model_base_path", models / "times", "--model_name=a,b"], 1, "name each"),
            (["--model_base_path", models / "times", "--host=nothing.invalid"], 1, "--host="),
            (["--model_base_path", models / "times", port], 1, "--rest_api_port"),
            (["photo.jpg"], 1, "not a flag"),
        ]:
            done = run("serve", *arguments)
            assert done.returncode == status and words in done.stderr, done.stderr
            assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_no_reply_waits_for_a_larger_packet():
    from tf_deblur.serving import listening

    with listening.bind("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP  # of these alone asyncio sets TCP_NODELAY
