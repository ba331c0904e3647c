"""Programs of others against our server: a client of TensorFlow Serving's API, and a fuzzer."""

import base64
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs uvicorn; pip install 'tf-deblur[serve]'")
from serve_server import Server, settings  # noqa: E402


@pytest.fixture(scope="module")
def server(exported):
    running = Server(settings(exported, "compact"), page_model="compact")
    yield running
    running.stop()


def test_a_client_of_tensorflow_serving_gets_kerass_picture(server, small_workdir, picture):
    ovmsclient = pytest.importorskip("ovmsclient", reason="needs ovmsclient")
    from tf_deblur.models import networks, weights

    client = ovmsclient.make_http_client(f"127.0.0.1:{server.port}")
    available = {"state": "AVAILABLE", "error_code": 0, "error_message": ""}
    assert client.get_model_status("compact", 1) == {1: available}
    metadata = client.get_model_metadata("compact", 1)["metadata"]["signature_def"]
    assert {"serving_default", "uint8", "float32"} <= metadata["signature_def"].keys()
    blurred = picture(45, 77)
    file = cv2.imencode(".png", blurred[..., ::-1])[1].tobytes()
    [answer] = client.predict({"image_bytes": [file]}, "compact", 1)
    restored = cv2.imdecode(np.frombuffer(base64.b64decode(answer["b64"]), np.uint8), 1)
    expected = networks.restore(weights.load(small_workdir), np.float32(blurred[None] / 255))
    assert np.abs(restored[..., ::-1] - 255 * expected.numpy()[0]).max() <= 0.5 + 255 * 1e-4
    with pytest.raises(ovmsclient.InvalidInputError, match="not a JPEG or PNG file"):
        client.predict({"image_bytes": [b"no picture"]}, "compact", 1)
    with pytest.raises(ovmsclient.ModelNotFoundError, match="version 7 of compact"):
        client.get_model_status("compact", 7)


def test_the_description_is_true_of_what_a_fuzzer_is_answered(server, tmp_path):
    pytest.importorskip("schemathesis", reason="needs schemathesis")
    config = pathlib.Path(__file__).with_name("schemathesis.toml")
    line = [sys.executable, "-m", "schemathesis.cli", f"--config-file={config}", "run"]
    line += [f"http://127.0.0.1:{server.port}/openapi.json", "--seed=0", "--max-examples=20"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stdout
    assert "Selected: 9/9" in done.stdout
    assert server.ask("GET", "/v1/models/compact")[0] == 200
