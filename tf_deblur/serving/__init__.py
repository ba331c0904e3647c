"""A small server of our own that speaks TensorFlow Serving's REST API: what it takes is bounded.

`docs/reference/serving.md` says what it does otherwise.
"""
