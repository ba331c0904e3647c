"""What a request comes to when it fails: TensorFlow's status codes, and HTTP's."""

import tensorflow as tf

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
    return Failure([*HTTP][error.error_code], error.message or type(error).__name__)
