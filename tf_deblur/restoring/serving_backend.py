"""A model behind TensorFlow Serving's REST interface, and the client that asks it."""

import base64
import json
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import urllib3

from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import photographs
from tf_deblur.restoring import restorer

SECONDS, SECONDS_A_MEGAPIXEL = 60, 60  # for one answer: `paper` takes 34 on two cores
BUSY = (429, 503)
THIS_ONE = (400, 413, 504)  # what is wrong with one question: too large, too long
# When the server is busy, after 0, 2, 4, 8 and 16 seconds, or when it says: 429 and 503 mean that
# nothing was begun. A server that is not there, or hangs up, is said at once.
RETRIES = urllib3.Retry(
    5, connect=0, read=0, status_forcelist=BUSY, allowed_methods=None,
    backoff_factor=1, backoff_jitter=0.5, raise_on_status=False, retry_after_max=60,
)  # fmt: skip


class ServingRestorer(restorer.Restorer):
    """A model behind TensorFlow Serving's REST interface: http://HOST:PORT/v1/models/NAME.

    It gets whole pictures, and tiles them itself: 8-bit ones as PNG files, others as numbers.
    """

    MOST_NUMBERS = 4_000_000  # pixels of a picture that goes as numbers: JSON takes 75 bytes each

    def __init__(self, name, precision):
        super().__init__(name, 3, "float32", "a server")
        self.url = str(name).rstrip("/")
        states = self._read_answer(ask(self.url), "model_version_status")
        if not any(version.get("state") == "AVAILABLE" for version in states):
            raise UserError(f"{self.url}: no version of it is available yet")

    def __str__(self):
        return f"the model at {self.url}; its server chooses device and precision"

    def describe_tiles(self) -> str:
        return "whole pictures, which the server tiles"

    def restore(self, image: np.ndarray, progress: Callable) -> np.ndarray:
        if image.dtype == np.uint8:
            restored = self._send_file(image)
        else:
            restored = restorer.apply_to_floats(self._send_numbers, image)
        progress(image.shape[0] * image.shape[1])
        return restored

    def _send_file(self, image):
        png = tf.io.encode_png(image, compression=1).numpy()  # a tenth of the time, 14 % larger
        file = base64.b64encode(png).decode()
        megapixels = image.size / 3e6
        inputs = {"image_bytes": [{"b64": file}]}
        answer = self._predict("serving_default", inputs, megapixels)
        try:
            data = base64.b64decode(answer[0]["b64"])
        except (ValueError, LookupError, TypeError) as error:
            raise self._odd() from error
        try:
            result = photographs.open_photograph(data, self.url, megapixels + 1).pixels
        except BadPicture as error:  # the server's fault, not this picture's
            raise UserError(str(error)) from error
        return self._check_shape(result, image.shape)

    def _send_numbers(self, batch):
        pixels = batch.size // 3
        if pixels > self.MOST_NUMBERS:
            raise BadPicture(
                f"{pixels / 1e6:.1f} megapixels: of pictures with more than 8 bits, a model behind "
                f"a URL takes at most {self.MOST_NUMBERS / 1e6:g}; use the model's files for this"
            )
        answer = self._predict("float32", {"image": batch.tolist()}, pixels / 1e6)
        try:
            return self._check_shape(np.array(answer, np.float32), batch.shape)
        except (ValueError, TypeError) as error:
            raise self._odd() from error

    def _check_shape(self, result, shape):
        if result.shape != shape:
            raise self._odd()
        return result

    def _odd(self):
        return UserError(f"{self.url}: not the answer of a model that `tf-deblur export` writes")

    def _predict(self, signature, inputs, megapixels):
        question = {"signature_name": signature, "inputs": inputs}
        return self._read_answer(ask(f"{self.url}:predict", question, megapixels), "outputs")

    def _read_answer(self, data, key):
        try:
            return json.loads(data)[key]
        except (ValueError, LookupError, TypeError) as error:
            raise self._odd() from error


def ask(url: str, question: object = None, megapixels: float = 0) -> bytes:
    """Asks a server, by POST where there is a question to send, and waits while it is busy.

    Args:
      url: http or https.
      question: anything that JSON can hold, or None.
      megapixels: that are asked for; the answer may take the longer.

    Returns:
      The bytes of the answer.

    Raises:
      BadPicture: the server will not do this one: it is too large, or took too long.
      UserError: no answer in time, another error of the server's, or still busy after all retries.
    """
    method, body = ("GET", None) if question is None else ("POST", json.dumps(question).encode())
    timeout = urllib3.Timeout(connect=10, read=SECONDS + SECONDS_A_MEGAPIXEL * megapixels)
    headers = {"Content-Type": "application/json"} if body else None
    try:
        with urllib3.PoolManager(retries=RETRIES, timeout=timeout) as pool:
            reply = pool.request(method, url, body=body, headers=headers)
    except urllib3.exceptions.HTTPError as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"{url}: no answer ({reason})") from error
    if reply.status == 200:
        return reply.data
    kind = BadPicture if question and reply.status in THIS_ONE else UserError
    raise kind(f"{url}: status {reply.status}: {_explain_status(reply)}")


def _explain_status(reply):
    try:
        reason = " ".join(str(json.loads(reply.data)["error"]).split())
    except (ValueError, LookupError, TypeError):
        reason = reply.reason or "no reason given"
    reason = reason.split(" [[{{node")[0]  # where in the graph says nothing to a user
    return f"{reason}; raise its --rest_api_timeout_in_ms" if reply.status == 504 else reason
