import json

import numpy as np
import pytest
from scipy import ndimage
from skimage import metrics as skimage_metrics

import tf_deblur
from tf_deblur import evaluate, images


@pytest.fixture
def gopro(picture, tmp_path):
    """A tiny GOPRO_Large: its test split's (sequence/frame, blurred, sharp); the last is sharp."""
    pairs = []
    for split, sequence, frame in [
        ("train", "GOPR0372_07_00", "000047"),
        ("train", "GOPR0374_11_00", "000011"),
        ("test", "GOPR0384_11_00", "000001"),
        ("test", "GOPR0384_11_00", "000002"),
        ("test", "GOPR0410_11_00", "000001"),
    ]:
        sharp = picture(48, 64, seed=len(pairs))
        blurred = ndimage.uniform_filter(sharp, (1, 5, 1)) if len(pairs) < 4 else sharp
        pairs.append((split, f"{sequence}/{frame}", blurred, sharp))
        for kind, image in {"blur": blurred, "sharp": sharp}.items():
            folder = tmp_path / "pictures/GOPRO_Large" / split / sequence
            images.write(folder / kind / f"{frame}.png", image)
    return [pair[1:] for pair in pairs if pair[0] == "test"]


def scores_of_others(image, sharp):
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    with np.errstate(divide="ignore"):
        psnr = skimage_metrics.peak_signal_noise_ratio(sharp, image, data_range=255)
    return psnr, skimage_metrics.structural_similarity(
        image, sharp, data_range=255, channel_axis=2, **options
    )


def test_scores_are_those_of_the_saved_pictures(run, gopro, small_workdir, tmp_path):
    arguments = ["--manual_dir=pictures", "--data_dir=prepared", "--output=scores/here.json"]
    done = run("evaluate", "--model", small_workdir, "--per_image", *arguments)
    assert done.returncode == 0, done.stderr
    assert "partial: 3 of 1111 pairs" in done.stdout
    assert "1 frames of blurred equal the sharp one" in done.stdout
    result = json.loads((tmp_path / "scores/here.json").read_text())
    assert (result["pairs"], result["of_pairs"]) == (3, 1111)

    restore = tf_deblur.load(small_workdir)
    for method, function in {"blurred": lambda x: x, str(small_workdir): restore}.items():
        expected = [scores_of_others(function(blurred), sharp) for _, blurred, sharp in gopro]
        for frame, (name, _, _), (psnr, ssim) in zip(
            result["frames"], gopro, expected, strict=True
        ):
            assert f"{frame['sequence']}/{frame['frame']}" == name and name in done.stdout
            scores = frame["scores"][method]
            assert float(scores["psnr"]) == pytest.approx(psnr, abs=1e-6)
            assert scores["ssim"] == pytest.approx(ssim, abs=1e-6)
        mean = result["methods"][method]
        finite = [psnr for psnr, _ in expected if np.isfinite(psnr)]
        assert mean["psnr"] == pytest.approx(np.mean(finite), abs=1e-6)
        assert mean["identical"] == 3 - len(finite)
        assert f"{mean['psnr']:.3f}" in done.stdout and f"{mean['ssim']:.4f}" in done.stdout
    assert result["methods"][str(small_workdir)]["made_worse"] == 1  # random weights

    # random weights: the check gives nearly all of it back
    done = run("evaluate", "--model", small_workdir, "--check", "--data_dir=prepared")
    kept = float(done.stdout.split("% of the blocks")[0].split()[-1]) if done.stdout else 0
    assert done.returncode == 0 and kept > 50, done.stderr

    # what is prepared needs no source; validation is the training split's held-out sequence
    done = run("evaluate", "--model", small_workdir, "--split=validation", "--data_dir=prepared")
    assert done.returncode == 0 and "split validation, 1 pairs" in done.stdout, done.stderr


def test_the_mean_is_of_decibels_and_every_frame_counts_once():
    def frame(blurred, restored):
        scores = {"blurred": blurred, "ours": restored}
        return {"scores": {k: dict.fromkeys(evaluate.METRICS, v) for k, v in scores.items()}}

    frames = [frame(20, 30), frame(30, 20), frame(40, 46), frame(10, 10)]
    assert evaluate.summary(frames, "blurred")["psnr"] == 25
    assert evaluate.summary(frames, "ours")["psnr"] == 26.5
    assert evaluate.summary(frames, "ours")["made_worse"] == 0.25


def test_a_headline_needs_every_pair():
    mean = dict.fromkeys([*evaluate.METRICS, "identical", "made_worse"], 0.0)
    result = {
        "dataset": "gopro/blur",
        "split": "test",
        "of_pairs": 1111,
        "frames": [],
        "kept": None,
    }
    result["registered"] = True
    for pairs, title in [(1111, "1111 pairs"), (1110, "partial: 1110 of 1111 pairs")]:
        table = list(evaluate.table(result | {"pairs": pairs, "methods": {"blurred": mean}}, False))
        assert table[0] == f"gopro/blur, split test, {title}"


def test_a_wrong_command_line_is_one_line(run):
    for arguments, status, message in [
        (["--dataset=faces"], 1, "faces"),
        (["photo.png"], 1, "photo.png: not a flag"),
    ]:
        done = run("evaluate", "--data_dir=prepared", *arguments)
        assert done.returncode == status and message in done.stderr, done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
