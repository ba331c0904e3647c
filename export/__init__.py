"""Writes a trained network as what other programs run: TensorFlow Serving, a phone, a browser."""
