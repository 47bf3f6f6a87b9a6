"""The report that people are asked to read stays short: what stands unfolded on the page of the census."""

from __future__ import annotations

from html.parser import HTMLParser

from gallery import gallery_report

from auditkit.render.html.report import render_html

WORDS = 2000
VOID = {"meta", "br", "img", "hr", "link"}


class Unfolded(HTMLParser):
    """Collects the words that a reader sees before opening anything."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in VOID:
            return
        hidden = tag in ("style", "head", "svg") or "hidden" in (dict(attrs).get("class") or "").split()
        self.open.append((tag, hidden))

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        tags = [tag for tag, _ in self.open]
        folded = tags.count("details") > (1 if "summary" in tags else 0)
        if not folded and not any(hidden for _, hidden in self.open):
            self.words += data.split()


def test_the_census_report_has_fewer_than_two_thousand_words_unfolded() -> None:
    page = Unfolded()
    page.feed(render_html(gallery_report("census")))
    assert 800 < len(page.words) < WORDS
