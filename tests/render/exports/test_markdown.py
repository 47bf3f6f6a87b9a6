from __future__ import annotations

import re
from collections.abc import Callable

from auditkit.evidence.report import Outcome, Report
from auditkit.render.exports.markdown import FINDINGS_SHOWN, escape, render_markdown
from auditkit.render.summary import attention


def test_it_opens_with_the_verdict_and_ends_with_where_it_came_from(report: Report) -> None:
    lines = render_markdown(report).splitlines()
    assert lines[0] == "## 🛑 Incomplete: audit of income-mlp"
    assert lines[-1].startswith("<sub>model sha256 9f86d081884c · data data/adult-test.csv, 16,281 rows")


def test_the_findings_stand_in_one_table_worst_first(report: Report) -> None:
    rows = [line for line in render_markdown(report).splitlines() if line.startswith("| ") and "|---" not in line][1:]
    assert len(rows) == len(attention(report))
    assert rows[0].startswith("| 🛑 Error | Rate was not measured")
    assert rows[1].startswith("| ❌ Fail | Selected: Female against Male (sex). Gap 17.0 points")
    assert all(row.count("|") - row.count("\\|") == 3 for row in rows)


def test_hostile_text_is_escaped(hostile: dict[str, str], build_report: Callable[..., Report]) -> None:
    outcomes = tuple(Outcome(auditor=name, version="1", error=name) for name in hostile.values())
    text = render_markdown(build_report(outcomes=outcomes))
    outside = text.replace("<sub>", "").replace("</sub>", "")
    assert "<" not in outside
    assert "\u202e" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "@everyone" not in text
    assert not any(line.startswith("# ") for line in text.splitlines())


def test_a_pipe_or_a_line_break_cannot_leave_its_cell() -> None:
    assert escape("a|b\nc\\|d") == "a\\|b c\\\\\\|d"


def test_the_default_policy_is_called_what_it_is(report: Report, build_report: Callable[..., Report]) -> None:
    shipped = report.policy.model_copy(update={"source": "shipped with auditkit"})
    assert "the default policy shipped with auditkit" in render_markdown(build_report(policy=shipped))


def test_a_long_list_is_cut_and_says_so(report: Report, build_report: Callable[..., Report]) -> None:
    failing = next(outcome for outcome in report.outcomes if outcome.auditor == "fairness")
    findings = tuple(finding for finding in failing.findings if finding.verdict == "fail") * (FINDINGS_SHOWN + 5)
    text = render_markdown(build_report(outcomes=(failing.model_copy(update={"findings": findings}),)))
    assert "and 5 more findings, in report.html" in text
