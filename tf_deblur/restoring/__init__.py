"""A blurred picture in, a sharp one out: networks on every engine, tile by tile, and the check.

Imports models and pictures.
"""
