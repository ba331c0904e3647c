"""What a request comes to when it fails: TensorFlow's status codes, and HTTP's."""

import re

import tensorflow as tf

NODES = re.compile(r"\s*\[\[.*\]\]|\{\{.*?\}\}")  # of a graph, as its errors quote them
# in the order of their numbers, as TensorFlow's errors have them; HTTP's status for each
HTTP = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}


class Failure(Exception):
    """A request that fails: a status code's name, and the message that the client gets.

    Attributes:
      code: one of HTTP's keys.
      http: HTTP's status.
    """

    def __init__(self, code: str, message: str, http: int | None = None):
        super().__init__(message)
        self.code, self.message = code, message
        self.http = http or HTTP[code]


def invalid(message: str) -> Failure:
    return Failure("INVALID_ARGUMENT", message)


def not_found(message: str) -> Failure:
    return Failure("NOT_FOUND", message)


def from_tensorflow(error: tf.errors.OpError) -> Failure:
    """An op's failure in its own words, without the nodes of the graph that it names."""
    code = [*HTTP][error.error_code]
    if code == "DEADLINE_EXCEEDED":
        return late()
    text = NODES.sub("", error.message).strip()
    return Failure(code, text or type(error).__name__)


def late() -> Failure:
    return Failure("DEADLINE_EXCEEDED", "It took longer than --rest_api_timeout_in_ms allows")
