"""A small server of our own that speaks TensorFlow Serving's REST API.

`docs/serving.md` says what it does otherwise.
"""
