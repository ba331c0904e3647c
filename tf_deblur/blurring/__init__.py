"""How blur comes about: camera paths, moving regions, recorded motion.

Imports pictures.
"""
