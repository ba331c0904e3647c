import cv2
import numpy as np
import pytest

from tf_deblur.blurring import gyro, motion
from tf_deblur.errors import UserError
from tf_deblur.pictures import arrays, photographs

NOISE = 0.005  # mean of what Lai et al. add to their pictures, uniform in [0, 0.01]
LINE = "0 0 0 0.1 0.2 0.3"


def psnr(one, other):
    return -10 * np.log10(np.mean((one - other) ** 2))


def lai(folder, name):
    return arrays.to_float(photographs.read(folder / "data/lai" / f"{name}.png"))


def add_border(sharp, width):
    return cv2.copyMakeBorder(sharp, *[width] * 4, cv2.BORDER_REPLICATE)


def test_lais_camera_is_ours(shared):
    """Encoded values averaged, half of the recording, a border of 20 pixels repeated."""
    target = lai(shared, "nonuniform/manmade_01_gyro_01")
    sharp = add_border(lai(shared, "ground_truth/manmade_01"), 20)
    recorded = gyro.read(shared / "data/lai/trajectories/gyro_01/gyro.txt") / 2
    path = motion.compute_homographies(recorded, focal=max(sharp.shape))
    blurred = motion.blur(sharp, path, linear=False)[20:-20, 20:-20]
    assert len(path) == 40
    assert psnr(blurred, target) > 44  # all that is left is their noise, and its mean most of it:
    assert psnr(blurred + NOISE, target) > 49.5


@pytest.mark.parametrize("number", [1, 3])
def test_lais_uniform_pictures_follow_from_their_kernels(shared, number):
    kernel = np.loadtxt(shared / f"data/lai/kernels/kernel_{number:02d}_estimated.txt")
    down, right = np.nonzero(kernel)
    path = np.tile(np.eye(3), (len(down), 1, 1))
    path[:, 0, 2], path[:, 1, 2] = len(kernel) // 2 - right, len(kernel) // 2 - down
    sharp = add_border(lai(shared, "ground_truth/manmade_01"), 40)
    blurred = motion.blur(sharp, path, kernel[down, right], linear=False)[40:-40, 40:-40]
    target = lai(shared, f"uniform/manmade_01_kernel_{number:02d}")
    assert psnr(blurred, target) > 44
    assert psnr(blurred + NOISE, target) > 49.5


@pytest.mark.parametrize("number, poses", [(1, 40), (2, 37), (3, 54), (4, 55)])
def test_all_of_lais_recordings_play(shared, picture, number, poses):
    """Of 117 to 174 ms, and 10 more, sampled every 3.3 to 3.6 ms."""
    recorded = gyro.read(shared / f"data/lai/trajectories/gyro_{number:02d}/gyro.txt")
    assert recorded.shape == (poses, 6) and not recorded[0].any() and not recorded[:, 3:].any()
    (path,), shares = motion.trace_paths([recorded / 2], 160, (96, 160))
    blurred = motion.blur(arrays.to_float(picture(96, 160)), path, shares)
    assert 0 <= blurred.min() < blurred.max() <= 1


def test_the_axes_of_a_phone_held_sideways(tmp_path):
    """A radian a second for a tenth of one: down the picture, right, out of it."""
    for axis, ours in ((3, 1), (4, 0), (5, 2)):
        rates = np.zeros((11, 7))
        rates[:, axis], rates[:, 6] = 1, np.linspace(5, 5.1, 11)
        np.savetxt(tmp_path / "turn.txt", rates)
        read = gyro.read(tmp_path / "turn.txt")
        assert read[-1, ours] == pytest.approx(-0.1 * 29 / 30)  # begins at the first step's end
        assert np.count_nonzero(read.any(0)) == 1


def test_only_the_exposure_is_read(tmp_path):
    lines = [f"{LINE} {time / 100:.2f}" for time in range(100, 200)]
    for name in ("gyro.txt", "all.txt"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    (tmp_path / "info.txt").write_text("1.0 0.2 1.58 1.99")  # from 1.3 to 1.5 s, and 10 ms
    assert len(gyro.read(tmp_path / "gyro.txt")) == pytest.approx(62, abs=1)
    assert len(gyro.read(tmp_path / "all.txt")) == 297
    (tmp_path / "info.txt").write_text("1.0 0.2 9.58 1.99")
    with pytest.raises(UserError, match="gyro.txt: fewer than two samples in the exposure"):
        gyro.read(tmp_path / "gyro.txt")
    (tmp_path / "info.txt").write_text("1.0 0.2 1.58")
    with pytest.raises(UserError, match="info.txt: line 1: must be 4 numbers: t0 exposure t1 t2"):
        gyro.read(tmp_path / "gyro.txt")


def test_what_is_written_is_read_again(tmp_path):
    shake = motion.draw_camera_motion(np.random.default_rng(0), 20, 1000)
    gyro.write(tmp_path / "new" / "gyro.txt", shake)
    samples = np.loadtxt(tmp_path / "new" / "gyro.txt")
    assert samples.shape == (motion.FINE, 7) and samples[-1, 6] == pytest.approx(0.1)
    assert (np.ptp(samples, axis=0) > 0).all()
    read = gyro.read(tmp_path / "new" / "gyro.txt")
    times = np.linspace(0, 1, len(read))
    for column in range(3):
        turned = np.interp(times, np.linspace(0, 1, motion.FINE), shake[:, column])
        np.testing.assert_allclose(read[:, column], turned - turned[0], atol=0.2 / 1000)


@pytest.mark.parametrize(
    "text, message",
    [
        (f"{LINE} 1\n{LINE}\n", "line 2: must be 7 numbers: ax ay az wx wy wz t"),
        (f"{LINE} 1\n{LINE} 2\n{LINE} x\n", "line 3: must be 7 numbers"),
        (f"{LINE} nan\n", "line 1: must be 7 numbers"),
        (f"{LINE} 1\n\n{LINE} 2\n", "line 2: must be 7 numbers"),
        (f"{LINE} 1\n{LINE} 1\n", "line 2: its time is not after the line before"),
        ("", "is empty; a line must be 7 numbers"),
        (f"{LINE} 1\n", "fewer than two samples"),
        (b"\xff\xd8\xff\xe0", "line 1: must be 7 numbers"),
    ],
)
def test_a_malformed_recording_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "gyro.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        gyro.read(path)
    assert str(caught.value).startswith(f"{path}: {message}") and "\n" not in str(caught.value)


def test_a_missing_recording_is_named(tmp_path):
    with pytest.raises(UserError, match="gyro.txt: cannot be read \\(No such file"):
        gyro.read(tmp_path / "gyro.txt")
