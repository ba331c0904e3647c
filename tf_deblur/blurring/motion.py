"""Motion blur made from a sharp picture: a camera that shakes, things that move.

A motion is (moments, 6), evenly spaced over the exposure: a rotation vector in radians and
a translation, along the axes right, down and forward, before a flat scene that faces the
camera at distance 1. A path is (poses, 3, 3): homographies in pixels round the picture's
centre, from where a point is during the exposure to where it is in the sharp picture,
which is what the camera sees at the path's reference, the identity.
"""

import math

import numpy as np
from numpy.random import Generator

from tf_deblur.opencv import cv2

GAMMA = 2.2
FINE = 256  # moments at which a motion is drawn
SPACING = 0.5  # pixels from a pose to the next, at most


def draw_walk(rng: Generator, extent: float, roughness: float = 0.4) -> np.ndarray:
    """A smooth random walk with inertia, now and then thrown back.

    Args:
      extent: the larger side of the walk's bounding box.
      roughness: how strongly it is pushed about; each walk's own push is at most this.

    Returns:
      (FINE, 2) positions, in the unit of `extent`.
    """
    kicks = rng.normal(size=(FINE, 2)) * rng.uniform(0, roughness) * 0.2
    kicks[0] = rng.normal(size=2)
    turns = np.where(rng.random(FINE) < 0.005, -1, 1)
    velocity, speed = np.empty((FINE, 2)), np.zeros(2)
    for moment in range(FINE):
        speed = speed * 0.99 * turns[moment] + kicks[moment]
        velocity[moment] = speed
    walk = np.cumsum(velocity, axis=0)
    return walk * (extent / np.ptp(walk, axis=0).max())


def draw_line(rng: Generator) -> np.ndarray:
    """Even motion along a line: (FINE, 2) positions."""
    angle = rng.uniform(0, 2 * math.pi)
    return np.linspace(0, 1, FINE)[:, None] * [math.cos(angle), math.sin(angle)]


def draw_camera_motion(
    rng: Generator, extent: float, focal: float, roughness: float = 0.4
) -> np.ndarray:
    """A hand that shakes: it turns the camera, and shifts, rolls and advances it a little.

    Args:
      extent: the larger side of the box in which the picture's centre moves, in pixels.
      focal: focal length in pixels.
      roughness: as of `draw_walk`.

    Returns:
      (FINE, 6), a motion.
    """
    share = rng.uniform(0, 0.5)  # of shifts in what the centre does; most shake is turning
    turned = draw_walk(rng, 1 - share, roughness)
    shifted = draw_walk(rng, share, roughness)
    roll = draw_walk(rng, 0.5 * rng.random(), roughness)[:, 0]
    forward = draw_walk(rng, 0.4 * rng.random(), roughness)[:, 0]
    motion = np.column_stack([-turned[:, 1], turned[:, 0], roll, shifted, forward])
    return stretch(motion, extent, focal)


def draw_object_motion(
    rng: Generator, extent: float, focal: float, roughness: float = 0.4
) -> np.ndarray:
    """A thing that moves, as `draw_camera_motion` does: straight in six of ten cases, or curved."""
    walk = draw_line(rng) if rng.random() < 0.6 else draw_walk(rng, 1, roughness)
    return stretch(np.pad(walk, [(0, 0), (3, 1)]), extent, focal)


def stretch(motion: np.ndarray, extent: float, focal: float) -> np.ndarray:
    """A motion made larger or smaller, so that the centre moves in a box of `extent` pixels."""
    centre = focal * (motion[:, [1, 0]] * [1, -1] + motion[:, 3:5])
    return motion * (extent / max(np.ptp(centre, axis=0).max(), 1e-9))


def compute_homographies(motion: np.ndarray, focal: float) -> np.ndarray:
    """A motion and the focal length in pixels -> (moments, 3, 3), a path: K (R + t n) K⁻¹."""
    path = np.array([cv2.Rodrigues(turn)[0] for turn in motion[:, :3]])
    path[:, :, 2] += motion[:, 3:]  # n, across the scene, is the axis forward
    scale = np.array([focal, focal, 1.0])
    return path * scale[:, None] / scale


def trace_paths(
    motions: list, focal: float, size: tuple, middle: bool = False, spacing: float = SPACING
) -> tuple:
    """The paths of motions that happen at once, with as many poses as they are long.

    Args:
      motions: a list of motions.
      focal: focal length in pixels.
      size: (height, width) of the picture.
      middle: whether a path's reference is its pose in the middle of the exposure; else
        it is the mean pose.
      spacing: no pixel of the picture moves farther from a pose to the next, in pixels.

    Returns:
      A list of paths, (poses, 3, 3), and the shares of the exposure that their poses
      stand for, (poses,): they are evenly spaced along the path, not in time.
    """
    fine = np.linspace(0, 1, max(map(len, motions)))
    drawn = [
        _corners(compute_homographies(_at(fine, motion) - motion.mean(0), focal), size)
        for motion in motions
    ]
    moves = [np.linalg.norm(np.diff(corners, axis=0), axis=-1).max(-1) for corners in drawn]
    gone = np.append(0, np.cumsum(np.max(moves, axis=0)))
    count = math.ceil(gone[-1] * 1.02 / spacing) + 1  # they are a little uneven
    times = np.interp(np.linspace(0, gone[-1], count), gone, fine)
    shares = np.diff(np.concatenate([[0], (times[1:] + times[:-1]) / 2, [1]]))
    posed = [_at(times, motion) for motion in motions]
    means = [_at([0.5], motion) if middle else shares @ at for motion, at in zip(motions, posed)]
    return [compute_homographies(at - mean, focal) for at, mean in zip(posed, means)], shares


def _at(times, motion):
    """A motion at times in [0, 1], from the exposure's begin to its end."""
    own = np.linspace(0, 1, len(motion))
    return np.column_stack([np.interp(times, own, column) for column in motion.T])


def _corners(path, size):
    """Where the picture's corners go: (poses, 4, 2), right and down of its centre."""
    height, width = size
    corners = [[x * width / 2, y * height / 2, 1] for x in (-1, 1) for y in (-1, 1)]
    moved = path @ np.array(corners).T
    return (moved[:, :2] / moved[:, 2:]).transpose(0, 2, 1)


def measure_margin(*paths: np.ndarray, size: tuple[int, int]) -> int:
    """How far any pixel moves on these paths, in whole pixels; `size` is (height, width)."""
    still = _corners(np.eye(3)[None], size)
    return math.ceil(max(np.abs(_corners(path, size) - still).max() for path in paths))


def draw_region(rng: Generator, height: int, width: int) -> np.ndarray:
    """A soft-edged region of random shape: (height, width) float32 in [0, 1]."""
    coarse = rng.normal(size=(5, 5)).astype("float32")
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip((smooth - rng.uniform(0, 0.8)) * 15 + 0.5, 0, 1)


def blur(
    sharp: np.ndarray,
    path: np.ndarray,
    shares: np.ndarray | None = None,
    moving: tuple | None = None,
    linear: bool = True,
) -> np.ndarray:
    """What a sensor collects while the camera, or the picture before it, moves.

    Args:
      sharp: (h, w, 3) float32 in [0, 1].
      path: the camera's, (poses, 3, 3).
      shares: of the exposure, (poses,), which sum to 1; equal ones if not given.
      moving: None, or (region, path): a (h, w) float32 mask in [0, 1] and a path of its
        own, which the part of the picture below the mask follows over the background.
      linear: whether light is averaged (gamma 2.2), as a sensor does, or encoded values,
        as in GoPro's `blur`.

    Returns:
      (h, w, 3) float32; beyond the border the picture is mirrored, so cut off `measure_margin`.
    """
    light = sharp**GAMMA if linear else sharp
    shares = np.full(len(path), 1 / len(path)) if shares is None else shares
    mask, own = moving or (None, path)
    mean = np.zeros_like(light)
    for pose, own_pose, share in zip(path, own, shares):
        frame = _warp(light, pose)
        if moving:
            front, cover = _warp(light, own_pose), _warp(mask, own_pose)
            frame = cv2.blendLinear(front, frame, cover, 1 - cover)  # many times NumPy's speed
        cv2.scaleAdd(frame, share, mean, mean)
    mean = np.clip(mean, 0, 1)
    return mean ** (1 / GAMMA) if linear else mean


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


def add_noise(rng: Generator, image: np.ndarray, sigma: float) -> np.ndarray:
    """Adds a sensor's noise to encoded values: their gamma makes the photons' own noise even."""
    return image + np.float32(sigma) * rng.standard_normal(image.shape, np.float32)


def draw_kernel(path: np.ndarray, shares: np.ndarray, point: tuple = (0, 0)) -> np.ndarray:
    """How a path spreads the light of one point.

    Args:
      path, shares: as in `blur`.
      point: in the sharp picture, pixels right and down of its centre.

    Returns:
      (side, side), side odd, sum 1: what the blurred picture holds round the point. Where
      a path only shifts, the blurred picture is the sharp one convolved with it.
    """
    seen = np.linalg.inv(path) @ [*point, 1]
    offset = seen[:, :2] / seen[:, 2:] - point
    reach = math.ceil(np.abs(offset).max())
    whole = np.floor(offset).astype(int)
    drawn = np.zeros((2 * reach + 2, 2 * reach + 2))
    for x, y in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        near = np.abs([1 - x, 1 - y] - (offset - whole)).prod(1)  # bilinear, as `blur` samples
        np.add.at(drawn, (whole[:, 1] + y + reach, whole[:, 0] + x + reach), near * shares)
    return drawn[:-1, :-1]
