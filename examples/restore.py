"""Restores a photograph in Python: python examples/restore.py photo.jpg restored.png"""

import sys

import cv2

import tf_deblur

restore = tf_deblur.load("compact")  # or a training's folder, a SavedModel, a .tflite file
blurred = cv2.imread(sys.argv[1])[..., ::-1]  # (height, width, 3) uint8; OpenCV has blue first
cv2.imwrite(sys.argv[2], restore(blurred)[..., ::-1])
