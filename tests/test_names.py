"""Functions are verbs, none is named as what has been done to something; public ones have types."""

import ast
import inspect
import pathlib

import pytest

import tf_deblur
from tf_deblur.restoring import loading

REPOSITORY = pathlib.Path(__file__).parents[1]
FOLDERS = ("tf_deblur", "datasets", "export", "benchmarks", "docs", "examples")
FILES = {
    str(path.relative_to(REPOSITORY)): path
    for folder in FOLDERS
    for path in sorted((REPOSITORY / folder).rglob("*.py"))
}
ENDS_IN_ED = {"embed", "exceed", "feed", "need", "proceed", "seed", "shed", "speed", "succeed"}
# Participles that are no verb's present, as "cut", "put", "read", "run" and "set" are.
IRREGULAR = set(
    "begun bound bought broken brought built caught chosen done drawn driven fallen fed forgotten "
    "found frozen given gone grown heard held hidden hung kept known laid led left lost made meant "
    "met paid said seen sent shaken shown sold spent spoken stolen stood stuck taken taught "
    "thought thrown told torn understood won worn woven written".split()
)
# What functions of the package begin with; to and from begin a conversion, as of bytes.
VERBS = set(
    "abandon add apply are ask augment average be begin bind blend blur build call change "
    "check choose compare compile compress compute connect convert convolve copy count cut "
    "decode describe differ differentiate discriminate divide drain draw drop encode end "
    "enlarge estimate exists explain export fail fill find finish flush forget format "
    "freeze from get group has hash hear index is join keep leave list load lock log make "
    "map mark match measure meet mend mirror name note open pad parse plan poll prepare "
    "profile quantise quiet read recompute reduce refuse register replay report require "
    "restore rotate round run save say scale score serve set share shorten show shuffle "
    "skip split spread start stop stretch strip subtract summarise take tell to trace train "
    "trim try turn unpack unscale unshuffle unwrap update use validate warp watch wrap "
    "write".split()
)
# Formulas and networks have the names that papers give them, entry points those that all have.
NOUNS = {
    "tf_deblur/models/losses.py": "mean_square charbonnier spectral adversarial discriminator",
    "tf_deblur/scoring/metrics.py": "psnr ssim ssim_matlab_rgb ms_ssim",
    "tf_deblur/models/generators.py": "paper compact conv residual_block",
    "tf_deblur/models/networks.py": "conv",
    "tf_deblur/files.py": "whole",
    "tf_deblur/serving/status.py": "invalid late not_found",  # TensorFlow's codes
    "tf_deblur/restoring/collection.py": "batch_elements_kwargs",  # Beam's
}
MOVED = "tf_deblur.datasets", "tf_deblur.export"  # which lie beside it
PACKAGE = [p for p in FILES if p.startswith(("tf_deblur/", "datasets/", "export/"))]


def is_participle(word):
    return word in IRREGULAR or (word.endswith("ed") and word not in ENDS_IN_ED)


def list_participles(source):
    """The functions of a file that begin with one; what is asked for as a value may."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            asked = any("property" in ast.unparse(each) for each in node.decorator_list)
            if is_participle(node.name.lstrip("_").partition("_")[0]) and not asked:
                yield node.name


@pytest.mark.parametrize("place", FILES)
def test_functions_say_what_they_do(place):
    assert list(list_participles(FILES[place].read_text())) == []


def list_public(source):
    """The public functions and methods at a file's top."""
    body = ast.parse(source).body
    classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name[0] != "_"]
    for node in [*body, *(each for one in classes for each in one.body)]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            yield node


def list_nouns(source):
    """The public ones that begin with no verb, and are no properties."""
    for node in list_public(source):
        asked = any("property" in ast.unparse(each) for each in node.decorator_list)
        if not (asked or node.name in ("main", "cli") or node.name.partition("_")[0] in VERBS):
            yield node.name


def find_module(name):
    """The file of a module of ours, or None."""
    name = name.removeprefix("tf_deblur.") if name.startswith(MOVED) else name
    path = REPOSITORY / name.replace(".", "/")
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if f.exists()), None)


def list_names(path):
    """What a module has, at its top or not; the modules in it, if it is a package."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (name.asname or name.name for name in node.names)
    if path.name == "__init__.py":
        yield from (other.stem for other in path.parent.iterdir())


def list_missing(source):
    """What a file takes from modules of ours that they do not have."""
    tree, modules = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (path := find_module(node.module or "")):
            for name in node.names:
                module = find_module(f"{node.module}.{name.name}")
                modules[name.asname or name.name] = module
                if not module and name.name not in {*list_names(path)}:
                    yield f"{node.module}.{name.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            path = modules.get(node.value.id)
            if path and node.attr not in {*list_names(path)}:
                yield f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("place", [place for place in FILES if place not in PACKAGE])
def test_what_no_other_test_runs_takes_what_is_there(place):
    assert list(list_missing(FILES[place].read_text())) == []


@pytest.mark.parametrize(
    "line, found",
    [
        ("from tf_deblur.restoring import tiling, nothing", ["tf_deblur.restoring.nothing"]),
        ("from tf_deblur.restoring import tiling\ntiling.apply\ntiling.gone()", ["tiling.gone"]),
        ("from tf_deblur.datasets import prepare, prepared as p\np.open_pairs\np.x", ["p.x"]),
        ("import numpy as np\nnp.nothing", []),
    ],
)
def test_what_is_missing_is_found(line, found):
    assert list(list_missing(line)) == found


@pytest.mark.parametrize("place", PACKAGE)
def test_public_functions_begin_with_a_verb(place):
    assert set(list_nouns(FILES[place].read_text())) == set(NOUNS.get(place, "").split())


def list_unannotated(source):
    """The public ones that do not say all their types."""
    for node in list_public(source):
        own = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        own += filter(None, [node.args.vararg, node.args.kwarg])
        if not node.returns or any(a.arg not in ("self", "cls") and not a.annotation for a in own):
            yield node.name


@pytest.mark.parametrize("place", PACKAGE)
def test_public_functions_say_their_types(place):
    assert list(list_unannotated(FILES[place].read_text())) == []


@pytest.mark.parametrize(
    "line, found",
    [
        ("def restore(picture: str): ...", ["restore"]),
        ("class Run:\n    def keep(self, time) -> None: ...", ["keep"]),
        ("def restore(picture: str) -> str: ...\ndef _restore(picture): ...", []),
    ],
)
def test_what_lacks_a_type_is_found(line, found):
    assert list(list_unannotated(line)) == found


@pytest.mark.parametrize(
    "line, found",
    [
        ("def margin(path): ...", ["margin"]),
        ("class Run:\n    def batches(self): ...", ["batches"]),
        ("class Run:\n    @property\n    def chief(self): ...", []),
        ("def main(argv): ...\ndef read_file(path): ...\ndef _corners(path): ...", []),
    ],
)
def test_a_noun_is_found(line, found):
    assert list(list_nouns(line)) == found


@pytest.mark.parametrize(
    "line, found",
    [
        ("def restored(picture): ...", ["restored"]),
        ("class Run:\n    def _kept_time(self): ...", ["_kept_time"]),
        ("class Run:\n    @property\n    def closed(self): ...", []),
        ("async def feed(): ...\ndef embed(): ...\ndef read(): ...\ndef needs(): ...", []),
    ],
)
def test_a_participle_is_found(line, found):
    assert list(list_participles(line)) == found


def test_load_names_what_it_passes_on():
    ours, theirs = (inspect.signature(load).parameters for load in (tf_deblur.load, loading.load))
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]
