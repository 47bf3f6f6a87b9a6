"""FACTS 13.12: what people write into policies and waivers is read as they meant it, or refused with its line."""

from __future__ import annotations

import re

import pytest

from auditkit.cli import call
from auditkit.errors import InputError, PolicyError
from auditkit.evidence.gate import Baseline, judge_report, unlike
from auditkit.evidence.policy import parse_policy
from auditkit.evidence.records import SamplingRecord
from auditkit.evidence.report import Report
from auditkit.evidence.waivers import parse_waivers
from auditkit.render.exports.markdown import escape
from auditkit.render.html.report import render_html

LIMIT = '[[limit]]\nmeasurement = "performance.accuracy"\nat_least = 0.5\nrationale = "r"\n'
WAIVER = (
    '[[waiver]]\nid = "w"\nmeasurement = "m.x"\nowner = "a"\napprover = "b"\nstatement = "s"\nexpires = 2027-01-31\n'
)


@pytest.mark.parametrize(
    "expires",
    [
        "2027-01-31T00:00:00Z", "2027-01-31T23:59:59+14:00", "2027-01-31T00:00:00", "20270131", "1", "1e9", "true",
        '"2027-01-31T00:00:00"', '"1800000000"', '"tomorrow"', "00:00:00", "[2027-01-31]",
    ],
)  # fmt: skip
def test_a_waiver_expires_on_a_plain_date(expires: str) -> None:
    assert parse_waivers(WAIVER, source="w")[0].expires.isoformat() == "2027-01-31"
    assert parse_waivers(WAIVER.replace("2027-01-31", '"2027-01-31"'), source="w")
    with pytest.raises(PolicyError, match="waivers w, line 7: expires: "):
        parse_waivers(WAIVER.replace("2027-01-31", expires), source="w")


@pytest.mark.parametrize("key", ["at_least", "at_most", "regression_at_most", "warn_at", "min_count", "level"])
@pytest.mark.parametrize("value", ["true", "false"])
def test_a_boolean_is_no_number(key: str, value: str) -> None:
    text = LIMIT.replace("at_least = 0.5", f"at_least = 0.5\n{key} = {value}")
    text = text.replace("at_least = 0.5\n", "") if "most" in key or key == "at_least" else text
    with pytest.raises(PolicyError, match=r"must be a number, not true or false"):
        parse_policy(text, source="p")


@pytest.mark.parametrize("blank", ["", " ", "\\t", "\\n \\u00a0"])
def test_a_reason_says_something(blank: str) -> None:
    with pytest.raises(PolicyError, match="policy p, line 4: rationale: must not be blank"):
        parse_policy(LIMIT.replace('"r"', f'"{blank}"'), source="p")
    for key in ("id", "owner", "approver", "statement"):
        line = f'{key} = "{blank}"'
        text = re.sub(f'{key} = ".*"', line.replace("\\", "\\\\"), WAIVER)
        with pytest.raises(PolicyError, match=f"{key}: must not be blank"):
            parse_waivers(text, source="w")


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/x",
        "HTTP://e.x",
        "www.evil.example",
        "ftp://e.x",
        "mailto:a@b.c",
        "a@b.example",
        "xmpp:a@b",
    ],
)
def test_an_address_is_text_in_markdown(text: str) -> None:
    made = escape(f"see {text}")
    linked = r"(?i)(https?://|ftp://|www\.|mailto:|xmpp:|[\w.+-]+@[\w-]+\.\w)"  # what GitHub makes a link of
    assert re.search(linked, f"see {text}") or "@" in text
    assert not re.search(linked, made)
    assert made.replace("\u200b", "").replace("\\", "") == f"see {text}"


def named(report: Report, model: str | None = None, data: str | None = None, weight: str | None = None) -> Baseline:
    subject = report.subject
    assert subject.model is not None
    record = subject.model.model_copy(update={"name": model or subject.model.name})
    rows = subject.dataset.model_copy(update={"path": data or subject.dataset.path})
    sampling = weight and SamplingRecord(weight=weight, row_count=9, effective_row_count=8.0)
    changed = subject.model_copy(update={"model": record, "dataset": rows, "sampling": sampling})
    other = report.model_copy(update={"subject": changed})
    return Baseline(other, "b.json", "0" * 64)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"model": "another"}, "it is of another model (another, not income-mlp)"),
        ({"weight": "survey_weight"}, "its rows are weighted by survey_weight, not unweighted"),
        ({"data": "/elsewhere/others.csv"}, "it is of another data set (others.csv, not adult-test.csv)"),
        (
            {"model": "another", "data": "o.csv"},
            "another model (another, not income-mlp) and it is of another data set",
        ),
    ],
)
def test_a_baseline_of_something_else_is_said_and_refused_under_strict(
    other: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from sample import build_report

    from auditkit import terminal

    report = build_report()
    judged = judge_report(report, report.policy, baseline=named(report, **other))
    assert said in str(unlike(judged, judged.baseline))
    terminal.conclude_gate(judged)
    assert f"Check the baseline: {str(unlike(judged, judged.baseline))[:40]}" in capsys.readouterr().out
    header = render_html(judged).partition("</header>")[0]
    assert f"judged against: {unlike(judged, judged.baseline)}." in header
    assert "检查" in render_html(judged, "zh").partition("</header>")[0]
    with pytest.raises(InputError, match="pass --other-baseline if that is meant"):
        judge_report(report, report.policy, baseline=named(report, **other), strict=True)
    allowed = judge_report(report, report.policy, baseline=named(report, **other), strict=True, other_baseline=True)
    assert allowed.baseline is not None


def test_a_baseline_of_the_same_is_no_question() -> None:
    from sample import build_report

    report = build_report()
    moved = named(report, data="/another/folder/adult-test.csv")
    judged = judge_report(report, report.policy, baseline=moved, strict=True)
    assert unlike(judged, judged.baseline) is None


@pytest.mark.parametrize("epsilon", [["1e300"], ["nan"], ["0"], ["3", "3"], ["3", "3.0"]])
def test_budgets_are_refused_before_anything_is_read(epsilon: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    options = [word for value in epsilon for word in ("--epsilon", value)]
    assert call(["run", "none.pt", "--dataset", "none.csv", "--train-dataset", "none.csv", *options]) == 2
    err = capsys.readouterr().err
    assert "epsilon" in err
    assert err.count("\n") == 1
