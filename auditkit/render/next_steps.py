"""What a reader can do about a report: steps in fixed words, the most urgent first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from auditkit.evidence.messages import Message, title
from auditkit.evidence.report import Outcome, Report
from auditkit.render.summary import judged_limits
from auditkit.render.text import day, shipped_name
from auditkit.render.words_by_task import words_of

DEVELOPER = Message("Model developer")
OWNER = Message("System owner")
"""Who a step is for."""


class Step(NamedTuple):
    """One thing to do: what, how, and the command that does it where there is one; `who` has the role to do it."""

    task: str
    how: str
    command: str = ""
    who: Message = DEVELOPER


def next_steps(report: Report) -> list[Step]:
    """Return what to do about the report: mend, act, settle, examine, then document."""
    return [
        *_mend(report),
        *_act(report),
        *_settle(report),
        *_waivers(report),
        *_examine(report),
        *_agree(report),
    ]


def _mend(report: Report) -> list[Step]:
    crashed = [outcome.auditor for outcome in report.outcomes if outcome.error is not None]
    steps = [
        Step(
            Message("Repair the auditor {name}.", name=name),
            Message("It crashed, so the audit is incomplete. Its part of the annex shows the error."),
        )
        for name in crashed
    ]
    judged = judged_limits(report)
    required = [title(one.limit.measurement) for one in judged if one.verdict == "not_run" and not one.limit.optional]
    if required and not crashed:
        task = Message("Measure what the policy requires: {measurements}.", measurements=_once(required))
        steps.append(Step(task, Message("The section “What was not examined, and why” states what is missing.")))
    return steps


def _act(report: Report) -> list[Step]:
    acted: dict[str, Step] = {}
    for verdict in ("fail", "warn"):
        for outcome in report.outcomes:
            exceeded = _once([title(one.measurement) for one in outcome.findings if one.verdict == verdict])
            if outcome.auditor in acted or not exceeded:
                continue
            task = Message("Act on the exceeded limits: {measurements}.", measurements=exceeded)
            if verdict == "warn":
                task = Message("Act on the warnings: {measurements}.", measurements=exceeded)
            remedy = words_of(outcome.auditor, report.subject.schema_.get("task")).remedy
            acted[outcome.auditor] = Step(task, remedy, _command(report, outcome))
    return list(acted.values())


def _settle(report: Report) -> list[Step]:
    judged = judged_limits(report)
    unsettled = _once(
        [title(one.limit.measurement) for one in judged if one.verdict == "inconclusive" and not one.held_by]
    )
    if not unsettled:
        return []
    how = Message(
        "Each finding says how many more records, or what else it counts, of which group would probably be enough, or "
        "that this data set cannot settle it. Until then these limits remain unproven."
    )
    return [Step(Message("Audit more data for: {measurements}.", measurements=unsettled), how)]


def _examine(report: Report) -> list[Step]:
    reasons: dict[str, list[Message]] = {}
    for outcome in report.outcomes:
        if outcome.reason is not None and outcome.remedy is not None:
            reasons.setdefault(outcome.reason, []).append(title(f".{outcome.auditor}"))
    steps = [
        Step(Message("Examine more: {names}.", names=names), Message("Not run: {reason}.", reason=reason))
        for reason, names in reasons.items()
    ]
    if not report.subject.sensitive:
        task = Message("Name the columns whose groups must not be treated differently.")
        steps.append(Step(task, Message("No groups were compared: pass --sensitive COLUMN."), who=OWNER))
    return steps


def _agree(report: Report) -> list[Step]:
    steps = []
    if report.policy.shipped:
        how = Message(
            "Limits should be agreed before an audit; {policy} was not chosen for this model or its use.",
            policy=shipped_name(report.policy),
        )
        steps.append(Step(Message("Agree on your own limits."), how, "auditkit init policy.toml", OWNER))
    how = Message(
        "For each clause of a law or standard, a table lists the evidence of this run and the statements that are "
        "needed from your organisation."
    )
    command = "auditkit comply results.json --framework eu-ai-act"
    return [*steps, Step(Message("Document what an audit cannot measure."), how, command, OWNER)]


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
    selects = any(one.id == "fairness.selection_rate" and one.by == (column,) for one in outcome.measurements)
    if column is not None and selects and model.architecture == "mlp":
        more = ["--dataset", shlex.quote(data.path or "DATA.csv"), "--sensitive", shlex.quote(column)]
        return " ".join(["auditkit mitigate", *words, *more, "--out mitigated.pt"])
    return ""


def _waivers(report: Report) -> list[Step]:
    used = {finding.waiver for finding in report.findings if finding.verdict == "waived"}
    ends = [waiver.expires for waiver in report.waivers if waiver.id in used]
    steps = []
    if ends:
        how = Message.plural(
            "Without the waiver, {n} finding would fail.",
            "Without the waivers, {n} findings would fail.",
            sum(finding.verdict == "waived" for finding in report.findings),
        )
        task = Message("Resolve the waived findings by {day}.", day=day(min(ends)))
        steps.append(Step(task, how, who=OWNER))
    if report.unused_waivers:
        task = Message("Remove waivers: {names}.", names=[waiver.id for waiver in report.unused_waivers])
        steps.append(Step(task, Message("No finding needs them."), who=OWNER))
    return steps


def _once(names: Sequence[Message]) -> list[Message]:
    return list(dict.fromkeys(names))
