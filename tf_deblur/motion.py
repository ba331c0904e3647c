"""Motion blur made from a sharp picture: a camera that shakes, things that move.

A path is (poses, 3, 3): homographies in pixels round the picture's centre, from where a
point is during the exposure to where it is in the sharp picture. The poses are evenly
spaced in time. The sharp picture is what the camera sees at the path's reference, which
is the identity: the pose in the middle of the exposure, or the mean of all poses.
"""

import math

import cv2
import numpy as np

GAMMA = 2.2
FINE = 256  # moments at which a path is drawn, before it is thinned
REACH = 400  # pixels from the centre at which a roll or zoom counts as a step


def random_walk(rng, extent, roughness=0.4):
    """A smooth random walk with inertia, now and then thrown back.

    Args:
      rng: a NumPy generator.
      extent: the larger side of the walk's bounding box, in pixels.
      roughness: how strongly it is pushed about; each walk's own push is at most this.

    Returns:
      (FINE, 2) positions in pixels, right and down.
    """
    kicks = rng.normal(size=(FINE, 2)) * rng.uniform(0, roughness) * 0.2
    kicks[0] = rng.normal(size=2)
    turns = np.where(rng.random(FINE) < 0.005, -1, 1)
    velocity, speed = np.empty((FINE, 2)), np.zeros(2)
    for moment in range(FINE):
        speed = speed * 0.99 * turns[moment] + kicks[moment]
        velocity[moment] = speed
    walk = np.cumsum(velocity, axis=0)
    return walk * (extent / max(np.ptp(walk, axis=0).max(), 1e-9))


def straight(rng, extent):
    """Even motion along a line: (FINE, 2) positions in pixels."""
    angle = rng.uniform(0, 2 * math.pi)
    direction = np.array([math.cos(angle), math.sin(angle)])
    return np.linspace(0, extent / np.abs(direction).max(), FINE)[:, None] * direction


def camera_path(rng, extent, middle=False, step=1.0):
    """A hand that shakes: it shifts, and turns and zooms a little.

    Args:
      rng: a NumPy generator.
      extent: the larger side of the shift's bounding box, in pixels.
      middle: whether the reference is the pose in the middle of the exposure; else it is
        the mean pose.
      step: no two poses that follow each other are farther apart, in pixels.

    Returns:
      (poses, 3, 3) homographies.
    """
    shift = random_walk(rng, extent)
    small = min(extent / 20, 1.0)  # a short path turns less
    roll = random_walk(rng, math.radians(1.0) * small * rng.random())[:, 0]
    zoom = random_walk(rng, 0.004 * extent / 10 * rng.random())[:, 0]
    return _poses(shift, roll, zoom, middle, step)


def object_path(rng, extent, middle=False, step=1.0):
    """A thing that moves: straight in six cases of ten, else on a curve; see `camera_path`."""
    walk = straight(rng, extent) if rng.random() < 0.6 else random_walk(rng, extent)
    return _poses(walk, np.zeros(FINE), np.zeros(FINE), middle, step)


def _poses(shift, roll, zoom, middle, step):
    motion = np.column_stack([shift, roll, zoom])
    steps = np.abs(np.diff(motion, axis=0)) * [1, 1, REACH, REACH]
    fastest = (np.hypot(steps[:, 0], steps[:, 1]) + np.hypot(steps[:, 2], steps[:, 3])).max()
    count = max(1, math.ceil(fastest * (FINE - 1) / step)) + 1
    at, fine = np.linspace(0, 1, count), np.linspace(0, 1, FINE)
    motion = np.column_stack([np.interp(at, fine, column) for column in motion.T])
    x, y, roll, zoom = (motion - (motion[count // 2] if middle else motion.mean(0))).T
    cos, sin = (1 + zoom) * np.cos(roll), (1 + zoom) * np.sin(roll)
    path = np.tile(np.eye(3), (count, 1, 1))
    path[:, 0, 0], path[:, 0, 1], path[:, 0, 2] = cos, -sin, x
    path[:, 1, 0], path[:, 1, 1], path[:, 1, 2] = sin, cos, y
    return path


def region(rng, height, width):
    """A soft-edged region of random shape: (height, width) float32 in [0, 1]."""
    coarse = rng.normal(size=(5, 5)).astype("float32")
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip((smooth - rng.uniform(0, 0.8)) * 15 + 0.5, 0, 1)


def margin(*paths, size):
    """How far any pixel moves on these paths, in whole pixels; `size` is (height, width)."""
    corners = np.array([[x * size[1] / 2, y * size[0] / 2, 1] for x in (-1, 1) for y in (-1, 1)])
    moved = [(path @ corners.T).transpose(0, 2, 1) for path in paths]
    farthest = max(np.abs(m[..., :2] / m[..., 2:] - corners[:, :2]).max() for m in moved)
    return math.ceil(farthest)


def blur(sharp, path, moving=None, linear=True):
    """What a sensor collects while the camera, or the picture before it, moves.

    Args:
      sharp: (h, w, 3) uint8.
      path: the camera's, (poses, 3, 3).
      moving: None, or (region, path): a (h, w) float32 mask in [0, 1] and a path of its
        own, which the part of the picture below the mask follows over the background.
      linear: whether light is averaged (gamma 2.2), as a sensor does, or encoded values,
        as in GoPro's `blur`.

    Returns:
      (h, w, 3) uint8; beyond the border the picture is mirrored, so cut off `margin`.
    """
    levels = np.arange(256, dtype="float32") / 255
    light = (levels**GAMMA if linear else levels)[sharp]
    total = np.zeros_like(light)
    mask, own = moving or (None, path[:1])
    count = max(len(path), len(own))
    for moment in np.linspace(0, 1, count):
        frame = _warp(light, path[round(moment * (len(path) - 1))])
        if moving:
            pose = own[round(moment * (len(own) - 1))]
            front, cover = _warp(light, pose), _warp(mask, pose)
            frame = cv2.blendLinear(front, frame, cover, 1 - cover)  # many times NumPy's speed
        cv2.accumulate(frame, total)
    mean = total / count
    encoded = np.clip(mean, 0, 1) ** (1 / GAMMA) if linear else np.clip(mean, 0, 1)
    return np.rint(encoded * 255).astype("uint8")


def _warp(image, pose):
    """Samples an image at `pose` of each point, bilinear, from its centre."""
    height, width = image.shape[:2]
    to_centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    matrix = to_centre @ pose @ np.linalg.inv(to_centre)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    options = {"flags": flags, "borderMode": cv2.BORDER_REFLECT_101}
    if np.array_equal(matrix[2], [0, 0, 1]):
        return cv2.warpAffine(image, matrix[:2], (width, height), **options)
    return cv2.warpPerspective(image, matrix, (width, height), **options)
