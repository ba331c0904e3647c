"""Pictures in memory and in files: arrays and floats, photographs, videos.

Imports only what lies below all rooms: errors and files.
"""
