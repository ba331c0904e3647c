"""How good a restored picture is: metrics, registration, methods side by side, tables, figures.

Imports restoring, training (which reads prepared data) and pictures.
"""
