"""The pages beside the report card in a browser: nothing loaded, nothing clipped, readable by everyone."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from gallery import gallery_report
from playwright.sync_api import Browser
from sample import build_report
from sample_outcomes import HOSTILE

from auditkit.compliance.assess import assess
from auditkit.compliance.facts import Facts
from auditkit.compliance.framework import load_framework
from auditkit.evidence.comparison import compare
from auditkit.render.html.compare import render_compare
from auditkit.render.html.comply import render_comply
from auditkit.render.html.index import Run, Unreadable, render_index

pytestmark = pytest.mark.browser

CARD = runpy.run_path(str(Path(__file__).with_name("test_report_card.py")))


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    census, sample = gallery_report("census"), build_report()
    facts = Facts(source="facts.toml", sha256="0" * 64, answers={"owner": HOSTILE["long"] * 3})
    made = {
        "comply-eu-ai-act.html": render_comply(sample, assess(sample, load_framework("eu-ai-act"), facts)),
        "comply-nyc-ll144.html": render_comply(census, assess(census, load_framework("nyc-ll144"))),
    }
    pages = {name: files[name] for name, files in made.items()}
    first = [one.model_copy(update={"outcomes": one.outcomes[:1]}) for one in (census, sample)]
    pages["compare.html"] = render_compare(compare(*first))
    pages["index.html"] = render_index(
        [Run(sample, "a/", True), Run(census, "b/", True), Run(census, "c/", False)], [Unreadable("d", "torn")]
    )
    folder = tmp_path_factory.mktemp("sheets")
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
    return {name: folder / name for name in pages}


NARROW_AND_DARK, WIDE_AND_LIGHT = (320, "dark"), (1280, "light")
USUAL = {
    "comply-eu-ai-act.html": NARROW_AND_DARK,
    "comply-nyc-ll144.html": WIDE_AND_LIGHT,
    "compare.html": WIDE_AND_LIGHT,
    "index.html": NARROW_AND_DARK,
}
"""The window in which a page is held against WCAG in the usual tests, which takes seconds; the slow ones do in both."""

Window = tuple[int, Literal["light", "dark"]]


@contextmanager
def opened(browser: Browser, path: Path, window: Window) -> Iterator[Any]:
    width, scheme = window
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    watched = CARD["Watched"](context.new_page())
    watched.page.goto(path.as_uri())
    watched.page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true })")
    yield watched
    context.close()


@pytest.mark.parametrize("name", USUAL)
@pytest.mark.parametrize("window", [NARROW_AND_DARK, WIDE_AND_LIGHT], ids=str)
def test_every_page_loads_nothing_and_fits_its_window(
    browser: Browser, sheets: dict[str, Path], name: str, window: Window
) -> None:
    with opened(browser, sheets[name], window) as watched:
        assert watched.page.evaluate("document.documentElement.scrollWidth") == window[0]
        assert watched.page.evaluate(CARD["CLIPPED"]) == []
        assert watched.asked == [sheets[name].as_uri()]
        assert watched.said == []


@pytest.mark.parametrize(
    ("name", "window"),
    [
        pytest.param(name, window, id=f"{name}-{window}", marks=[] if window == usual else pytest.mark.slow)
        for name, usual in USUAL.items()
        for window in (NARROW_AND_DARK, WIDE_AND_LIGHT)
    ],
)
def test_every_page_keeps_the_rules(browser: Browser, sheets: dict[str, Path], name: str, window: Window) -> None:
    with opened(browser, sheets[name], window) as watched:
        results: dict[str, Any] = Axe().run(watched.page, options=CARD["WCAG"]).response
    broken = [(one["id"], one["nodes"][0]["html"], one["nodes"][0]["failureSummary"]) for one in results["violations"]]
    assert broken == []
