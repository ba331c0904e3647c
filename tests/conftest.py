import collections
import contextlib
import fcntl
import json
import multiprocessing.util
import os
import pathlib
import shutil
import signal
import tempfile

import cv2
import numpy as np
import pytest
from commands import python

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):  # share the cores
    os.environ["TF_NUM_INTRAOP_THREADS"] = str(max(1, os.cpu_count() // workers))


# what takes a minute or two goes first, so that no worker is left with it at the end
LONGEST = "resume distribution restorer ring serve_limits evaluate export stream train memory"


def pytest_collection_modifyitems(items):
    rank = {f"test_{name}": place for place, name in enumerate(LONGEST.split())}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def pytest_terminal_summary(terminalreporter):
    """A line for each thing that would bring tests which were skipped."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = collections.Counter(report.longrepr[2] for report in skipped)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} skipped: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heard():
    """A shell's background jobs ignore Ctrl-C, and so would every command that a test starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def together(tmp_path_factory):
    """A folder that all workers share, which the last of them removes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "together"
    with open(f"{folder}.lock", "w") as lock:  # beside it, so that it stays whatever is removed
        fcntl.flock(lock, fcntl.LOCK_SH)
        folder.mkdir(exist_ok=True)
        yield folder
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)


@pytest.fixture(scope="session")
def once(together):
    """once("name", make): the folder of that name, made by make(folder) in one of the workers."""

    def once(name, make):
        folder = together / name
        with open(f"{folder}.lock", "a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.getsize(lock.name):
                shutil.rmtree(folder, ignore_errors=True)  # of one whose making failed
                folder.mkdir()
                make(folder)
                lock.write("made")
        return folder

    return once


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left(tmp_path_factory):
    """What libraries leave in the folder for temporary files (TFDS does) goes with the tests'."""
    multiprocessing.util.get_temp_dir()  # its own, which it removes after the tests' has gone
    tempfile.tempdir = str(tmp_path_factory.mktemp("t"))


@pytest.fixture(scope="session")
def shared():
    """Real pictures that lie beside the repository on some machines."""
    folder = pathlib.Path(__file__).parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("needs the real pictures beside the repository")
    return folder


@pytest.fixture
def run(tmp_path):
    """Runs a command of ours as a user does: run("deblur", "photo.jpg") in an empty folder."""

    def start(command, *arguments):
        return python("-m", f"tf_deblur.{command}", *arguments, cwd=tmp_path)

    return start


def make_picture(height, width, seed=0):
    """Blocks of colour under fine noise: (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(30, 226, (-(-height // 8), -(-width // 8), 3))
    picture = np.kron(blocks, np.ones((8, 8, 1)))[:height, :width]
    return np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="session")
def picture():
    """A maker of small pictures: picture(height, width, seed=0)."""
    return make_picture


@pytest.fixture(scope="session")
def small_workdir(once):
    """A working directory with a small `compact` whose random weights change every pixel."""
    from tf_deblur.models import networks, weights

    model = networks.build_generator(
        "compact", filters=(8, 16, 32), down=(1, 1), middle=1, up=(1, 1)
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if layer.weights:
            kernel, bias = layer.get_weights()
            spread = 1 / np.sqrt(kernel[..., 0].size)
            layer.set_weights(
                [rng.normal(0, spread, kernel.shape), rng.normal(0, 0.02, bias.shape)]
            )

    def make(folder):
        weights.save(folder / weights.IN_WORKDIR, model, trained_on="nothing")

    return once("small workdir", make)


@pytest.fixture(scope="session")
def exported(small_workdir, once):
    """What `tf-deblur export` writes of the small network."""

    def make(output):
        few = ["--sizes=any", "--variants=float32"]  # the others are test_tflite.py's
        line = ["-m", "tf_deblur.export", "--model", small_workdir, "--output", output, *few]
        done = python(*line, cwd=output)
        assert (done.returncode, done.stderr) == (0, "")

    return once("exported", make)


@pytest.fixture(scope="session")
def pairs(picture, once):
    """A folder with pairs of two sequences, prepared; by its name the second is held out."""
    from trainings import write_pairs

    from tf_deblur import datasets

    def make(folder):
        write_pairs(folder / "pictures", picture)
        datasets.prepare("image_pairs", folder / "prepared", folder / "pictures")

    return once("pairs", make)


@pytest.fixture
def place(pairs, tmp_path):
    """A test's own folder with those pairs; what is trained in it goes with the test."""
    for name in ("pictures", "prepared"):
        (tmp_path / name).symlink_to(pairs / name)
    return tmp_path


@pytest.fixture(scope="session")
def whole(pairs, once):
    """A training of three phases, begun and finished at once: its folder."""
    from trainings import PHASES, TINY, train

    def make(folder):
        own = [f"--manual_dir={pairs / 'pictures'}", f"--data_dir={pairs / 'prepared'}"]
        line = [*TINY, *PHASES, *own, f"--workdir={folder.name}"]
        status, out, err = train(folder.parent, *line)
        assert status == 0, err
        assert "2 pairs to train on, 2 to validate on" in out and "finished after" in out
        assert "validation" in err and "error" not in err

    return once("whole", make)


@pytest.fixture(scope="session")
def recordings():
    """What TensorFlow Serving answered, by kind."""
    path = pathlib.Path(__file__).parents[2] / "shared/serving/recordings.jsonl"
    if not path.exists():
        pytest.skip("needs TensorFlow Serving's recordings beside the repository")
    records = collections.defaultdict(list)
    for line in path.read_text(encoding="utf-8").strip().split("\n"):
        record = json.loads(line)
        records[record["kind"]].append(record)
    return records


@pytest.fixture(scope="session")
def golden_models(recordings, tmp_path_factory):
    """The models that the recordings were made on."""
    script = pathlib.Path(__file__).parents[2] / "shared/serving/golden_models.py"
    folder = tmp_path_factory.mktemp("golden models")
    python(script, folder).check_returncode()
    return folder


@pytest.fixture(scope="module")  # its event loop is in the way of tests that have their own
def browser():
    """Headless Chromium, by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("needs Chromium; apt-get install chromium")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def photograph(tmp_path):
    """A JPEG that EXIF turns by a quarter: 60 wide and 90 high as it is seen."""
    path = tmp_path / "holiday.jpg"
    data = cv2.imencode(".jpg", make_picture(60, 90))[1].tobytes()
    tiff = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(tiff) + 2).to_bytes(2, "big") + tiff + data[2:])
    return path
