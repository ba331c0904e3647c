"""What docs, docstrings and comments name is there, and prose is as wide as code."""

import ast
import importlib
import operator
import pathlib
import re
from importlib import metadata

import pytest
from packaging import requirements

REPOSITORY = pathlib.Path(__file__).parents[1]
MADE = {"build", "dist", "demo", "runs", "node_modules"}  # and what begins with a dot
OTHERS = {"evaluation_RealBlur_ecc.py", "NAME_dataset_builder.py"}  # RealBlur's, anybody's
OTHERS |= {"Session.run", "facts.fixed_size"}  # TensorFlow 1's, a program's in another language
NAMED = re.compile(r"`(?:([\w/]+\.py)|([A-Za-z_]\w*(?:\.\w+)+))(?:\(.*?\))?`")
DATA = re.compile(
    r".*\.(cfg|config|csv|flags|heic|html|jpg|json|jsonl|keras|m|md|pb|png|sh|tflite|tsv|txt|yaml|zip)"
)
SHORT = {"tf": "tensorflow", "tfa": "tensorflow_addons", "tfds": "tensorflow_datasets"}
OPTIONAL = {"tensorflow_addons", "openvino", "pyvips", "torch"}


def files(suffix):
    paths = (path.relative_to(REPOSITORY) for path in REPOSITORY.rglob(f"*{suffix}"))
    return sorted(p for p in paths if p.parts[0] not in MADE and not p.parts[0].startswith("."))


CODE, DOCS = files(".py"), files(".md")
HOUSE = [path for path in CODE if path.parts[0] in ("tf_deblur", "datasets", "export")]


def list_defined(tree):
    """The names at the top of a module, and those in its classes as Class.name."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from (f"{node.name}.{name}" for name in list_defined(node))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        else:
            yield from (n.id for n in ast.walk(node) if isinstance(n, ast.Name))


def list_dotted():
    for path in HOUSE:
        module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        yield module
        for name in list_defined(ast.parse((REPOSITORY / path).read_text())):
            yield f"{module}.{name}"


NAMES = {f"tf_deblur.{name}".replace("tf_deblur.tf_deblur", "tf_deblur") for name in list_dotted()}


def has(package, name):
    """Whether a package of others has this; nobody can tell of one that is not installed."""
    try:
        operator.attrgetter(name)(importlib.import_module(SHORT.get(package, package)))
    except ImportError:
        return SHORT.get(package, package) in OPTIONAL
    except AttributeError:
        return False
    return True


@pytest.mark.parametrize("path", [*CODE, *DOCS], ids=str)
def test_what_is_named_is_there(path):
    text = (REPOSITORY / path).read_text()
    for file, name in NAMED.findall(text):
        if file:
            found = file in OTHERS or any(f"/{own}".endswith(f"/{file}") for own in CODE)
        else:
            found = name in OTHERS or DATA.fullmatch(name)
            found = found or any(f".{own}".endswith(f".{name}") for own in NAMES)
            found = found or re.search(
                rf"(?<![`\w.]){re.escape(name)}\b", text
            )  # a value's, in this file
            found = found or has(*name.split(".", 1))
        assert found, f"{path}: {file or name}"


def prose(path):
    """Lines that are neither code nor a table's."""
    text = re.sub(r"^```.*?^```", "", (REPOSITORY / path).read_text(), flags=re.M | re.S)
    return [line for line in text.splitlines() if not line.startswith(("|", "    "))]


@pytest.mark.parametrize("path", DOCS, ids=str)
def test_prose_is_wrapped_at_100(path):
    assert [line for line in prose(path) if len(line) > 100] == []


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCS, ids=str)
def test_links_lead_somewhere(path):
    for link in re.findall(r"\]\(([^):]+)\)", (REPOSITORY / path).read_text()):
        place, _, anchor = link.partition("#")
        target = REPOSITORY / path.parent / place if place else REPOSITORY / path
        assert target.exists(), f"{path}: {link}"
        assert not anchor or anchor in anchors(target), f"{path}: {link}"


def test_light_lists_all_that_its_packages_want():
    """pip installs it with --no-deps; what tf-deblur itself wants and it leaves out, trains."""
    lines = (REPOSITORY / "light.txt").read_text().splitlines()
    listed = {re.split(r"[=<>]", line)[0] for line in lines if line[0] not in "#."}
    for name in listed:
        for wanted in map(requirements.Requirement, metadata.requires(name) or []):
            if not wanted.marker or wanted.marker.evaluate({"extra": ""}):
                assert wanted.name in listed, f"{name} wants {wanted}"
