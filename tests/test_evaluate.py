import csv
import json
import signal
import time

import numpy as np
import pytest
from commands import Command, python
from scipy import ndimage
from skimage import metrics as skimage_metrics
from skimage import restoration

import tf_deblur
from tf_deblur.pictures import photographs
from tf_deblur.scoring import align, figures, metrics, report


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
            photographs.write(folder / kind / f"{frame}.png", image)
    return [pair[1:] for pair in pairs if pair[0] == "test"]


@pytest.fixture
def own_pairs(picture, tmp_path):
    """Twelve pairs of one's own in `pictures`: (frame, blurred, sharp)."""
    pairs = []
    for number in range(12):
        sharp = picture(40, 56, seed=number)
        pairs.append((f"{number:02d}", ndimage.uniform_filter(sharp, (1, 5, 1)), sharp))
        for kind, image in zip(("blur", "sharp"), pairs[-1][1:]):
            photographs.write(tmp_path / f"pictures/{kind}/{number:02d}.png", image)
    np.savetxt(tmp_path / "kernel.txt", np.ones((1, 5)))
    return pairs


OWN = ["--dataset=image_pairs", "--manual_dir=pictures", "--data_dir=prepared"]


def scores_of_others(image, sharp):
    options = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    with np.errstate(divide="ignore"):
        psnr = skimage_metrics.peak_signal_noise_ratio(sharp, image, data_range=255)
    return psnr, skimage_metrics.structural_similarity(
        image, sharp, data_range=255, channel_axis=2, **options
    )


def test_scores_are_those_of_the_saved_pictures(run, gopro, small_workdir, exported, tmp_path):
    for name, blurred, _ in gopro:  # another program, which darkens
        photographs.write(tmp_path / "darker" / f"{name}.png", blurred // 2)
    models = [
        small_workdir,
        exported / "compact",
        exported / "compact-tflite/compact-float32.tflite",
    ]
    arguments = ["--manual_dir=pictures", "--data_dir=prepared", "--output=scores"]
    named = [*(f"--model={model}" for model in models), "--restored=darker=darker"]
    done = run("evaluate", *named, "--published", "--per_sequence", *arguments)
    assert done.returncode == 0, done.stderr
    assert "partial: 3 of 1111 pairs" in done.stdout and "not aligned" in done.stdout
    assert "blurred: 1 equal to the sharp one; not in any mean of PSNR" in done.stdout
    assert "quoted: Sang" in done.stdout and "29.976" in done.stdout  # Table 3
    assert "Table 3 of Sang, Gao and Yin 2018" in done.stdout
    result = json.loads((tmp_path / "scores/result.json").read_text())
    assert (result["pairs"], result["of_pairs"]) == (3, 1111)

    restore = tf_deblur.load(small_workdir)
    functions = {"blurred": lambda x: x, str(small_workdir): restore, "darker": lambda x: x // 2}
    table = result["tables"]["none"]
    for method, function in functions.items():
        expected = [scores_of_others(function(blurred), sharp) for _, blurred, sharp in gopro]
        for record, (name, _, _), (psnr, ssim) in zip(
            result["frames"], gopro, expected, strict=True
        ):
            assert f"{record['sequence']}/{record['frame']}" == name
            scores = record["scores"]["none"][method]
            assert float(scores["psnr"]) == pytest.approx(psnr, abs=1e-6)
            assert scores["ssim"] == pytest.approx(ssim, abs=1e-6)
        mean = table[method]  # of PSNR without the last, whose blurred half is the sharp one
        assert mean["psnr"] == pytest.approx(np.mean([expected[0][0], expected[1][0]]), abs=1e-6)
        assert mean["ssim"] == pytest.approx(np.mean([ssim for _, ssim in expected]), abs=1e-6)
        assert mean["identical"] == (method == "blurred")
        assert f"{mean['psnr']:.3f}" in done.stdout and f"{mean['ssim']:.4f}" in done.stdout
    assert table[str(small_workdir)]["made_worse"] == table["darker"]["made_worse"] == 1
    for other in models[1:]:  # the same weights, the same scores
        assert table[str(other)]["psnr"] == pytest.approx(table[str(models[0])]["psnr"], abs=0.01)
        hashes = {result["methods"][str(m)]["weights_sha256"] for m in (other, models[0])}
        assert len(hashes) == 1
    written = (tmp_path / "scores/table.md").read_text()
    assert "partial: 3 of 1111 pairs" in written and "| GOPR0384_11_00 |" in written
    with (tmp_path / "scores/pictures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * len(table) and float(rows[0]["psnr"]) == pytest.approx(
        scores_of_others(gopro[0][1], gopro[0][2])[0]
    )

    # random weights: the check gives nearly all of it back
    done = run("evaluate", "--model", small_workdir, "--check", "--data_dir=prepared")
    kept = float(done.stdout.split("% of the blocks")[0].split()[-1]) if done.stdout else 0
    assert done.returncode == 0 and kept > 50, done.stderr

    # what is prepared needs no source; validation is the training split's held-out sequence
    done = run("evaluate", "--model", small_workdir, "--split=validation", "--data_dir=prepared")
    assert done.returncode == 0 and "split validation, 1 pairs" in done.stdout, done.stderr


def record(**scores):
    scores = {"none": {method: {"psnr": value} for method, value in scores.items()}}
    return {"sequence": "a", "frame": "1", "scores": scores, "notes": {"none": {}}, "kept": {}}


def test_the_mean_is_of_decibels_and_every_picture_counts_once():
    records = [record(blurred=b, ours=o) for b, o in [(20, 30), (30, 20), (40, 46), (10, 10)]]
    records.append({"sequence": "a", "frame": "2", "problem": "a bad one, in nobody's mean"})
    table = report.summarise(records, ["blurred", "ours"], ["none"])["none"]
    assert (table["blurred"]["psnr"], table["ours"]["psnr"]) == (25, 26.5)
    assert table["ours"]["made_worse"] == 0.25 and table["ours"]["pairs"] == 4
    assert table["blurred"]["deviation"] == pytest.approx(np.std([20, 30, 40, 10]))


def test_a_headline_needs_every_pair():
    records = [record(blurred=20)]
    result = {
        "dataset": "gopro/blur",
        "split": "test",
        "registered": True,
        "frames": records,
        "methods": {"blurred": {}},
        "tables": report.summarise(records, ["blurred"], ["none"]),
        "of_pairs": 1111,
    }
    for pairs, title in [(1111, "1111 pairs"), (1110, "partial: 1110 of 1111 pairs")]:
        (lines, _, _), *_ = report.make_tables(result | {"pairs": pairs})
        assert lines[0] == f"gopro/blur, split test, {title}"


def test_one_bad_picture_is_left_out_of_every_mean(run, own_pairs, tmp_path):
    for frame, blurred, _ in own_pairs:  # named as `deblur` names its results
        photographs.write(tmp_path / f"theirs/{frame}_restored.png", blurred)
    photographs.write(tmp_path / "theirs/03_restored.png", own_pairs[3][1][1:])
    (tmp_path / "theirs/05_restored.png").write_bytes(b"not a picture")
    done = run("evaluate", "--restored=theirs=theirs", "--output=scores", *OWN)
    first, second, last = done.stderr.splitlines()[-3:]
    assert first == "error: ./03: is 56x39 by theirs, its ground truth 56x40"
    assert second.startswith("error: ./05: theirs/05_restored.png: not a whole picture")
    assert last == "error: 2 pairs left out of every method's mean, as said above"
    assert done.returncode == 1 and "partial: 10 of 12 pairs" in done.stdout
    assert "split train, of pairs to train on, " in done.stdout
    assert not (tmp_path / "prepared").exists()  # read where they lie
    table = json.loads((tmp_path / "scores/result.json").read_text())["tables"]["none"]
    kept = [pair for number, pair in enumerate(own_pairs) if number not in (3, 5)]
    expected = np.mean([scores_of_others(blurred, sharp)[0] for _, blurred, sharp in kept])
    assert table["blurred"]["psnr"] == table["theirs"]["psnr"] == pytest.approx(expected, abs=1e-6)

    for number in (3, 5):  # mended
        photographs.write(tmp_path / f"theirs/{number:02d}_restored.png", own_pairs[number][1])
    done = run("evaluate", "--restored=theirs=theirs", "--output=scores", "--resume", *OWN)
    assert done.returncode == 1 and "its methods are others" in done.stderr
    (tmp_path / "scores/scores.jsonl").unlink()
    done = run("evaluate", "--restored=theirs=theirs", "--output=scores", "--resume", *OWN)
    assert done.returncode == 0 and ", 12 pairs" in done.stdout, done.stderr


def test_a_run_that_is_killed_and_resumed_gives_the_same_table(
    run, own_pairs, small_workdir, tmp_path
):
    more = ["--model", str(small_workdir), "--baseline=richardson_lucy", "--kernel=kernel.txt"]
    done = run("evaluate", *OWN, *more, "--output=whole")
    assert done.returncode == 0, done.stderr
    log = tmp_path / "parts/unfinished.jsonl"
    process = Command("-m", "tf_deblur.evaluate", *OWN, *more, "--output=parts", cwd=tmp_path)
    while process.poll() is None and not (log.exists() and log.read_bytes().count(b"\n") > 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert log.exists(), "it was done before it could be killed"
    with log.open("a") as file:  # a line that was being written
        file.write('{"sequence": ".", "fra')

    done = run("evaluate", *OWN, *more, "--output=parts")
    assert done.returncode == 1 and "add --resume" in done.stderr
    done = run("evaluate", *OWN, "--model", small_workdir, "--output=parts", "--resume")
    assert done.returncode == 1 and "its methods are others" in done.stderr
    done = run("evaluate", *OWN, *more, "--output=parts", "--resume")
    assert done.returncode == 0 and not log.exists(), done.stderr

    def without_timings(folder):
        with (folder / "table.csv").open() as file:
            table = [row | {"seconds_a_megapixel": None} for row in csv.DictReader(file)]
        return table, (folder / "pictures.csv").read_bytes()

    assert without_timings(tmp_path / "parts") == without_timings(tmp_path / "whole")
    finished = tmp_path / "parts/scores.jsonl"
    before = finished.read_bytes()
    finished.write_bytes(before.replace(b'"frame": "00"', b'"frame": "00 of before"'))
    done = run("evaluate", *OWN, *more, "--output=parts", "--resume")  # nothing is scored again
    assert done.returncode == 0 and b"00 of before" in finished.read_bytes(), done.stderr
    done = run("evaluate", *OWN, *more, "--output=parts")  # everything is
    assert done.returncode == 0 and finished.read_bytes() == before, done.stderr
    log.write_text("notes of mine\n")
    done = run("evaluate", *OWN, *more, "--output=parts", "--resume")
    assert done.returncode == 1 and "unfinished.jsonl: damaged" in done.stderr
    assert log.read_text() == "notes of mine\n" and finished.read_bytes() == before


def test_the_baseline_is_scikit_image_told_the_blur(run, picture, tmp_path):
    kernel = np.zeros((3, 5))
    kernel[0, 1], kernel[2, 4] = 3, 1  # neither centred nor symmetric
    sharp = ndimage.gaussian_filter(picture(60, 70).astype(float), (2, 2, 0))
    blurred = ndimage.convolve(sharp, kernel[..., None] / 4, mode="nearest")
    sharp, blurred = (np.rint(image).astype(np.uint8) for image in (sharp, blurred))
    for number in ("1", "10"):
        photographs.write(tmp_path / f"pictures/blur/{number}.png", blurred)
        photographs.write(tmp_path / f"pictures/sharp/{number}.png", sharp)
    (tmp_path / "kernels").mkdir()
    np.savetxt(tmp_path / "kernels/1_estimated.txt", kernel)
    np.savetxt(tmp_path / "kernels/10_estimated.txt", kernel[::-1, ::-1])
    more = ["--baseline=richardson_lucy", "--baseline=unsupervised_wiener", "--kernel=kernels"]
    done = run("evaluate", *OWN, *more, "--output=scores")
    assert done.returncode == 0, done.stderr
    right, wrong = json.loads((tmp_path / "scores/result.json").read_text())["frames"]
    wider = np.pad(blurred, [(1, 1), (2, 2), (0, 0)], mode="edge") / 255
    functions = {
        "richardson_lucy": lambda x: restoration.richardson_lucy(x, kernel / 4, 30),
        "unsupervised_wiener": lambda x: restoration.unsupervised_wiener(x, kernel / 4, rng=0)[0],
    }
    for name, function in functions.items():
        inside = np.stack([function(wider[..., c]) for c in range(3)], -1)[1:-1, 2:-2]
        restored = np.rint(255 * np.clip(inside, 0, 1)).astype(np.uint8)
        psnrs = [
            own["scores"]["none"][f"{name} (given the kernel)"]["psnr"] for own in (right, wrong)
        ]
        # pixels are rounded to float32 there
        assert psnrs[0] == pytest.approx(scores_of_others(restored, sharp)[0], abs=0.01)
        assert psnrs[0] > psnrs[1] + 1  # which a turned kernel gives
    assert psnrs[0] > right["scores"]["none"]["blurred"]["psnr"]


def test_lai_is_scored_as_it_lies_and_after_the_best_shift(run, picture, tmp_path):
    scene = picture(140, 150)
    sharp = scene[20:120, 20:130]
    # the second lies farther off than the first search goes
    moved = {"01": scene[23:123, 18:128], "04": scene[0:100, 5:115]}
    photographs.write(tmp_path / "pictures/ground_truth/text_01.png", sharp)
    for kernel, image in moved.items():
        photographs.write(tmp_path / f"pictures/uniform/text_01_kernel_{kernel}.png", image)
        photographs.write(tmp_path / f"theirs/text_01_kernel_{kernel}.png", image)
    data = ["--dataset=lai/uniform", "--manual_dir=pictures", "--data_dir=prepared"]
    named = ["--restored=theirs=theirs", "--output=scores", "--figures=2"]
    done = run("evaluate", *data, *named)
    assert done.returncode == 0, done.stderr
    for kernel in moved:  # read where the shift says, all columns show the same
        sheet = photographs.read(tmp_path / f"scores/figures/text_01_kernel_{kernel}.png")[24:]
        blurred, theirs, right = (sheet[:, start : start + 320] for start in (0, 326, 652))
        np.testing.assert_array_equal(blurred, right)
        np.testing.assert_array_equal(theirs, right)
    assert "not aligned, though this data set's halves are shifted" in done.stdout
    assert "at most 10 pixels" in done.stdout and "at most 40 pixels" in done.stdout
    assert "theirs: 2 equal to the sharp one" in done.stdout
    first, second = json.loads((tmp_path / "scores/result.json").read_text())["frames"]
    expected = scores_of_others(moved["01"], sharp)[0]
    assert first["scores"]["none"]["theirs"]["psnr"] == pytest.approx(expected, abs=1e-6)
    # where the restored picture has what the sharp one shows: above, right
    shifts = [record["notes"]["shift40"]["theirs"] for record in (first, second)]
    assert [(shift["down"], shift["right"]) for shift in shifts] == [(-3, 2), (20, 15)]
    assert first["scores"]["shift10"]["theirs"]["psnr"] == "Infinity"
    assert second["scores"]["shift40"]["theirs"]["psnr"] == "Infinity"
    done = run("evaluate", *data, "--restored=theirs=theirs", "--align=none", "--published")
    assert "at most" not in done.stdout and "though" in done.stdout, done.stderr
    assert "13.952" in done.stdout
    for way, expected in [
        ("realblur", align.score_by_realblur(moved["01"], sharp)[0]["psnr"]),
        (
            "euclidean",
            metrics.psnr(*align.turn(moved["01"], sharp, (-3, 2))[:2], data_range=255),
        ),
    ]:
        done = run("evaluate", *data, "--restored=theirs=theirs", f"--align={way}", "--output", way)
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / way / "result.json").read_text())["frames"][0]
        assert record["scores"][way]["theirs"]["psnr"] == pytest.approx(expected, abs=1e-6)


def test_kohlers_pictures_get_the_best_of_their_sharp_frames(run, picture, tmp_path):
    blurred, other = picture(170, 180), picture(170, 180, seed=1)
    frames = [other, np.roll(blurred // 2, (4, -3), axis=(0, 1)), other // 2]
    photographs.write(tmp_path / "pictures/Blurry2_7.png", blurred)
    photographs.write(tmp_path / "pictures/Blurry2_8.png", blurred)  # its frames are not at hand
    for number, frame in enumerate(frames, 1):
        photographs.write(tmp_path / f"pictures/GroundTruth2_7_{number}.png", frame)
    data = ["--dataset=kohler", "--manual_dir=pictures", "--data_dir=prepared"]
    photographs.write(tmp_path / "theirs/2_07.png", blurred)
    done = run("evaluate", *data, "--restored=theirs=theirs", "--output=scores")
    assert done.returncode == 0 and "Köhler's procedure" in done.stdout, done.stderr
    assert "split blurred, partial: 1 of 48 pairs" in done.stdout
    (record,) = json.loads((tmp_path / "scores/result.json").read_text())["frames"]
    assert (record["sequence"], record["frame"]) == ("2", "07")
    alone = align.score_by_kohler(blurred, [frames[1]])
    scores = record["scores"]["kohler"]["theirs"]
    assert scores == {"psnr_luma": alone["psnr"], "ms_ssim": alone["ms_ssim"]}
    done = run("evaluate", *data, "--align=shift")
    assert done.returncode == 1 and "a procedure of its own" in done.stderr


def ask_their_commands(sharp, restored):
    """SSIMULACRA2 and FLIP of two files, as the packages' own commands print them."""

    def run_module(module, *arguments):
        return python("-m", module, *arguments).stdout

    flip = ["-r", sharp, "-t", restored, "--no-error-map"]
    mean = run_module("flip_evaluator.flip_python_api", *flip).split("Mean:")[1].split()[0]
    return float(run_module("ssimulacra2.cli", sharp, restored)), float(mean)


def test_perceptual_measures_are_those_of_the_packages_own_commands(run, own_pairs, tmp_path):
    for frame, blurred, sharp in own_pairs:
        photographs.write(tmp_path / f"sharp/{frame}.png", sharp)
        photographs.write(tmp_path / f"softer/{frame}.png", ndimage.uniform_filter(blurred, 3))
    named = ["--restored=sharp=sharp", "--restored=softer=softer", "--output=scores"]
    done = run("evaluate", *OWN, *named, "--perceptual")
    assert done.returncode == 0, done.stderr
    assert "SSIMULACRA2: 100 if equal; FLIP: 0 if equal" in done.stdout
    result = json.loads((tmp_path / "scores/result.json").read_text())
    scores = result["frames"][3]["scores"]["none"]
    for method, folder in {"blurred": "pictures/blur", "softer": "softer"}.items():
        theirs = ask_their_commands(tmp_path / "sharp/03.png", tmp_path / folder / "03.png")
        ours = [scores[method][name] for name in ("ssimulacra2", "flip")]
        assert ours == pytest.approx(theirs, abs=1e-6)
    table = result["tables"]["none"]
    assert (table["sharp"]["ssimulacra2"], table["sharp"]["flip"]) == (100, 0)
    assert table["softer"]["ssimulacra2"] < table["blurred"]["ssimulacra2"] < 100
    assert table["softer"]["flip"] > table["blurred"]["flip"] > 0
    for text in (done.stdout, (tmp_path / "scores/table.md").read_text()):
        means = table["softer"]
        assert f"{means['ssimulacra2']:.3f}" in text and f"{means['flip']:.4f}" in text
    header = (tmp_path / "scores/pictures.csv").read_text().splitlines()[0]
    assert "ssimulacra2,flip" in header

    done = run("evaluate", *OWN, *named, "--resume")
    assert done.returncode == 1 and "its perceptual are others" in done.stderr
    # in the way of the package, as if it were not installed
    (tmp_path / "flip_evaluator.py").write_text("raise ImportError('none here')")
    done = run("evaluate", *OWN, *named, "--perceptual")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "(none here); pip install 'tf-deblur[perceptual]'" in done.stderr
    done = run("evaluate", *OWN, *named)
    assert done.returncode == 0 and "FLIP" not in done.stdout, done.stderr


def test_contact_sheets_and_plots(run, own_pairs, small_workdir, tmp_path):
    more = [f"--model=mine={small_workdir}", "--figures=2", "--place=07:5,3", "--plots"]
    for name in ("figures", "plots"):
        (tmp_path / "scores" / name).mkdir(parents=True)
        (tmp_path / "scores" / name / "mine.png").touch()
    (tmp_path / "scores/figures/old.png").touch()
    (tmp_path / "scores/drawn.json").write_text('["figures/old.png", "plots/gone.png"]')
    done = run("evaluate", *OWN, *more, "--output=scores")
    assert done.returncode == 0, done.stderr
    for name in ("figures", "plots"):
        (tmp_path / "scores" / name / "mine.png").unlink()  # another's: it is still there
    result = json.loads((tmp_path / "scores/result.json").read_text())
    assert list(result["tables"]["none"]) == ["blurred", "mine"]
    psnrs = [[own["psnr"] for own in r["scores"]["none"].values()] for r in result["frames"]]
    farthest = np.argsort([max(own) - min(own) for own in psnrs])[-2:]
    sheets = sorted(path.stem for path in (tmp_path / "scores/figures").glob("*.png"))
    wanted = {own_pairs[number][0] for number in farthest} | {"07"}
    assert set(sheets) == wanted
    sheet = photographs.read(tmp_path / "scores/figures/07.png")
    assert sheet.shape[1] == 3 * 320 + 2 * 6  # blurred, restored, sharp
    # the crop is as large as the picture is high, 40, and magnified eight times
    crop = sheet[-320:, -320:][4::8, 4::8]
    np.testing.assert_array_equal(crop, own_pairs[7][2][:, 5:45])
    assert photographs.read(tmp_path / "scores/plots/psnr.png").shape == (720, 720, 3)
    # two curves of points, and the line on which nothing changes; an equal pair has no place
    scores = {"a": [{"blurred": {"psnr": b}, "x": {"psnr": x}} for b, x in [(20, 25), (30, 31)]]}
    scores["b"] = [{"blurred": {"psnr": np.inf}, "x": {"psnr": 40}}, scores["a"][1]]
    (axes,) = figures._plot_against_the_input(scores, ["x"], "psnr", "PSNR").axes
    points = axes.collections[0].get_offsets().tolist()
    assert points == [[20, 25], [30, 31], [30, 31]]
    (axes,) = figures._plot_gain_by_sequence(scores, ["x"], "psnr", "PSNR").axes
    assert [bar.get_width() for bar in axes.patches] == [3, 1]


def test_a_damaged_list_of_what_was_drawn_names_nothing(tmp_path):
    texts = {"": [], "[1": [], "{}": [], '["a.png", 2]': ["a.png"]}
    paths = [tmp_path / f"{number}.json" for number in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_text(text)
    code = (
        "import json, pathlib, sys; from tf_deblur import evaluate; "
        "print(json.dumps([evaluate.read_drawn(pathlib.Path(path)) for path in sys.argv[1:]]))"
    )
    done = python("-c", code, *paths, tmp_path / "none.json")
    assert json.loads(done.stdout) == [*texts.values(), []]


def test_a_wrong_command_line_is_one_line(run, own_pairs, tmp_path):
    for name in ("a", "b"):
        for frame, blurred, _ in own_pairs:
            photographs.write(tmp_path / name / f"{frame}.png", blurred)
    (tmp_path / "a/11.png").unlink()
    photographs.write(tmp_path / "b/12.png", own_pairs[0][1])
    (tmp_path / "none.txt").write_text("no numbers")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "kernels").mkdir()
    for arguments, status, message in [
        (["--dataset=faces"], 1, "faces"),
        (["photo.png"], 1, "photo.png: not a flag"),
        (["--model=nowhere"], 1, "nowhere: no such model"),
        (["--restored=a=a"], 1, "a: lacks 11; one picture for each pair is wanted, named"),
        (["--restored=b=b"], 1, "b: does not need 12; one picture for each pair"),
        (["--restored=nowhere"], 1, "--restored=nowhere: say NAME=FOLDER"),
        (["--restored=x=nowhere"], 1, "nowhere: no such folder"),
        (
            ["--model=compact", "--model=compact"],
            1,
            "compact: two methods of this name; say NAME=compact",
        ),
        (["--restored=b=b/.."], 1, "b/..: lacks 00, 01, 02, 03, 04 and 7 more"),
        (["--baseline=richardson_lucy"], 1, "--kernel"),
        (["--baseline=richardson_lucy", "--kernel=none.txt"], 1, "none.txt: no table of numbers"),
        (["--baseline=richardson_lucy", "--kernel=empty.txt"], 1, "empty.txt: no kernel"),
        (["--align=shift"], 1, "a side of 40 pixels, and scoring wants 91"),
        (["--baseline=richardson_lucy", "--kernel=kernels"], 1, "kernels: no kernel for 00"),
        (["--baseline=magic"], 2, "--baseline"),
        (["--output=kernel.txt"], 1, "kernel.txt: cannot be written ("),
        (["--figures=1"], 1, "--figures: wants --output"),
        (["--resume"], 1, "--resume: wants --output"),
        (["--output=x", "--place=99:1,1"], 1, "--place=99:1,1: no picture '99'"),
        (["--output=x", "--place=07:here"], 1, "'here' is no X,Y"),
        (["--align=diagonal"], 2, "--align"),
        (["--perceptual", "--align=realblur"], 1, "--perceptual: realblur has metrics of its own"),
    ]:
        done = run("evaluate", *OWN, *arguments)
        assert done.returncode == status and message in done.stderr, (arguments, done.stderr)
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
