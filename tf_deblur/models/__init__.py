"""The networks of the paper: layers, generator and discriminator, losses, training step, weights.

Imports only what lies below all rooms: errors, files, and the version.
"""
