"""What to do next: one step for each kind of trouble, the most urgent first, and a command only where it would run."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import date

import pytest

from auditkit.evidence.judging import judge, unmeasured
from auditkit.evidence.measurement import Interval, Measurement
from auditkit.evidence.policy import Limit, Policy
from auditkit.evidence.report import Outcome, Report
from auditkit.evidence.waivers import Waiver, waive
from auditkit.render.next_steps import next_steps
from auditkit.render.words import AUDITORS

Build = Callable[..., Report]
GAP = "fairness.demographic_parity_difference"


def limit(measurement: str = GAP, **more: object) -> Limit:
    return Limit(**{"measurement": measurement, "by": "*", "at_most": 0.1, "rationale": "r", **more})


def measured(value: float, by: tuple[str, ...] = ("sex",), half: float = 0.01, id: str = GAP) -> Measurement:
    interval = Interval(low=value - half, high=value + half, level=0.95, method="m")
    return Measurement(
        id=id, by=by, value=value, unit="rate_difference", better="lower", count=9, interval=interval, definition="s"
    )


def report_of(build: Build, *limits: Limit, measurements: list[Measurement], **more: object) -> Report:
    policy = Policy(name="p", source="p.toml", sha256="0" * 64, limits=limits)
    names = dict.fromkeys(one.measurement.partition(".")[0] for one in limits)
    outcomes = []
    for name in names:
        own = [one for one in limits if one.measurement.startswith(f"{name}.")]
        findings = [f for one in own for f in judge(one, measurements) or [unmeasured(one, "why not")]]
        outcomes.append(Outcome(auditor=name, version="1", findings=tuple(findings)))
    return build(**{"policy": policy, "outcomes": tuple(outcomes), **more})


def tasks(report: Report) -> list[str]:
    return [step.task for step in next_steps(report)]


LAST = "Document what an audit cannot measure."


def test_where_all_is_well_only_what_no_audit_knows_is_left(build_report: Build) -> None:
    assert tasks(report_of(build_report, limit(), measurements=[measured(0.02)])) == [LAST]


def test_what_failed_comes_before_what_is_open_and_before_what_warns_each_auditor_once(build_report: Build) -> None:
    report = report_of(
        build_report,
        limit("robustness.loss", severity="warn"),
        limit("leakage.gap", severity="warn"),
        limit("leakage.other"),
        limit("performance.error"),
        measurements=[
            measured(0.3, id="robustness.loss"),
            measured(0.3, id="leakage.gap"),
            measured(0.3, id="leakage.other"),
            measured(0.1, half=0.05, id="performance.error"),
        ],
    )
    assert tasks(report) == [
        "Act on the exceeded limits: Other.",
        "Act on the warnings: Loss.",
        "Audit more data for: Error.",
        LAST,
    ]
    assert [step.how for step in next_steps(report)][:2] == [AUDITORS["leakage"].remedy, AUDITORS["robustness"].remedy]


def test_a_crash_comes_first_and_a_required_limit_is_asked_for_where_nothing_crashed(build_report: Build) -> None:
    required = report_of(build_report, limit("a.b"), measurements=[])
    assert tasks(required) == ["Measure what the policy requires: B.", LAST]
    crashed = required.model_copy(
        update={"outcomes": tuple(o.model_copy(update={"error": "KeyError: 'x'"}) for o in required.outcomes)}
    )
    assert tasks(crashed) == ["Repair the auditor a.", LAST]
    assert tasks(report_of(build_report, limit("a.b", optional=True), measurements=[])) == [LAST]


def test_waivers_in_use_are_to_be_settled_and_others_removed(build_report: Build) -> None:
    report = report_of(build_report, limit(), measurements=[measured(0.3)])
    words = {"measurement": GAP, "owner": "o", "approver": "a", "statement": "s"}
    used = Waiver(id="used", by="*", expires=date(2027, 3, 1), **words)
    idle = Waiver(id="idle", by=("race",), expires=date(2027, 1, 1), **words)
    outcomes = tuple(
        outcome.model_copy(
            update={"findings": tuple(waive(f, (used, idle), None, date(2027, 2, 1)) for f in outcome.findings)}
        )
        for outcome in report.outcomes
    )
    report = report.model_copy(update={"outcomes": outcomes, "waivers": (used, idle)})
    assert tasks(report) == ["Resolve the waived findings by 1 March 2027.", "Remove waivers: idle.", LAST]


def test_what_more_options_would_examine_is_said_once_for_all_that_need_them(build_report: Build) -> None:
    reason = "no training data; pass --train-dataset FILE"
    remedy = "--train-dataset FILE"
    outcomes = [Outcome(auditor=name, version="1", reason=reason, remedy=remedy) for name in ("leakage", "privacy")]
    outcomes.append(Outcome(auditor="identity_terms", version="1", reason="the model reads no texts"))
    report = build_report(outcomes=tuple(outcomes))
    (step,) = [step for step in next_steps(report) if step.task.startswith("Examine")]
    assert step[:3] == ("Examine more: Leakage, Privacy.", f"Not run: {reason}.", "")


@pytest.mark.parametrize(
    ("model", "rates", "by", "command"),
    [
        ({"kind": "auditkit", "architecture": "mlp"}, ("sex",), ("sex",), True),
        ({"kind": "auditkit", "architecture": "mlp"}, ("sex", "class"), ("sex",), False),
        ({"kind": "auditkit", "architecture": "my.module:net"}, ("sex",), ("sex",), False),
        ({"kind": "weights", "architecture": "mlp"}, ("sex",), ("sex",), False),
        ({"kind": "auditkit", "architecture": "mlp"}, ("sex",), ("not sensitive",), False),
        (None, ("sex",), ("sex",), False),
    ],
)
def test_a_command_is_given_where_it_would_run_and_quotes_what_the_shell_would_read(
    build_report: Build, model: dict[str, str] | None, rates: tuple[str, ...], by: tuple[str, ...], command: bool
) -> None:
    report = report_of(build_report, limit(), measurements=[measured(0.3, by)])
    subject = report.subject
    assert subject.model is not None
    dataset = subject.dataset.model_copy(update={"path": "$(rm) it.csv"})
    made = None if model is None else subject.model.model_copy(update={**model, "path": "a b.pt"})
    update = {"model": made, "dataset": dataset, "sensitive": ("sex",), "training_dataset": None}
    (fairness,) = report.outcomes
    selection = measured(0.5, rates, id="fairness.selection_rate")  # of two classes, or of each class
    outcomes = (fairness.model_copy(update={"measurements": (selection,)}),)
    said = next_steps(report.model_copy(update={"subject": subject.model_copy(update=update), "outcomes": outcomes}))[
        0
    ].command
    expected = "auditkit mitigate|a b.pt|--train-dataset|TRAIN.csv|--dataset|$(rm) it.csv|--sensitive|sex|--out"
    assert ("|".join(shlex.split(said)).replace("auditkit|", "auditkit ").startswith(expected)) is command
    assert bool(said) is command


def test_every_shipped_auditor_says_what_to_do() -> None:
    assert all(words.remedy.endswith(".") for words in AUDITORS.values())
