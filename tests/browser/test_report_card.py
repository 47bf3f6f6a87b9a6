"""The report card as a reader's browser shows it: nothing loaded, nothing clipped, readable by everyone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from gallery import gallery_report
from playwright.sync_api import Browser, Page
from sample import build_report

from auditkit.render.html.report import notebook_frame, render_html

pytestmark = pytest.mark.browser

WIDTHS = (320, 390, 768, 1280)
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}

# Elements that stick out of the window though nothing around them scrolls or hides them.
CLIPPED = """() => [...document.querySelectorAll('main *, header *, nav *')].filter(element => {
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.height === 0 || (box.left >= -1 && box.right <= innerWidth + 1)) return false;
    return !element.closest('.scroll, .hidden, svg');
}).map(element => element.outerHTML.slice(0, 120))"""

# Pieces of text of one chart that lie on top of each other.
OVERLAPPING = """() => [...document.querySelectorAll('svg.chart')].flatMap(chart => {
    const texts = [...chart.querySelectorAll('text')].filter(text => text.getBoundingClientRect().width > 0);
    const boxes = texts.map(text => text.getBoundingClientRect());
    const meet = (a, b, from, to, slack) => a[from] < b[to] - slack && b[from] < a[to] - slack;
    const clash = (a, b) => meet(a, b, 'left', 'right', 1) && meet(a, b, 'top', 'bottom', 3);
    const named = new Set(chart.querySelectorAll('svg.name text'));
    return texts.flatMap((text, i) => texts.slice(i + 1)
        .filter((other, j) => !named.has(text) && !named.has(other) && clash(boxes[i], boxes[i + 1 + j]))
        .map(other => text.textContent + ' / ' + other.textContent));
})"""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("card") / "report.html"
    path.write_text(render_html(build_report()), encoding="utf-8")
    return path


class Watched:
    """A page, with what it said on the console and what it asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))


def opened(browser: Browser, path: Path, width: int, scheme: Literal["light", "dark"]) -> Iterator[Watched]:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    watched = Watched(context.new_page())
    watched.page.goto(path.as_uri())
    yield watched
    context.close()


WINDOWS = [(width, scheme) for width in WIDTHS for scheme in ("light", "dark")]
DIFFERING = [(320, "dark"), (1280, "light")]
"""The windows of the checks that cost seconds: the narrowest and the widest, and each colour scheme."""


@pytest.fixture(params=WINDOWS, ids=str)
def watched(request: pytest.FixtureRequest, browser: Browser, card: Path) -> Iterator[Watched]:
    yield from opened(browser, card, *request.param)


IN_CHINESE = [(390, "dark"), (1280, "light")]


@pytest.fixture(params=IN_CHINESE, ids=str)
def chinese(request: pytest.FixtureRequest, browser: Browser, tmp_path: Path) -> Iterator[Watched]:
    path = tmp_path / "report.zh.html"
    path.write_text(render_html(build_report(), "zh"), encoding="utf-8")
    yield from opened(browser, path, *request.param)


@pytest.fixture
def wide(browser: Browser, card: Path) -> Iterator[Watched]:
    yield from opened(browser, card, 1280, "light")


def test_nothing_is_loaded_said_or_pushed_out_of_the_window(watched: Watched, card: Path) -> None:
    page = watched.page
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(OVERLAPPING) == []
    assert watched.asked == [card.as_uri()]
    assert watched.said == []


@pytest.mark.parametrize(
    "watched",
    [pytest.param(window, id=str(window), marks=[] if window in DIFFERING else pytest.mark.slow) for window in WINDOWS],
    indirect=True,
)
def test_it_keeps_the_rules_of_wcag_2_2_aa(watched: Watched) -> None:
    watched.page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    results: dict[str, Any] = Axe().run(watched.page, options=WCAG).response
    broken = [(one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"]) for one in results["violations"]]
    assert broken == []
    assert {"color-contrast", "svg-img-alt", "target-size", "scrollable-region-focusable"} <= {
        one["id"] for one in results["passes"]
    }


def test_in_chinese_it_fits_its_window(chinese: Watched) -> None:
    page = chinese.page
    page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    assert page.evaluate(CLIPPED) == []
    assert page.evaluate(OVERLAPPING) == []
    assert chinese.said == []


@pytest.mark.parametrize(
    "chinese", [IN_CHINESE[0], pytest.param(IN_CHINESE[1], marks=pytest.mark.slow)], indirect=True, ids=str
)
def test_in_chinese_it_keeps_the_same_rules(chinese: Watched) -> None:
    chinese.page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    assert [one["id"] for one in Axe().run(chinese.page, options=WCAG).response["violations"]] == []


def test_no_hostile_name_ran_or_became_an_element(wide: Watched) -> None:
    assert wide.page.evaluate("document.querySelectorAll('script, img, iframe, [onmouseover], [onerror]').length") == 0


def test_the_keyboard_reaches_the_findings_first(wide: Watched) -> None:
    wide.page.keyboard.press("Tab")
    assert wide.page.evaluate("document.activeElement.className") == "skip"
    assert wide.page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    wide.page.keyboard.press("Enter")
    assert wide.page.url.endswith("#main")


def test_paper_shows_the_cards_the_whole_hashes_and_a_line_to_sign_on(wide: Watched) -> None:
    page = wide.page
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".signature .line").first.is_visible()
    assert page.locator(".hash .rest").first.is_visible()
    assert not page.locator("nav.rail").is_visible()
    assert page.locator("details.card figure").first.bounding_box()
    assert page.locator("#policy details.fold table").first.bounding_box()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_paper_holds_every_finding_and_the_tables_of_groups(wide: Watched) -> None:
    page = wide.page
    page.emulate_media(media="print")
    folded = page.locator("details.paper")
    kept = [
        folded.nth(one).evaluate("e => e.querySelector('table, .findings').offsetHeight")
        for one in range(folded.count())
    ]
    assert kept
    assert min(kept) > 0
    assert page.locator("#findings .findings li:not(details.more li)").evaluate_all(
        "all => all.every(e => e.offsetHeight > 0)"
    )
    said = page.locator("details.paper > summary")
    assert all(said.nth(one).bounding_box() for one in range(said.count())), "what a table shows is said above it"
    assert page.locator("details:not(.card, .fold, .paper)").evaluate_all("all => all.every(e => e.offsetHeight === 0)")


def test_on_a_phone_the_cards_are_folded_and_a_link_opens_its_card(browser: Browser, card: Path) -> None:
    for narrow in opened(browser, card, 390, "light"):
        page = narrow.page
        assert page.locator(".worst li").first.bounding_box()["y"] < 844  # type: ignore[index]  # it is visible
        assert page.locator("details[open]").count() == 0
        assert page.locator("#findings .findings li").first.is_visible()
        page.locator(".rail a[href='#auditor-2']").click()
        assert page.locator("#auditor-2").is_visible()
        assert not page.locator("#auditor-1").is_visible()


def test_a_wide_window_folds_the_cards_too(wide: Watched) -> None:
    assert not wide.page.locator("#auditor-2 figure").first.is_visible()
    wide.page.locator("details.card > summary").nth(1).click()
    assert wide.page.locator("#auditor-2 figure").first.is_visible()


def test_printed_the_census_has_at_most_six_pages_before_its_annex(browser: Browser, tmp_path: Path) -> None:
    census = gallery_report("census")
    path = tmp_path / "report.html"
    path.write_text(render_html(census), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.add_style_tag(content=".annex { display: none }")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))) <= 6
    page.close()


def test_it_stays_small(card: Path) -> None:
    assert card.stat().st_size < 1_000_000


def test_the_frame_of_a_notebook_shows_the_card(browser: Browser, tmp_path: Path) -> None:
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html>{notebook_frame(build_report())}", encoding="utf-8")
    page = browser.new_page()
    page.goto(notebook.as_uri())
    assert page.frame_locator("iframe").locator("h1").inner_text() == "Incomplete"
    page.close()
