"""The page whose network runs in the browser, in a real one, as a person uses it."""

import contextlib
import functools
import http.server
import pathlib
import shutil
import threading

import cv2
import numpy as np
import pytest
from commands import python

REPOSITORY = pathlib.Path(__file__).parents[1]
LITERT_JS = REPOSITORY / "build/node_modules/@litertjs/core"
PHOTOGRAPH = REPOSITORY / "examples/photographs/mies.jpg"
ISOLATED = [
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
]
# as a browser answers that has no relaxed SIMD
NO_RELAXED_SIMD = "WebAssembly.instantiate = () => Promise.reject(new Error('unknown opcode'));\n"


def needs_litert_js():
    from tf_deblur.export import web

    if not LITERT_JS.is_dir():
        pytest.skip(f"needs LiteRT.js; npm install --prefix=build --no-save {web.LITERT_JS}")
    return LITERT_JS


@pytest.fixture(scope="session")
def site(small_workdir, once):
    def make(output):
        arguments = ["--model", small_workdir, "--output", output, "--formats=web"]
        arguments += ["--litert_js", needs_litert_js(), "--sizes=320x320", "--variants=float32"]
        done = python("-m", "tf_deblur.export", *arguments, cwd=output)
        assert (done.returncode, done.stderr) == (0, "")

    return once("site", make)


@pytest.fixture
def visit(browser):
    """Opens a folder's page: visit(site). `page.asked` gets the paths that it asks for.

    Whatever the page complains of, or asks of other hosts, fails the test.
    """
    wrong = []
    with contextlib.ExitStack() as after:

        def visit(folder, headers=(), script="", viewport=(1280, 860)):
            address = after.enter_context(serving(folder, headers))
            width, height = viewport
            page = browser.new_page(viewport={"width": width, "height": height})
            after.callback(page.context.close)
            page.asked = []

            def request(asked):  # the worker's too
                page.asked.append(asked.url.removeprefix(address))
                if not asked.url.startswith((address, "blob:", "data:")):
                    wrong.append(asked.url)

            page.context.on("request", request)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.add_init_script(script)
            page.goto(address)
            return page

        yield visit
    assert wrong == []


@contextlib.contextmanager
def serving(folder, headers):
    """The address of a web server for a folder, like any other."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def end_headers(self):
            for header in headers:
                self.send_header(*header)
            super().end_headers()

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def keras_restore(small_workdir):
    import tf_deblur

    return tf_deblur.load(small_workdir, precision="float32")


def choose(page, path):
    """Restores a photograph; returns what its row says."""
    page.set_input_files("#file", path)
    page.wait_for_selector("#cancel-all:text-is('Clear')", timeout=60_000)
    return page.locator("#list .words").last.inner_text()


def downloaded(page):
    """What the page gives back, as RGB."""
    with page.expect_download() as download:
        page.click("#download")
    return read(download.value.path())


def read(path):
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def farthest(restored, other):
    return np.abs(restored.astype(int) - other).max()


@pytest.fixture(scope="module")
def expected(keras_restore):
    return keras_restore(np.ascontiguousarray(read(PHOTOGRAPH)))


def test_a_photograph_of_many_tiles_is_kerass_and_goes_nowhere(site, visit, expected):
    page = visit(site)
    scripts = ["device.js", "page.css", "page.js", "stage.js", "zip.js"]
    assert sorted(page.asked) == ["", *scripts]  # no megabytes before they help
    assert choose(page, PHOTOGRAPH).startswith("576 × 576 pixels")
    assert farthest(downloaded(page), expected) <= 1  # at halves the last bit decides
    runtime = {path for path in page.asked if path.startswith("litert/wasm/")}
    assert runtime == {f"litert/wasm/litert_wasm_internal.{kind}" for kind in ("js", "wasm")}


def test_an_isolated_page_runs_threads(site, visit, expected):
    page = visit(site, ISOLATED)
    choose(page, PHOTOGRAPH)
    assert farthest(downloaded(page), expected) <= 1
    assert "litert/wasm/litert_wasm_threaded_internal.wasm" in page.asked


def test_a_browser_without_relaxed_simd_gets_what_it_can_run(site, visit, expected, tmp_path):
    shutil.copytree(site, tmp_path / "site")
    worker = tmp_path / "site/worker.js"
    worker.write_text(NO_RELAXED_SIMD + worker.read_text())
    page = visit(tmp_path / "site", ISOLATED)
    choose(page, PHOTOGRAPH)
    assert farthest(downloaded(page), expected) <= 1
    assert "litert/wasm/litert_wasm_compat_internal.wasm" in page.asked


def test_a_picture_smaller_than_a_tile_is_turned_and_mirrored(
    site, visit, photograph, keras_restore
):
    page = visit(site, viewport=(390, 844))
    choose(page, photograph)
    seen = np.rot90(cv2.imread(str(photograph), cv2.IMREAD_IGNORE_ORIENTATION + 1), -1)[..., ::-1]
    tile = np.pad(seen, [(0, 320 - side) for side in seen.shape[:2]] + [(0, 0)], mode="reflect")
    assert farthest(downloaded(page), keras_restore(tile)[:90, :60]) <= 1
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("stage", ["Reading", "Restoring"])
def test_a_photograph_that_is_read_or_restored_is_cancelled_and_the_next_one_begins(
    site, visit, picture, photograph, tmp_path, stage
):
    cv2.imwrite(str(tmp_path / "large.png"), picture(3000, 3000))
    page = visit(site)
    page.set_input_files("#file", [tmp_path / "large.png", photograph])
    page.wait_for_selector(f"#list li:first-child .words:has-text('{stage}')", timeout=60_000)
    assert page.locator("[data-state=waits]").count() == 1  # one at a time
    page.get_by_role("button", name="Cancel: large.png").click()
    page.wait_for_selector("#cancel-all:text-is('Clear')", timeout=30_000)
    assert page.locator("#list .words").all_inner_texts()[0].startswith("60 × 90 pixels")
    assert page.inner_text("#told") == "1 restored" and page.inner_text("#shown") == "holiday.jpg"


def test_a_browser_without_webassembly_says_so_in_one_line(site, visit):
    page = visit(site, script="delete window.WebAssembly")
    assert "no WebAssembly" in page.inner_text("#error") and not page.is_visible("#drop")


def test_what_fails_is_told_in_words_and_the_next_photograph_works(
    site, visit, photograph, tmp_path
):
    (tmp_path / "notes.txt").write_text("no picture")
    shutil.copytree(site, tmp_path / "site")
    network = next((tmp_path / "site").glob("*.tflite"))
    whole = network.read_bytes()
    network.unlink()
    page = visit(tmp_path / "site", [("cache-control", "no-store")])  # else by the second
    assert "JPEG" in choose(page, tmp_path / "notes.txt")
    assert f"“{network.name}” did not load" in choose(page, photograph)
    network.write_bytes(whole[:2000])
    assert f"“{network.name}” does not open" in choose(page, photograph)
    network.write_bytes(whole)
    assert choose(page, photograph).startswith("60 × 90 pixels")


def test_the_folder_holds_the_page_the_network_its_runtime_and_their_licence(site):
    files = {path.name for path in site.rglob("*") if path.is_file()}
    assert {"index.html", "page.css", "page.js", "device.js", "worker.js", "LICENSE"} <= files
    assert "server.js" not in files
    script = (site / "litert/index.js").read_text()
    assert script.startswith("// LiteRT.js") and "Apache-2.0" in script.splitlines()[0]
    assert "Apache License" in (site / "litert/LICENSE").read_text()


def test_what_cannot_be_exported_is_named_in_one_line(run, small_workdir, tmp_path):
    from tf_deblur.export import web

    wanted = ["--model", small_workdir, "--output=site", "--formats=web"]
    for more, message in [
        ([], f"npm install --prefix=. --no-save {web.LITERT_JS}"),
        (["--litert_js", needs_litert_js(), "--sizes=any"], "one WIDTHxHEIGHT of --sizes"),
    ]:
        done = run("export", *wanted, *more)
        assert done.returncode == 1 and message in done.stderr, done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "site").exists()


def test_tiles_that_are_margins_alone_are_refused(tmp_path):
    from tf_deblur.errors import UserError
    from tf_deblur.export import web

    (tmp_path / "x.json").write_text('{"fixed_size": [320, 112], "margin": 56}')
    with pytest.raises(UserError, match="--sizes=112x320"):
        web.write(tmp_path / "x.tflite", tmp_path / "site", {})
    assert not (tmp_path / "site").exists()
