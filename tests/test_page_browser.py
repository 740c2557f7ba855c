"""The page in a real browser: it sorts, filters, scrubs, plays by keys, asks for nothing and complains of nothing.

`make page-test` installs playwright; Chromium is the system's (apt-get install chromium), or the one CHROMIUM names.
"""

import os
import re
import shutil

import numpy as np
import pytest
from page_scenes import open_scene, random_scene

from harness.report.page import Content, write_page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make page-test")

HOSTILE = "First <script>alert(1)</script><img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def browser():
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium, or name one in CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    opened = open_scene(folder, titles=(HOSTILE, "Second"))
    write_page(Content(opened.runs, opened), folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def page(browser, file):
    with opened_page(browser, file) as page:
        yield page


class opened_page:  # noqa: N801 (a context manager that is called like a function)
    """A page whose complaints and requests are collected, and must be none when it is left."""

    def __init__(self, browser, file, **asked):
        self.page = browser.new_page(viewport={"width": 1300, "height": 900}, **asked)
        self.page.set_default_timeout(120_000)
        self.file, self.complaints, self.requests = file, [], []

    def __enter__(self):
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(self.file.as_uri())
        return self.page

    def __exit__(self, *_):
        self.page.close()
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(("data:", self.file.as_uri()))] == []


def first_column(page, title):
    return page.locator(f'table[aria-labelledby="{title}"] tbody tr:visible').evaluate_all(
        "rows => rows.map(row => row.cells[0].textContent.trim())"
    )


def values(page, title, column):
    return page.locator(f'table[aria-labelledby="{title}"] tbody tr').evaluate_all(
        f"rows => rows.map(row => Number(row.cells[{column}].dataset.value))"
    )


def text(page, selector):
    return page.locator(selector).inner_text()


def test_names_are_shown_as_text(page):
    assert HOSTILE in text(page, "h1")
    assert page.locator("img").count() == 0
    assert page.evaluate("document.documentElement.dataset.ready") == "true"


def test_a_table_sorts_both_ways(page):
    heading = page.locator('table[aria-labelledby="comparison"] thead th').nth(1)
    before = values(page, "comparison", 1)
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert values(page, "comparison", 1) == sorted(before, reverse=True)
    heading.locator("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert values(page, "comparison", 1) == sorted(before)


def test_a_table_filters_by_words(page):
    page.get_by_label("Filter rows of Comparison").fill("left kn")
    assert first_column(page, "comparison") == ["left knee"]
    assert page.locator("figure:has(#comparison) [data-count]").inner_text() == "1 of 23"
    page.get_by_label("Filter rows of Comparison").fill("")
    assert len(first_column(page, "comparison")) == 23


def test_failures_filter_by_joint_and_by_who_is_wrong(page):
    rows = page.locator(".list [role=option]")
    assert rows.count() == 2 and text(page, "[data-title]") == "Right wrist"
    page.locator("select[name=wrong]").select_option(label="A is wrong (1)")
    assert rows.count() == 1 and text(page, "[data-title]") == "Left knee"
    assert page.locator("select[name=joint] option").all_inner_texts() == ["every joint", "left knee (1)"]
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    assert rows.count() == 2
    page.locator("select[name=class]").select_option(label="miss (1)")
    assert rows.count() == 1 and text(page, "[data-title]") == "Right wrist"
    assert "class=" in page.url  # the address leads back here


def test_keys_go_through_failures_and_time(page):
    assert re.match(r"frame 4 \(5 of 8\)", text(page, "[data-clock]"))  # the worst frame
    says = page.locator("[data-says]")
    assert says.text_content().endswith("A good, B miss")
    page.keyboard.press("ArrowLeft")
    assert says.text_content().endswith("A good, B jitter")
    page.locator(".show").focus()
    page.keyboard.press("Home")
    assert says.text_content().endswith("A good, B good")
    page.keyboard.press("End")
    assert text(page, "[data-clock]") == "frame 7 (8 of 8)"
    page.keyboard.press("w")
    assert text(page, "[data-clock]").startswith("frame 4")
    page.keyboard.press("j")
    assert text(page, "[data-title]") == "Left knee"
    page.keyboard.press("k")
    assert text(page, "[data-title]") == "Right wrist"


def test_a_key_from_afar_is_answered_in_sight(browser, file):
    with opened_page(browser, file, reduced_motion="reduce") as page:  # it would glide there
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        bottom = "document.querySelector('.screens').getBoundingClientRect().bottom"
        assert page.evaluate(bottom) < 0
        page.keyboard.press("k")
        assert 0 < page.evaluate(bottom) <= page.evaluate("innerHeight")


def test_scrubbing_draws_other_pictures(page):
    scrubber = page.get_by_label("Frame of the clip")
    page.wait_for_timeout(300)
    before = page.locator(".screen canvas").first.evaluate("canvas => canvas.toDataURL()")
    scrubber.fill("1")
    page.wait_for_timeout(300)
    after = page.locator(".screen canvas").first.evaluate("canvas => canvas.toDataURL()")
    assert before != after and text(page, "[data-clock]") == "frame 1 (2 of 8)"
    assert "A good, B good" in scrubber.get_attribute("aria-valuetext")
    page.locator(".thumb").nth(3).click()
    assert scrubber.input_value() == "3"


def test_playing_moves_on_and_stops(page):
    page.keyboard.press("p")
    sync_api.expect(page.locator("[data-clock]")).not_to_contain_text("frame 4", timeout=60_000)
    page.keyboard.press("p")
    stopped = text(page, "[data-clock]")
    page.wait_for_timeout(700)
    assert text(page, "[data-clock]") == stopped


def test_views_and_layers(page):
    assert page.locator(".screen").count() == 3
    page.keyboard.press("v")
    assert page.locator(".screen").count() == 1
    page.keyboard.press("v")
    page.keyboard.press("1")
    assert page.locator(".screen").count() == 2
    assert page.get_by_role("button", name="Truth").get_attribute("aria-pressed") == "false"


def test_help_lists_the_keys_and_closes(page):
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1 and "play, pause" in text(page, "dialog")
    page.keyboard.press("j")  # keys rest while help is open
    assert text(page, "[data-title]") == "Right wrist"
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_a_sequence_of_the_table_leads_to_its_failures(page):
    page.locator("#sequences").scroll_into_view_if_needed()
    page.get_by_role("button", name="000001_mpii_test").click()
    assert page.locator("select[name=sequence]").input_value() == "0"
    page.get_by_role("button", name="000002_mpii_test").click()
    assert page.locator(".list [role=option]").count() == 0 and "No failure fits" in text(page, ".list")


@pytest.mark.parametrize(("scheme", "background"), [("light", "rgb(250, 249, 246)"), ("dark", "rgb(18, 19, 22)")])
def test_themes_follow_the_system_and_the_key(browser, file, scheme, background):
    with opened_page(browser, file, color_scheme=scheme) as page:
        colour = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(colour) == background
        page.keyboard.press("d")
        assert page.evaluate(colour) != background


def test_an_address_leads_to_its_failure(browser, file):
    with opened_page(browser, file) as page:
        page.keyboard.press("j")
        page.keyboard.press("Home")
        page.reload()
        assert text(page, "[data-title]") == "Left knee"


@pytest.mark.long
def test_a_thousand_failures_stay_small_and_load_fast(browser, tmp_path):
    opened = random_scene(tmp_path, np.random.default_rng(3))
    path = tmp_path / "report.html"
    assert write_page(Content(opened.runs, opened, compared=False), path) < 30e6
    page = browser.new_page()
    page.set_default_timeout(300_000)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # a busy machine does not count
    page.goto(path.as_uri())
    spent = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    assert page.locator(".list [role=option]").count() == 1000
    assert spent["TaskDuration"] < 2
    page.close()
