"""OpenCV, with the reason in words where it does not start."""

import os

from tf_deblur.errors import UserError

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # of a damaged file our own error tells

try:
    import cv2  # noqa: F401
except ImportError as error:  # its window parts want libraries that a bare Debian lacks
    raise UserError(
        f"OpenCV does not start ({error}); on Debian and Ubuntu: "
        "sudo apt-get install libgl1 libglib2.0-0"
    ) from error
