"""The page at / in a real browser, as a person uses it."""

import cv2
import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs uvicorn; pip install 'tf-deblur[serve]'")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
from serve_server import Server, settings  # noqa: E402

SIZES = {"desktop": (1280, 860), "phone": (390, 844)}


@pytest.fixture(scope="module")
def server(exported):
    running = Server(settings(exported, "compact"), page_model="compact")
    yield running
    running.stop()


@pytest.fixture(params=SIZES)
def page(browser, server, request):
    """The page, open; whatever it complains of, or asks of other hosts, fails the test."""
    width, height = SIZES[request.param]
    opened = browser.new_page(viewport={"width": width, "height": height})
    own, wrong = f"http://127.0.0.1:{server.port}/", []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request",
        lambda asked: asked.url.startswith((own, "blob:", "data:")) or wrong.append(asked.url),
    )
    opened.goto(own)
    yield opened
    opened.close()
    assert wrong == []


def restore(page, path):
    page.set_input_files("#file", path)
    page.wait_for_selector("#result:not([hidden])", timeout=30_000)


def border(page):
    return int(page.get_attribute("#handle", "aria-valuenow"))


def test_a_photograph_is_turned_restored_and_can_be_downloaded(page, photograph):
    restore(page, photograph)
    assert page.inner_text("#facts").startswith("60 × 90 pixels")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "holiday_restored.png"
    saved = cv2.imdecode(np.fromfile(download.value.path(), np.uint8), cv2.IMREAD_COLOR)
    assert saved.shape == (90, 60, 3)
    assert not page.is_visible("#working") and not page.is_visible("#error")


def test_the_border_is_dragged_by_pointer_and_moved_by_keys(page, photograph):
    restore(page, photograph)
    assert border(page) == 50
    assert page.evaluate("document.activeElement.id") == "handle"
    page.keyboard.press("ArrowLeft")
    assert border(page) == 48
    page.keyboard.press("End")
    assert border(page) == 100
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert abs(border(page) - 25) <= 1


def test_zoom_keeps_both_pictures_on_each_other(page, photograph):
    restore(page, photograph)
    page.click("#in")
    page.keyboard.press("+")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.wheel(0, -300)
    playwright.expect(page.locator("#scale")).not_to_have_text("225 %")
    moves = page.evaluate(
        "['before', 'after'].map((id) => document.getElementById(id).style.transform)"
    )
    assert moves[0] == moves[1] != ""
    page.keyboard.press("0")
    assert page.inner_text("#scale") == "100 %" and page.is_disabled("#out")


def test_what_is_no_picture_is_told_in_words_and_the_next_one_works(page, photograph, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    page.set_input_files("#file", tmp_path / "notes.txt")
    page.wait_for_selector("#error:not([hidden])")
    assert "notes.txt" in page.inner_text("#error") and "JPEG" in page.inner_text("#error")
    restore(page, photograph)
    assert not page.is_visible("#error")


def test_a_server_that_refuses_is_told_in_words(page, photograph):
    for status, words in [(429, "too much"), (413, "too large"), (400, "could not restore")]:
        page.route("**/*:predict", lambda route, _, s=status: route.fulfill(status=s, body="{}"))
        page.set_input_files("#file", photograph)
        playwright.expect(page.locator("#error")).to_contain_text(words)
        page.wait_for_selector("#working", state="hidden")
        page.unroute("**/*:predict")
    page.route("**/*:predict", lambda route: route.abort())
    page.set_input_files("#file", photograph)
    playwright.expect(page.locator("#error")).to_contain_text("not answer")


def test_the_page_fits_the_window_and_every_control_is_reached_by_tab(page, photograph):
    restore(page, photograph)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.focus("#file")
    reached = set()
    for _ in range(8):
        reached.add(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    assert {"file", "handle", "fit", "in", "download"} <= reached  # "out" is disabled unzoomed
