"""Imports point one way: from the commands down to what everything may use."""

import ast
import pathlib

import pytest

REPOSITORY = pathlib.Path(__file__).parents[1]
COMMANDS = {"train", "evaluate", "deblur", "blur", "serve"}
FOUNDATION = {"errors", "files", "devices", "memory", "opencv", "__version__"}
# Each room, and the others that it may import beside the foundation.
ROOMS = {
    "models": set(),
    "pictures": set(),
    "blurring": set(),
    "training": {"models", "pictures", "blurring", "datasets", "restoring", "scoring"},
    "restoring": {"models", "pictures"},
    "scoring": {"pictures", "restoring", "datasets"},
    "datasets": {"pictures", "blurring"},
    "page": set(),
    "export": {"models", "restoring", "pictures", "scoring", "datasets", "page"},
    "serving": {"page", "pictures"},
}
ABOVE_ALL = {"__init__", "__main__"}  # tf_deblur.load, and the list of commands


def list_imports(source):
    """The modules that a file imports, anywhere in it, by dotted names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = "." * node.level
            yield from (f"{above}{node.module}.{alias.name}" for alias in node.names)


def list_forbidden(place, source):
    """What a file at `place`, such as `models/gan.py`, imports of ours and may not."""
    name = pathlib.Path(place).parts[0].removesuffix(".py")
    if name in ABOVE_ALL:
        return set()
    if relative := {module for module in list_imports(source) if module.startswith(".")}:
        return relative  # absolute names alone can be read here, and by people
    used = {
        module.split(".")[1] for module in list_imports(source) if module.startswith("tf_deblur.")
    }
    if name in COMMANDS or place == "export/__main__.py":
        return used & COMMANDS - {name}
    return used - {name} - FOUNDATION - ROOMS.get(name, set())


PACKAGE = sorted((REPOSITORY / "tf_deblur").rglob("*.py"))
BESIDE = [p for room in ("datasets", "export") for p in sorted((REPOSITORY / room).rglob("*.py"))]
PLACES = {str(path.relative_to(REPOSITORY / "tf_deblur")): path for path in PACKAGE}
PLACES |= {str(path.relative_to(REPOSITORY)): path for path in BESIDE}


@pytest.mark.parametrize("place", PLACES)
def test_imports_point_one_way(place):
    assert list_forbidden(place, PLACES[place].read_text()) == set()


def test_every_file_has_its_room():
    found = {pathlib.Path(place).parts[0].removesuffix(".py") for place in PLACES}
    assert found == {*COMMANDS, *ROOMS, *FOUNDATION, *ABOVE_ALL} - {"__version__"}


@pytest.mark.parametrize(
    "place, line",
    [
        ("deblur.py", "from tf_deblur import train"),
        ("models/gan.py", "from tf_deblur.training import stream"),
        ("pictures/arrays.py", "import tf_deblur.models.weights"),
        ("restoring/guard.py", "def late():\n    from tf_deblur.scoring.metrics import psnr"),
        ("scoring/report.py", "from tf_deblur.evaluate import main"),
        ("datasets/pairs.py", "from tf_deblur import blur"),
        ("datasets/prepared.py", "from tf_deblur.training import stream"),
        ("scoring/scoring.py", "from tf_deblur.training import stream"),
        ("export/real_pictures.py", "from tf_deblur.training import stream"),
        ("files.py", "from tf_deblur import pictures"),
        ("models/gan.py", "from ..training import stream"),
    ],
)
def test_an_import_that_points_up_is_found(place, line):
    assert list_forbidden(place, line)
