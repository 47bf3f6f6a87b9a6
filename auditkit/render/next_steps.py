"""What a reader can do about a report: steps in fixed words, the most urgent first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from auditkit.evidence.messages import title
from auditkit.evidence.policy import Verdict
from auditkit.evidence.report import Outcome, Report
from auditkit.render.summary import judged_limits
from auditkit.render.text import counted, shipped_name
from auditkit.render.words import words_of

ACTED_ON: tuple[tuple[Verdict, str], ...] = (("fail", "failed"), ("warn", "warns"))


class Step(NamedTuple):
    """One thing to do: what, how, and the command that does it where there is one."""

    task: str
    how: str
    command: str = ""


def next_steps(report: Report) -> list[Step]:
    """Return what to do about the report: mend, act, settle, examine, then write down."""
    steps = [
        Step(f"Mend the auditor {outcome.auditor}.", "It crashed, so the audit is incomplete; its card says where.")
        for outcome in report.outcomes
        if outcome.error is not None
    ]
    judged = judged_limits(report)
    crashed = {outcome.auditor for outcome in report.outcomes if outcome.error is not None}
    required = [title(one.limit.measurement) for one in judged if one.verdict == "not_run" and not one.limit.optional]
    if required and not crashed:
        steps.append(
            Step(f"Measure what the policy requires: {_listed(required)}.", "Not examined says what it lacks.")
        )
    acted: set[str] = set()
    for verdict, word in ACTED_ON:
        for outcome in report.outcomes:
            if outcome.auditor not in acted and any(finding.verdict == verdict for finding in outcome.findings):
                acted.add(outcome.auditor)
                remedy = words_of(outcome.auditor, report.subject.schema_.get("task")).remedy
                name = outcome.auditor.replace("_", " ").capitalize()
                steps.append(Step(f"Act on what {word}: {name}.", remedy, _command(report, outcome)))
    unsettled = [title(one.limit.measurement) for one in judged if one.verdict == "inconclusive"]
    if unsettled:
        how = (
            "Each finding says how many records of which group would probably be enough, or that this data set cannot "
            "settle it. Until then these limits remain unproven."
        )
        steps.append(Step(f"Audit more rows for {_listed(unsettled)}.", how))
    steps += _waivers(report)
    reasons: dict[str, list[str]] = {}
    for outcome in report.outcomes:
        if outcome.reason is not None and outcome.remedy is not None:
            reasons.setdefault(outcome.reason, []).append(outcome.auditor.replace("_", " ").capitalize())
    steps += [Step(f"Examine more: {_listed(names)}.", f"Not run: {reason}.") for reason, names in reasons.items()]
    if not report.subject.sensitive:
        how = "No groups were compared: pass --sensitive COLUMN."
        steps.append(Step("Name the columns whose groups may not be treated differently.", how))
    if report.policy.shipped:
        policy = shipped_name(report.policy)
        how = f"They should be fixed before a run; {policy} was not chosen for this model or its use."
        steps.append(Step("Agree on limits of your own.", how, "auditkit init policy.toml"))
    how = "For each clause of a law or standard, a table names the evidence of this run and what people have to state."
    steps.append(Step("Write down what no audit can know.", how, "auditkit comply results.json --framework eu-ai-act"))
    return steps


def _command(report: Report, outcome: Outcome) -> str:
    """The command that goes about it, for a packed model of auditkit's own architectures."""
    model, training, data = report.subject.model, report.subject.training_dataset, report.subject.dataset
    if model is None or model.path is None or model.kind != "auditkit" or ":" in (model.architecture or ":"):
        return ""
    words = [shlex.quote(model.path), "--train-dataset", shlex.quote((training and training.path) or "TRAIN.csv")]
    if outcome.auditor == "leakage":
        return " ".join(["auditkit retrain", *words, "--epsilon 3"])
    broken = {column for finding in outcome.findings if finding.verdict in ("fail", "warn") for column in finding.by}
    column = next((name for name in report.subject.sensitive if name in broken), None)
    binary_network = model.architecture == "mlp" and report.subject.schema_.get("task") == "binary"
    if outcome.auditor == "fairness" and column is not None and binary_network:
        more = ["--dataset", shlex.quote(data.path or "DATA.csv"), "--sensitive", shlex.quote(column)]
        return " ".join(["auditkit mitigate", *words, *more, "--out mitigated.pt"])
    return ""


def _waivers(report: Report) -> list[Step]:
    used = {finding.waiver for finding in report.findings if finding.verdict == "waived"}
    ends = [waiver.expires for waiver in report.waivers if waiver.id in used]
    steps = []
    if ends:
        count = sum(finding.verdict == "waived" for finding in report.findings)
        what = f"Settle what is waived by {min(ends).isoformat()}."
        steps.append(Step(what, f"Without its waiver, {counted(count, 'finding')} would not pass."))
    if report.unused_waivers:
        names = _listed([waiver.id for waiver in report.unused_waivers])
        steps.append(Step(f"Remove waivers: {names}.", "They cover nothing that needs one."))
    return steps


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
