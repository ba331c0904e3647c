"""How good a restored picture is: metrics, registration, methods side by side, tables, figures.

Imports restoring, datasets (which reads prepared data) and pictures.
"""
