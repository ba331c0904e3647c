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
# Where all that is public says its types, for mypy to check.
ANNOTATED = ("export/", "tf_deblur/scoring/", "tf_deblur/page/", "tf_deblur/__", "tf_deblur/serve.")
ANNOTATED += ("tf_deblur/pictures/", "tf_deblur/restoring/", "tf_deblur/deblur.", "tf_deblur/blur.")
ANNOTATED += (
    "tf_deblur/files.",
    "tf_deblur/evaluate.",
    "tf_deblur/devices.",
    "tf_deblur/memory.",
    "tf_deblur/errors.",
)


def is_participle(word):
    return word in IRREGULAR or (word.endswith("ed") and word not in ENDS_IN_ED)


def participles(source):
    """The functions of a file that begin with one; what is asked for as a value may."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            asked = any("property" in ast.unparse(each) for each in node.decorator_list)
            if is_participle(node.name.lstrip("_").partition("_")[0]) and not asked:
                yield node.name


@pytest.mark.parametrize("place", FILES)
def test_functions_say_what_they_do(place):
    assert list(participles(FILES[place].read_text())) == []


def unannotated(source):
    """The public functions and methods at a file's top that do not say all their types."""
    body = ast.parse(source).body
    body += [each for node in body if isinstance(node, ast.ClassDef) for each in node.body]
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            own = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            own += filter(None, [node.args.vararg, node.args.kwarg])
            if not node.returns or any(a.arg != "self" and not a.annotation for a in own):
                yield node.name


@pytest.mark.parametrize("place", [place for place in FILES if place.startswith(ANNOTATED)])
def test_public_functions_say_their_types(place):
    assert list(unannotated(FILES[place].read_text())) == []


@pytest.mark.parametrize(
    "line, found",
    [
        ("def restore(picture: str): ...", ["restore"]),
        ("class Run:\n    def keep(self, time) -> None: ...", ["keep"]),
        ("def restore(picture: str) -> str: ...\ndef _restore(picture): ...", []),
    ],
)
def test_what_lacks_a_type_is_found(line, found):
    assert list(unannotated(line)) == found


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
    assert list(participles(line)) == found


def test_load_names_what_it_passes_on():
    ours, theirs = (inspect.signature(load).parameters for load in (tf_deblur.load, loading.load))
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]
