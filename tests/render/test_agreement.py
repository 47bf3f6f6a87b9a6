"""The page, its tables, the summary, JUnit, SARIF, GitLab and GitHub state the same digits for the same finding."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.evidence.measurement import Measurement, Slice
from auditkit.evidence.messages import bounds, number, span
from auditkit.evidence.policy import Finding
from auditkit.evidence.report import Report
from auditkit.render.exports.github import render_annotations
from auditkit.render.exports.gitlab import render_gitlab
from auditkit.render.exports.junit import render_junit
from auditkit.render.exports.markdown import render_markdown
from auditkit.render.exports.sarif import render_sarif
from auditkit.render.html.report import render_html
from auditkit.render.summary import attention

LIMITS = {
    "performance.accuracy": "at_least = 0.97",
    "fairness.selection_rate": "at_most = 0.011",
    "fairness.accuracy": "at_least = 0.95",
    "fairness.impact_ratio": "at_least = 0.9",
    "fairness.demographic_parity_difference": "at_most = 0.04\nwarn_at = 0.01",
    "fairness.demographic_parity_ratio": "at_least = 0.9",
    "fairness.equalized_odds_difference": "at_most = 0.05",
    "fairness.mean_error_difference": "at_most = 0.1",
    "performance.r2": "at_least = 0.9",
}


class Tables(HTMLParser):
    """Reads the text of a page, and of every table its caption or figure's heading and its rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.heading = ""
        self.tables: list[tuple[str, list[list[str]]]] = []
        self.tag = ""
        self.feed(text)
        self.text = squeezed(" ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tag = tag if tag in ("style", "h3", "caption", "th", "td") else self.tag
        if tag in ("h3", "caption"):
            self.heading = ""
        elif tag == "table":
            self.tables.append((self.heading, []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][1][-1].append("")
        if tag == "caption":
            self.tables[-1] = ("", self.tables[-1][1])

    def handle_endtag(self, tag: str) -> None:
        if tag == "caption":
            self.tables[-1] = (self.heading, self.tables[-1][1])
        self.tag = "" if tag == self.tag else self.tag

    def handle_data(self, data: str) -> None:
        if self.tag != "style":
            self.words.append(data)
        if self.tag in ("h3", "caption"):
            self.heading += squeezed(data)
        elif self.tag in ("th", "td") and self.tables and self.tables[-1][1]:
            self.tables[-1][1][-1][-1] += squeezed(data)

    def row(self, heading: str, first: str) -> list[str]:
        """Return the cells of the row that a table of this heading starts with `first`."""
        (found,) = [row for title, rows in self.tables if title == heading for row in rows if row and row[0] == first]
        return found


def squeezed(text: str) -> str:
    return " ".join(text.replace("\xa0", " ").replace("\u2060", "").replace("\u200b", "").split())


def decisions(seed: int, *, rare: bool) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    count = 900
    frame = pd.DataFrame({"sex": rng.choice(["F", "M"], count), "team": rng.choice(["a", "R & D", "x|y"], count)})
    chance = np.where(frame["sex"] == "F", 0.004, 0.3) if rare else rng.choice([0.2, 0.3, 0.5], count)
    frame["y"] = np.where(rng.random(count) < 0.4, "yes", "no")
    frame["d"] = np.where(rng.random(count) < chance, "yes", "no")
    return frame


def classes(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = decisions(seed, rare=False)
    frame["y"] = rng.choice(["a", "b", "c"], len(frame))
    return frame.assign(d=np.where(rng.random(len(frame)) < 0.7, frame["y"], rng.choice(["a", "b", "c"], len(frame))))


def numbers(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = decisions(seed, rare=False)
    frame["y"] = rng.normal(40, 10, len(frame)).round(2)
    error = rng.normal(0, 3, len(frame)) + np.where(frame["sex"] == "F", 1, 0)
    return frame.assign(d=(frame["y"] + error).round(2))


@pytest.fixture(
    scope="module", params=["plain", "rare", "classes", "numbers"], ids=["decisions", "rare", "classes", "numbers"]
)
def audited(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report of real measurements, judged by limits over groups and over all rows."""
    frames: dict[str, Callable[[], pd.DataFrame]] = {
        "plain": lambda: decisions(1, rare=False),
        "rare": lambda: decisions(2, rare=True),
        "classes": lambda: classes(3),
        "numbers": lambda: numbers(4),
    }
    limits = [
        f'[[limit]]\nmeasurement = "{name}"\nby = "*"\n{bound}\noptional = true\nrationale = "x"\n'
        for name, bound in LIMITS.items()
    ]
    policy = Path(tmp_path_factory.mktemp("policy")) / "policy.toml"
    policy.write_text('name = "ours"\n' + "\n".join(limits), encoding="utf-8")
    return auditkit.audit(
        data=frames[request.param](),
        target="y",
        prediction="d",
        task="regression" if request.param == "numbers" else None,
        sensitive=["sex", "team"],
        policy=str(policy),
        only=("performance", "fairness"),
    )


def of_finding(report: Report, finding: Finding) -> tuple[Measurement, Slice | None]:
    measurement = report.measurement(finding.measurement, finding.by)
    assert measurement is not None
    return measurement, next((part for part in measurement.slices if part.group == finding.group), None)


def test_every_format_says_the_same_sentence(audited: Report) -> None:
    findings = attention(audited)
    assert len(findings) >= 3
    page = Tables(render_html(audited)).text
    summary = squeezed(html.unescape(re.sub(r"\\(.)", r"\1", render_markdown(audited))))
    junit = squeezed(" ".join(ElementTree.fromstring(render_junit(audited)).itertext()))
    results = json.loads(render_sarif(audited))["runs"][0]["results"]
    sarif = [squeezed(result["message"]["text"]) for result in results]
    gitlab = [squeezed(entry["description"]) for entry in json.loads(render_gitlab(audited))]
    github = squeezed(render_annotations(audited).replace("%25", "%"))
    for place, finding in enumerate(findings):
        said = squeezed(finding.message)
        assert said in page
        assert said in summary or place >= 30
        assert said in junit
        assert said in sarif
        assert said in gitlab
        assert said in github or place >= 9


def test_a_sentence_states_the_numbers_of_its_measurement_and_what_each_interval_is(audited: Report) -> None:
    for finding in audited.findings:
        if finding.value is None:
            continue
        measurement, part = of_finding(audited, finding)
        of_number: Measurement | Slice = measurement if part is None else part
        assert of_number.value is not None
        said, unit = finding.message, measurement.unit
        assert number(of_number.value, unit) in said
        own = measurement.pair.interval if part is None and measurement.pair is not None else of_number.interval
        assert own is None or f"({span(own, unit)}, n = " in said
        judged = finding.interval
        if own is None or judged is None or bounds(own, unit) == bounds(judged, unit):
            assert said.count("CI") == (own is not None)
            continue
        names = ("Simultaneous interval: ", "Largest gap between any two groups: ", "Smallest ratio between any two ")
        assert any(name in said for name in names)
        assert f"{span(judged, unit)}. " in said
        if part is None and measurement.pair is not None:
            for hits, of in zip(measurement.pair.successes, measurement.compared_counts or (), strict=True):
                assert f"{number(hits / of, 'rate')} of " in said
                assert f"({hits:,} of {of:,})" in said


def test_the_tables_of_the_page_state_the_digits_of_the_findings(audited: Report) -> None:
    page = Tables(render_html(audited))
    checked = 0
    for finding in audited.findings:
        if finding.measurement != "fairness.impact_ratio" or finding.group is None or finding.value is None:
            continue
        measurement, part = of_finding(audited, finding)
        assert part is not None
        assert part.interval is not None
        heading = f"Selection and impact ratios by {' & '.join(finding.by)}"
        cells = page.row(heading, finding.group.text)
        stated = (number(finding.value, measurement.unit), bounds(part.interval, measurement.unit))
        assert [cells[5], cells[6]] == list(stated)
        assert all(text in finding.message for text in stated)
        rate = audited.measurement("fairness.selection_rate", finding.by)
        assert rate is not None
        (of_group,) = [one for one in rate.slices if one.group == finding.group]
        assert cells[4] == number(of_group.value or 0.0, "rate")
        assert cells[1] == f"{of_group.count:,}"
        checked += 1
    assert checked or audited.measurement("fairness.impact_ratio", ("sex",)) is None
