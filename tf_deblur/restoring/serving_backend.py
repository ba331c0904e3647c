"""A model behind TensorFlow Serving's REST interface, and the client that asks it."""

import base64
import http.client
import json
import time
import urllib.error
import urllib.request

import numpy as np

from tf_deblur.errors import BadPicture, UserError
from tf_deblur.pictures import photographs
from tf_deblur.restoring import restorer, tiling

SECONDS = 120  # for one answer
RETRIES = 5  # when the server is busy, after 1, 2, 4 … seconds
BUSY = (429, 503)


class ServingRestorer(restorer.Restorer):
    """A model behind TensorFlow Serving's REST interface: http://HOST:PORT/v1/models/NAME.

    It gets whole pictures, 8-bit ones as PNG files, others as numbers in JSON.
    """

    MOST_PIXELS = 4_000_000  # larger ones are refused: the server holds them whole

    def __init__(self, name, precision):
        facts = {"size_multiple": 1, "radius": 0, "channels": 3, "pixel_bytes": 0}
        super().__init__(name, facts, why="the server's own")
        self.url = str(name).rstrip("/")
        self.device = f"TensorFlow Serving at {self.url}"
        states = self._answer(ask(self.url), "model_version_status")
        if not any(version.get("state") == "AVAILABLE" for version in states):
            raise UserError(f"{self.url}: no version of it is available yet")

    def seconds_a_pixel(self, side=256):
        return 0.0  # nothing is sent that nobody asked for

    def tiles(self, height, width):
        if height * width > self.MOST_PIXELS:
            raise BadPicture(
                f"{width}x{height} pixels: a model behind a URL takes at most "
                f"{self.MOST_PIXELS / 1e6:g} megapixels; use the model's files for this one"
            )
        return tiling.Tiles(height, width, (height, width), 0)

    def told(self):
        return f"whole pictures of at most {self.MOST_PIXELS / 1e6:g} megapixels"

    def run_typed(self, tile):
        if tile.dtype != np.uint8:
            return super().run_typed(tile)
        file = base64.b64encode(photographs.encode(".png", tile)).decode()
        answer = self._predict("serving_default", {"image_bytes": [{"b64": file}]})
        try:
            data = base64.b64decode(answer[0]["b64"])
        except (ValueError, LookupError, TypeError) as error:
            raise self._odd() from error
        return self._sized(photographs.open_photograph(data, self.url).pixels, tile.shape)

    def run(self, batch):
        answer = self._predict("float32", {"image": batch.tolist()})
        try:
            return self._sized(np.array(answer, np.float32), batch.shape)
        except (ValueError, TypeError) as error:
            raise self._odd() from error

    def _sized(self, result, shape):
        if result.shape != shape:
            raise self._odd()
        return result

    def _odd(self):
        return UserError(f"{self.url}: not the answer of a model that `tf-deblur export` writes")

    def _predict(self, signature, inputs):
        question = {"signature_name": signature, "inputs": inputs}
        return self._answer(ask(f"{self.url}:predict", question), "outputs")

    def _answer(self, data, key):
        try:
            return json.loads(data)[key]
        except (ValueError, LookupError, TypeError) as error:
            raise self._odd() from error


def ask(url, question=None):
    """Asks a server, by POST where there is a question to send, and waits while it is busy.

    Args:
      url: http or https.
      question: anything that JSON can hold, or None.

    Returns:
      The bytes of the answer.

    Raises:
      UserError: no answer within `SECONDS`, an error of the server's, or still busy after all
        `RETRIES`.
    """
    body = None if question is None else json.dumps(question).encode()
    for attempt in range(RETRIES + 1):
        try:
            with urllib.request.urlopen(url, body, timeout=SECONDS) as reply:
                return reply.read()
        except urllib.error.HTTPError as error:
            told = _server_said(error)
            if error.code not in BUSY or attempt == RETRIES:
                raise UserError(f"{url}: status {error.code}: {told}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:  # OSError: time-outs
            reason = getattr(error, "reason", error)
            raise UserError(f"{url}: no answer ({reason})") from error
        time.sleep(2**attempt)


def _server_said(error):
    try:
        return " ".join(str(json.loads(error.read())["error"]).split())
    except (OSError, ValueError, LookupError, TypeError, http.client.HTTPException):
        return error.reason
