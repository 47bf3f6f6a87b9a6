from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

from keys import group

import auditkit.render
from auditkit.compliance.facts import Facts
from auditkit.evidence.measurement import Column, Measurement, Slice, Table
from auditkit.evidence.messages import title
from auditkit.evidence.records import SubjectRecord
from auditkit.evidence.report import Outcome, Report, read_report
from auditkit.render import renderers
from auditkit.render.first_page import key_findings
from auditkit.render.html.report import notebook_frame, render_html
from auditkit.render.summary import attention, judged_limits

VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """Reads a page: its tags, its text, its headings, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.headings: dict[str, list[str]] = defaultdict(list)
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in {"h1", "h2", "h3", "h4"} & set(self.open):
            self.headings[tag].append(data)
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\xa0", " ").split())


def test_every_finding_is_said_and_every_section_is_there_in_order(report: Report) -> None:
    page = Page(render_html(report))
    listed = [finding for finding in report.findings if finding.verdict != "not_run"]
    assert all(" ".join(finding.message.split()) in page.text for finding in listed)
    headings = [" ".join(words.split()) for words in page.headings["h2"]]
    assert headings == [
        "What was found",
        "Limits at a glance",
        "What to do, and who",
        "Guessed, sampled or not checked",
        "Not examined",
        "Findings by limit",
        "What to do next",
        "What was not examined, and why",
        "Performance",
        "Fairness",
        "Explainability",
        "Privacy",
        "Toxicity",
        "Drift",
        "What was audited",
        "The policy",
        "The record",
    ]


def test_every_number_of_the_report_is_on_the_page(report: Report) -> None:
    text = Page(render_html(report)).text
    for outcome in report.outcomes:
        for measurement in outcome.measurements:
            assert measurement.definition in text
            for part in measurement.slices:
                assert f"{part.count:,}" in text
                assert part.reason is None or part.reason in text
        assert all(note in text for note in outcome.notes)
    assert all(note in text for note in report.subject.notes)
    for limit in report.policy.limits:
        assert limit.rationale in text
        assert limit.clause in text


def test_a_line_never_ends_inside_an_option_and_hostile_ones_stay_text(
    report: Report, build_report: Callable[..., Report]
) -> None:
    long = "--" + "a" * 200
    subject = report.subject.model_copy(update={"notes": (f"pass --train-dataset FILE, or {long} <b>--out</b>",)})
    page = render_html(build_report(subject=subject))
    assert 'pass <span class="option">--train-dataset</span> FILE' in page
    assert f'or {long} &lt;b&gt;<span class="option">--out</span>&lt;/b&gt;' in page
    assert ".option { white-space: nowrap; }" in page
    bare = re.sub(r'<span class="option">--[a-z-]+</span>|<code>.*?</code>|<style>.*?</style>', "", page, flags=re.S)
    assert {option[:40] for option in re.findall(r"(?<![\w-])--[a-z-]+", bare)} == {long[:40]}  # also where it is cut


def test_it_is_one_file_without_script_or_outside_address(report: Report) -> None:
    page = Page(render_html(report))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    addresses = {value for _, attrs in page.tags for key, value in attrs.items() if key in ("href", "src", "action")}
    assert all(address and address.startswith("#") for address in addresses)
    assert not any(key.startswith("on") or key == "style" for _, attrs in page.tags for key in attrs)
    policy = next(attrs for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )


def test_links_lead_somewhere_and_ids_are_unique(report: Report) -> None:
    page = Page(render_html(report))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {str(attrs["href"])[1:] for tag, attrs in page.tags if tag in ("a", "use")}
    assert targets <= set(ids)


def test_headings_descend_one_step_at_a_time(report: Report) -> None:
    levels = [int(tag[1]) for tag, _ in Page(render_html(report)).tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(below <= above + 1 for above, below in pairwise(levels))


def test_hostile_names_are_text(report: Report, hostile: dict[str, str]) -> None:
    html = render_html(report)
    assert "<script" not in html
    assert "\u202e" not in html
    assert "\x00" not in html
    assert html.count("</style>") == 1
    text = Page(html).text
    assert hostile["script"] in text
    assert hostile["template"] in text
    assert "safe\ufffdgnp.exe" in text


def test_the_default_policy_is_called_what_it_is(report: Report, build_report: Callable[..., Report]) -> None:
    sentence = "This is the default policy shipped with auditkit."
    assert sentence not in Page(render_html(report)).text
    shipped = report.policy.model_copy(update={"source": "shipped with auditkit", "name": "auditkit default"})
    assert sentence in Page(render_html(build_report(policy=shipped))).text


def test_an_auditor_that_nothing_judged_is_neither_passed_nor_not_run(report: Report) -> None:
    text = Page(render_html(report)).text
    card = text[text.rindex("Drift Measured") :]
    assert card.startswith("Drift Measured, not judged")


def test_decisions_without_a_model_render(report: Report, build_report: Callable[..., Report]) -> None:
    subject = report.subject.model_copy(update={"model": None, "training_dataset": None, "sensitive": ()})
    text = Page(render_html(build_report(subject=subject, outcomes=()))).text
    assert "Recorded decisions (no model)" in text
    assert "none named" in text


def test_equal_reports_give_equal_bytes_and_so_does_a_report_read_back(report: Report, tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    results.write_text(report.to_json(), encoding="utf-8")
    again = read_report(results)
    for name, renderer in renderers().items():
        if not name.endswith("pdf"):  # slow to make: test_pdf.py compares them
            assert renderer.function(report) == renderer.function(report) == renderer.function(again), name


def test_a_notebook_gets_the_page_in_a_frame_that_may_not_script(report: Report) -> None:
    frame = notebook_frame(report)
    (tag, attrs), *rest = Page(frame).tags
    assert (tag, rest) == ("iframe", [])
    assert "sandbox" in attrs
    assert attrs["sandbox"] in (None, "")
    inner = Page(str(attrs["srcdoc"]))
    assert not any(tag == "nav" for tag, _ in inner.tags)
    assert report._repr_html_() == frame


def test_rendering_imports_neither_torch_nor_pandas_nor_matplotlib() -> None:
    code = "import sys, auditkit.render; print(sorted({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2.2 between two colours written as #rgb or #rrggbb."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_marks_stand_out_from_what_they_are_drawn_on_in_light_and_in_dark() -> None:
    css = Path(auditkit.render.__file__).with_name("html").joinpath("css", "card.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--([\w-]+): (#\w+)", part)) for part in css.split("* {")[0].split("@media"))
    for colours in (light, dark):
        for mark in ("mark", "mark-light", "limit", "soft", *(f"line-{i}" for i in range(6))):
            for ground in ("card", "paper", "allowed"):
                assert contrast(colours[mark], colours[ground]) >= 3, (mark, ground)
        assert contrast(colours["mark-deep"], colours["mark-light"]) >= 3
        for text in ("ink", "soft", "link"):
            assert min(contrast(colours[text], colours[ground]) for ground in ("card", "paper", "sunk")) >= 4.5


def test_the_first_page_says_three_findings_and_how_many_more_there_are(report: Report) -> None:
    top = render_html(report).partition('id="findings"')[0]
    said = re.findall(r"<li><svg class=\"glyph (\w+)\"", top.partition('<ul class="worst">')[2].partition("</ul>")[0])
    assert said == [one.verdict for one in key_findings(report)[:3]]
    assert f"{len(attention(report)) - 3} more comparisons need attention" in top


def test_purpose_and_owner_are_those_of_facts_toml_or_are_asked_for(report: Report) -> None:
    text = Page(render_html(report)).text
    assert "Purpose not stated: add it to facts.toml Owner not stated: add it to facts.toml" in text
    facts = Facts(answers={"intended_purpose": "credit <b>offers</b>", "owner": "A. Person, risk"})
    stated = Page(render_html(report, facts=facts)).text
    assert "Purpose credit <b>offers</b> Owner A. Person, risk" in stated


def test_a_card_names_the_limits_that_its_verdict_comes_from(report: Report) -> None:
    cards = render_html(report).split('<details class="card"')[1:]
    carded = [outcome for outcome in report.outcomes if outcome.auditor != "robustness"]  # it did not run
    for card, outcome in zip(cards, carded, strict=True):
        judged = [one for one in judged_limits(report) if one.findings and one.findings[0] in outcome.findings]
        named = re.findall(r'<a href="#findings"><span>(.*?)</span>', card)
        assert named == [title(one.limit.measurement) for one in judged if one.verdict not in ("pass", "not_run")]


def test_a_heading_begins_with_a_capital_unless_it_is_a_name_of_the_data(report: Report) -> None:
    columns = tuple(Column(name=name) for name in ("column", "distance by", "n", "group a", "sex", "sex & group a"))
    table = Table(title="Mixed", columns=columns, rows=(tuple("abcdef"),))
    m = measured("a.b", ("group a",))
    both = measured("a.b", ("sex", "group a"))
    outcome = Outcome(auditor="toy", version="1", measurements=(m, both), exhibits=(table,))
    subject = report.subject.model_copy(update={"sensitive": ("sex",)})

    def headings(subject: SubjectRecord) -> list[str]:
        page = render_html(report.model_copy(update={"outcomes": (outcome,), "subject": subject}))
        return re.findall('<th scope="col">(.*?)</th>', page.partition(">Mixed<")[2])[:6]

    assert headings(subject) == ["Column", "Distance by", "n", "group a", "sex", "sex &amp; group a"]
    assert headings(subject.model_copy(update={"schema_": {"target": "column"}}))[0] == "column"


def measured(id: str, by: tuple[str, ...]) -> Measurement:
    slices = (Slice(group=group("x"), value=0.5, count=10),)
    return Measurement(id=id, by=by, unit="rate", better="lower", count=10, slices=slices, definition="s")
