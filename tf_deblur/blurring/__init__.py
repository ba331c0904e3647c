"""How blur comes about: camera paths, moving regions, recorded motion.

Imports only what lies below all rooms: errors, files and OpenCV.
"""
