"""TensorFlow Serving's REST interface: a question, its answer, and what goes wrong on the way."""

import http.client
import json
import time
import urllib.error
import urllib.request

from tf_deblur.errors import UserError

SECONDS = 120  # for one answer
RETRIES = 5  # when the server is busy, after 1, 2, 4 … seconds
BUSY = (429, 503)


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
