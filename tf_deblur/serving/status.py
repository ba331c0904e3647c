"""What a request comes to when it fails: TensorFlow's status codes, and HTTP's."""

HTTP = {
    "OK": 200,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # all else is 500
# in the order of their numbers, as TensorFlow's errors have them
CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
    *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
    *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
    "UNAUTHENTICATED",
)


class Failure(Exception):
    """A request that fails: a status code's name, and the message that the client gets.

    Attributes:
      code: one of CODES.
      message: str; bytes that are not UTF-8 stand in it as surrogate escapes.
      http: HTTP's status.
    """

    def __init__(self, code, message, http=None):
        super().__init__(message)
        self.code, self.message = code, message
        self.http = http or HTTP.get(code, 500)


def invalid(message):
    return Failure("INVALID_ARGUMENT", message)


def not_found(message):
    return Failure("NOT_FOUND", message)


def of_tensorflow(error):
    """The Failure for a `tf.errors.OpError`."""
    return Failure(CODES[error.error_code], error.message)
