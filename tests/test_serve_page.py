"""The page at / in a real browser, as a person uses it."""

import io
import zipfile

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


@pytest.fixture
def photographs(tmp_path, picture):
    """Three of them, of which two have one name."""
    paths = [tmp_path / name for name in ("a/one.png", "b/one.png", "two.png")]
    for seed, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), picture(50 + 10 * seed, 70, seed))
    return paths


def restore(page, *paths):
    page.set_input_files("#file", paths)
    page.wait_for_selector("#result:not([hidden])", timeout=30_000)
    page.wait_for_selector("#cancel-all:text-is('Clear')", timeout=30_000)


def row(page, name):
    return page.locator("#list li").filter(has_text=name)


def download(page, name):
    """What a button of this name gives: (name, bytes)."""
    with page.expect_download() as begun:
        page.get_by_role("button", name=name, exact=True).click()
    return begun.value.suggested_filename, begun.value.path().read_bytes()


def decode(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def border(page):
    return int(page.get_attribute("#handle", "aria-valuenow"))


def set_strength(page, percent):
    page.fill("#strength", str(percent))


def test_a_photograph_is_turned_restored_and_can_be_downloaded(page, photograph):
    restore(page, photograph)
    assert row(page, "holiday.jpg").locator(".words").inner_text().startswith("60 × 90 pixels")
    name, data = download(page, "Download")
    assert name == "holiday_restored.png" and decode(data).shape == (90, 60, 3)
    assert download(page, "Download: holiday.jpg") == (name, data)
    assert not page.is_visible("#download-all") and not page.is_visible("#error")


def test_several_photographs_are_shown_and_downloaded_one_by_one_and_together(page, photographs):
    restore(page, *photographs)
    assert page.inner_text("#told") == "3 restored"
    assert page.inner_text("#shown") == "one.png"
    page.get_by_role("button", name="Show: two.png").click()
    playwright.expect(page.locator("#shown")).to_have_text("two.png")
    assert page.locator("[aria-current]").count() == 1
    name, data = download(page, "Download")
    assert name == "two_restored.png" and decode(data).shape == (70, 70, 3)
    name, packed = download(page, "Download all")
    assert name == "restored.zip"
    with zipfile.ZipFile(io.BytesIO(packed)) as files:
        assert files.testzip() is None
        assert files.namelist() == ["one_restored.png", "one_restored_2.png", "two_restored.png"]
        assert files.read("two_restored.png") == data
        assert decode(files.read("one_restored_2.png")).shape == (60, 70, 3)


def test_strength_lies_between_the_photograph_and_the_result_also_in_downloads(page, photographs):
    restore(page, photographs[2])
    blurred = cv2.imread(str(photographs[2])).astype(int)
    restored = decode(download(page, "Download")[1]).astype(int)
    assert np.abs(restored - blurred).max() > 10
    for percent, expected in [(0, blurred), (50, (blurred + restored) / 2)]:
        set_strength(page, percent)
        assert page.inner_text("#percent") == f"{percent} %"
        mixed = decode(download(page, "Download: two.png")[1])
        assert np.abs(mixed - expected).max() <= 1.5
    assert page.evaluate("getComputedStyle(document.getElementById('after')).opacity") == "0.5"


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_photographs_are_dropped_and_pasted(page, event):
    page.evaluate(
        """async (kind) => {
          const data = new DataTransfer();
          for (const name of ["left.png", "right.png"]) {
            const canvas = new OffscreenCanvas(40, 30);
            canvas.getContext("2d").fillRect(5, 5, 9, 9);
            const blob = await canvas.convertToBlob();
            data.items.add(new File([blob], name, { type: "image/png" }));
          }
          const event = kind === "drop"
            ? new DragEvent("drop", { dataTransfer: data, cancelable: true })
            : new ClipboardEvent("paste", { clipboardData: data });
          document.dispatchEvent(event);
        }""",
        event,
    )
    playwright.expect(page.locator("#told")).to_have_text("2 restored", timeout=30_000)
    assert page.locator("#list .name").all_inner_texts() == ["left.png", "right.png"]


def test_what_is_cancelled_is_stopped_or_never_asked_for(page, photographs):
    asked, stopped = [], []
    page.on("requestfailed", lambda request: stopped.append(request.url))
    page.route("**/*:predict", lambda route: asked.append(route))  # no answer
    paths = [*photographs, photographs[2]]
    page.set_input_files("#file", paths)
    playwright.expect(page.locator("[data-state=works]")).to_have_count(2)
    assert page.locator("[data-state=waits]").count() == 2
    assert page.inner_text("#told") == "0 of 4 restored"
    page.locator("#list li").last.locator(".remove").press("Enter")
    playwright.expect(page.locator("#list li")).to_have_count(3)
    assert page.evaluate("document.activeElement.title") == "Cancel"  # of the row beside it
    while len(asked) < 2:
        page.wait_for_timeout(20)
    page.locator("#list li").first.locator(".remove").click()
    playwright.expect(page.locator("[data-state=waits]")).to_have_count(0)
    while len(asked) < 3:
        page.wait_for_timeout(20)
    assert len(stopped) == 1
    page.get_by_role("button", name="Cancel all").click()
    playwright.expect(page.locator("#list li")).to_have_count(0)
    while len(stopped) < 3:
        page.wait_for_timeout(20)
    assert len(asked) == 3 and page.evaluate("document.activeElement.id") == "file"
    page.unroute("**/*:predict")
    restore(page, photographs[0])


def test_what_is_removed_gives_way_to_another(page, photographs):
    restore(page, *photographs)
    page.get_by_role("button", name="Remove: one.png").first.click()
    assert page.inner_text("#told") == "2 restored" and page.inner_text("#shown") == "one.png"
    page.get_by_role("button", name="Clear").click()
    assert not page.is_visible("#result") and not page.is_visible("#all")


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
    restore(page, tmp_path / "notes.txt", photograph)
    assert "JPEG" in row(page, "notes.txt").get_by_role("alert").inner_text()
    assert page.inner_text("#told") == "1 restored, 1 failed"
    assert page.inner_text("#shown") == "holiday.jpg"


def test_a_server_that_refuses_is_told_in_words_and_may_be_asked_again(page, photograph):
    answers = [(429, "too much"), (413, "too large"), (400, "could not restore"), (0, "not answer")]
    for status, words in answers:
        page.route(
            "**/*:predict",
            lambda route, _, s=status: route.fulfill(status=s, body="{}") if s else route.abort(),
        )
        if status == 429:
            page.set_input_files("#file", photograph)
        else:
            page.get_by_role("button", name="Try again: holiday.jpg").click()
        playwright.expect(page.get_by_role("alert")).to_contain_text(words)
        page.unroute("**/*:predict")
    page.get_by_role("button", name="Try again: holiday.jpg").click()
    page.wait_for_selector("#result:not([hidden])", timeout=30_000)
    assert page.inner_text("#told") == "1 restored"


def test_the_page_fits_the_window_and_every_control_is_reached_by_tab(page, photographs):
    restore(page, *photographs)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.focus("#file")
    reached = set()
    for _ in range(19):
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.ariaLabel"))
        page.keyboard.press("Tab")
    assert reached >= {
        *("file", "cancel-all", "download-all", "handle", "fit", "in", "strength", "download"),
        *(f"{act}: two.png" for act in ("Show", "Download", "Remove")),
    }  # "out" is disabled unzoomed
