"""A report judged anew: by another policy, against a baseline, and never with a limit lost."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from sample import build_report

from auditkit.errors import InputError, PolicyError
from auditkit.evidence.gate import Baseline, check_policy_fits, judge_report, read_baseline, same_rows
from auditkit.evidence.policy import PROFILES, default_policy, parse_policy, profile, profile_text, read_policy
from auditkit.evidence.report import Report, read_report
from auditkit.evidence.waivers import parse_waivers

ABSENT = '[[limit]]\nmeasurement = "spelling.error_rate"\nat_most = 1\nrationale = "r"\n'
REGRESSION = '[[limit]]\nmeasurement = "performance.accuracy"\nregression_at_most = 0.01\nrationale = "r"\n'
WAIVER = """[[waiver]]
id = "W"
measurement = "fairness.demographic_parity_difference"
by = "*"
owner = "o"
approver = "a"
statement = "s"
expires = 2026-12-31
"""


@pytest.fixture
def report() -> Report:
    """The sample without the auditor that crashed."""
    whole: Report = build_report()
    kept = tuple(one for one in whole.outcomes if one.error is None)
    limits = tuple(limit for limit in whole.policy.limits if not limit.measurement.startswith("toxicity."))
    policy = whole.policy.model_copy(update={"limits": limits})
    return whole.model_copy(update={"outcomes": kept, "policy": policy})


def test_judging_again_by_the_same_policy_changes_nothing(report: Report) -> None:
    once = judge_report(report, default_policy(), today=date(2026, 11, 22))
    assert judge_report(once, default_policy(), today=date(2026, 11, 22)) == once
    there_and_back = judge_report(judge_report(once, parse_policy(ABSENT, source="p")), default_policy())
    assert there_and_back.outcomes == once.outcomes


def test_a_judged_report_reads_back(report: Report, tmp_path: Path) -> None:
    waivers = parse_waivers(WAIVER, source="w.toml")
    (tmp_path / "main.json").write_text(report.to_json(), encoding="utf-8")
    judged = judge_report(
        report, default_policy(), baseline=read_baseline(tmp_path / "main.json"), waivers=waivers, strict=True
    )
    (tmp_path / "results.json").write_text(judged.to_json(), encoding="utf-8")
    assert read_report(tmp_path / "results.json") == judged
    assert judged.baseline is not None
    assert judged.baseline.path == str(tmp_path / "main.json")


def test_a_limit_on_an_auditor_that_was_not_there_is_not_lost(report: Report) -> None:
    policy = parse_policy(ABSENT, source="p")
    check_policy_fits(policy, report)
    judged = judge_report(report, policy)
    assert (judged.verdict, judged.exit_code) == ("error", 3)
    assert "this auditor was not part of the audit" in judged.findings[0].message
    optional = judge_report(report, parse_policy(ABSENT + "optional = true", source="p"))
    assert (optional.verdict, optional.exit_code) == ("not_run", 5)


def test_a_measurement_that_no_auditor_of_the_audit_declares_is_refused(report: Report) -> None:
    declared = report.model_copy(
        update={
            "outcomes": tuple(
                outcome.model_copy(update={"measures": tuple({m.id for m in outcome.measurements})})
                for outcome in report.outcomes
            )
        }
    )
    misspelt = parse_policy(REGRESSION.replace("accuracy", "acuracy"), source="p")
    check_policy_fits(misspelt, report)  # nothing declared: it may be right
    assert judge_report(report, misspelt).exit_code == 3
    with pytest.raises(PolicyError, match=r"line 1: unknown measurement .*did you mean 'performance.accuracy'"):
        check_policy_fits(misspelt, declared)


def test_an_expired_waiver_turns_the_exit_code(report: Report) -> None:
    policy = parse_policy(
        '[[limit]]\nmeasurement = "fairness.demographic_parity_difference"\nby = "*"\nat_most = 0.1\nrationale = "r"',
        source="p",
    )
    waivers = parse_waivers(WAIVER, source="w")
    assert judge_report(report, policy).exit_code == 1
    assert judge_report(report, policy, waivers=waivers, today=date(2026, 12, 31)).exit_code == 0
    assert judge_report(report, policy, waivers=waivers, today=date(2027, 1, 1)).exit_code == 1


def test_unused_waivers_are_told(report: Report) -> None:
    policy = parse_policy(REGRESSION.replace("regression_at_most = 0.01", "at_least = 0.1"), source="p")
    judged = judge_report(report, policy, waivers=parse_waivers(WAIVER, source="w"))
    assert [waiver.id for waiver in judged.unused_waivers] == ["W"]
    assert judged.exit_code == 0


def test_pairs_need_hashes_that_agree(report: Report) -> None:
    def rows(file: str | None, digest: str | None) -> Report:
        dataset = report.subject.dataset.model_copy(update={"sha256": file, "rows_sha256": digest})
        return report.model_copy(update={"subject": report.subject.model_copy(update={"dataset": dataset})})

    assert same_rows(rows("a", "b"), rows("a", "b"))
    for one, other in (
        (("a", "b"), ("a", "c")),
        (("a", "b"), ("x", "b")),
        ((None, "b"), (None, "b")),
        (("a", None),) * 2,
    ):
        assert not same_rows(rows(*one), rows(*other))


def test_a_baseline_of_another_task_is_refused(report: Report) -> None:
    schema = {**report.subject.schema_, "classes": ["x", "y"]}
    subject = report.subject.model_copy(update={"schema_": schema})
    other = Baseline(report.model_copy(update={"subject": subject}), "main.json", "0" * 64)
    with pytest.raises(InputError, match=r"baseline main.json: its classes is \['x', 'y'\]"):
        judge_report(report, default_policy(), baseline=other)


def test_a_baseline_that_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"schema_version": 99}))
    with pytest.raises(InputError, match="schema_version must be 1 or 2, got 99"):
        read_baseline(tmp_path / "x.json")


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_reads_and_explains_itself(name: str) -> None:
    policy = profile(name)
    assert policy.shipped
    assert policy.limits
    assert policy.name.startswith(name) or name == "default"
    for limit in policy.limits:
        assert limit.rationale
        assert limit.clause
    assert read_policy(name) == policy


def test_ll144_has_no_pass_mark() -> None:
    assert all(limit.severity == "warn" for limit in profile("ll144").limits)
    assert "no pass mark" in profile("ll144").name


def test_a_file_wins_over_the_profile_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ll144").write_text('name = "ours"')
    assert read_policy("ll144").name == "ours"


def test_an_unknown_profile_names_the_closest() -> None:
    with pytest.raises(PolicyError, match=r"unknown profile 'four-fifth' \(did you mean 'four-fifths'\?\)"):
        profile_text("four-fifth")
    with pytest.raises(PolicyError, match="name a profile: default, eu-high-risk"):
        read_policy("four-fifth")
