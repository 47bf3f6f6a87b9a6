"""The state of each clause of a framework, given a report and what people stated; never a legal conclusion."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Literal

from auditkit.compliance.facts import Facts, plain_answer, words
from auditkit.compliance.framework import Clause, Framework, Part
from auditkit.compliance.impact import ImpactTables, impact_tables
from auditkit.evidence.judging import RANK
from auditkit.evidence.measurement import Facts as FactsExhibit
from auditkit.evidence.measurement import Group, Interval, Measurement, Record, Unit, shown
from auditkit.evidence.messages import Message, Text, in_state, sentences, title
from auditkit.evidence.policy import SHIPPED, Finding, Verdict
from auditkit.evidence.records import DatasetRecord
from auditkit.evidence.report import Report

State = Literal["evidenced", "partial", "human input required", "not applicable"]
"""`evidenced`: the run holds all that this clause is mapped to, and people stated the rest. `partial`: some of it.
`human input required`: nothing yet. None of them says that a duty is met; a number that fails is evidence too."""

STATES: tuple[State, ...] = ("evidenced", "partial", "human input required", "not applicable")


FOUND: dict[str, Message] = {
    "error": Message("in error"),
    "fail": Message("exceeded"),
    "warn": Message("with a warning"),
    "inconclusive": Message("inconclusive"),
    "not_run": Message("not judged"),
    "waived": Message("waived"),
    "pass": Message("met"),
}
"""What is said of findings beside how many there are, by their verdict."""


EXHIBITS = {"privacy_ledger": Message("Privacy ledger")}
"""The names of exhibits that frameworks ask for, by their ids."""


class Item(Record):
    """One piece of evidence: a number of the report or a statement in it, and where it stands.

    `pointer` is a JSON pointer into results.json; `outcome` the number of the auditor's card in report.html.
    `verdict` is the worst that a limit said of it, None where no limit judges it.
    """

    name: Text
    by: tuple[str, ...] = ()
    group: Group | None = None
    value: float | None = None
    unit: Unit | None = None
    text: Text = ""
    interval: Interval | None = None
    count: int | None = None
    slices: tuple[Item, ...] = ()
    verdict: Verdict | None = None
    pointer: str
    outcome: int | None = None


class Statement(Record):
    """What people stated under one key of facts.toml; `text` is None where they did not."""

    key: str
    text: str | None


class Assessed(Record):
    """One clause: its state, the evidence that the run holds, what people stated, and what is missing."""

    clause: Clause
    state: State
    items: tuple[Item, ...]
    statements: tuple[Statement, ...]
    missing: tuple[Text, ...]


class Assessment(Record):
    """A framework held against one report."""

    framework: Framework
    facts: Facts
    clauses: tuple[Assessed, ...]
    impact: ImpactTables | None

    def counts(self) -> dict[State, int]:
        """How many clauses are in each state."""
        return {state: sum(one.state == state for one in self.clauses) for state in STATES}

    def unstated(self) -> tuple[str, ...]:
        """Return the keys of facts.toml that clauses ask for and nobody stated, in the order of the clauses."""
        asked = [one for clause in self.clauses for one in clause.statements]
        return tuple(dict.fromkeys(one.key for one in asked if one.text is None))

    def waiting_count(self) -> int:
        """Return how many clauses lack a statement of people."""
        return sum(any(one.text is None for one in clause.statements) for clause in self.clauses)


def assess(report: Report, framework: Framework, facts: Facts | None = None) -> Assessment:
    """Hold `report`, and what people stated in `facts`, against the clauses of `framework`.

    Raises:
        InputError: `facts` names a column or category that the report does not have (Local Law 144).
    """
    facts = facts or Facts()
    task = report.subject.schema_.get("task")
    applies = applicability(framework, facts) != "no" and (not framework.only_tasks or task in framework.only_tasks)
    impact = impact_tables(report, facts) if any(clause.impact for clause in framework.clause) else None
    return Assessment(
        framework=framework,
        facts=facts,
        clauses=tuple(
            _assess(clause, report, facts, impact) if applies else _not_applicable(clause, framework, facts, task)
            for clause in framework.clause
        ),
        impact=impact,
    )


def applicability(framework: Framework, facts: Facts) -> Literal["yes", "no", "asked", "not asked"]:
    """Return what people answered to the question on which it turns whether the text applies."""
    if not framework.question:
        return "not asked"
    return plain_answer(facts.answer(framework.question_fact)) or "asked"


def _not_applicable(clause: Clause, framework: Framework, facts: Facts, task: object) -> Assessed:
    if applicability(framework, facts) == "no":
        said = Message("Stated in facts.toml ({key}): it does not apply.", key=framework.question_fact)
        return Assessed(clause=clause, state="not applicable", items=(), statements=(), missing=(said,))
    why = Message(
        "Applies only to models of the task {tasks}; the task of this model is {task}.",
        tasks=framework.only_tasks,
        task=str(task or "not recorded"),
    )
    return Assessed(clause=clause, state="not applicable", items=(), statements=(), missing=(why,))


def _assess(clause: Clause, report: Report, facts: Facts, impact: ImpactTables | None) -> Assessed:
    items: list[Item] = []
    missing: list[str] = []
    for part in clause.record:
        found, lacking = _part(part, report, facts, impact)
        items += found
        missing += lacking
    for found, lacking in (_measurements(clause, report, impact), _exhibits(clause, report)):
        items += [item for item in found if item not in items]
        missing += lacking
    if clause.impact:
        missing += [] if impact is None else impact.missing(clause.impact)
    statements = tuple(Statement(key=key, text=facts.answer(key)) for key in clause.facts)
    unstated = [one for one in statements if one.text is None]
    unmet = list(missing)
    missing += [Message("Your input needed: {words}", words=words(one.key)) for one in unstated]
    if items:
        whole = not unmet and not unstated and not clause.beyond
        state: State = "evidenced" if whole else "partial"
    else:
        # A statement alone is no evidence; it is part of what the clause asks.
        state = "partial" if len(unstated) < len(statements) else "human input required"
    return Assessed(clause=clause, state=state, items=tuple(items), statements=statements, missing=tuple(missing))


def _measurements(clause: Clause, report: Report, impact: ImpactTables | None) -> Evidenced:
    """Return the measurements that a clause is mapped to, and those that the run lacks."""
    items: list[Item] = []
    missing: list[str] = []
    for pattern in clause.measurements:
        either = [item for one in pattern.split("|") for item in _measured(report, one)]
        named = [item for item in either if _of_roles(item, clause, impact)]
        items += [item for item in named if item not in items]
        if not named:
            first = pattern.partition("|")[0]
            missing.append(
                Message(
                    "Not measured in this run: {measurement}{why_not}",
                    measurement=_pattern_words(first),
                    why_not=_why_not(report, first),
                )
            )
    return items, missing


def _exhibits(clause: Clause, report: Report) -> Evidenced:
    """Return the statements of exhibits that a clause is mapped to, and those that the run lacks."""
    items: list[Item] = []
    missing: list[str] = []
    for pattern in clause.exhibits:
        stated = _exhibited(report, pattern)
        items += [item for item in stated if item not in items]
        if not stated:
            missing.append(
                Message(
                    "Not in this run: {part}{why_not}",
                    part=f"{EXHIBITS[pattern.partition('.')[0]]}: {title(pattern)}",
                    why_not=_why_not(report, "privacy."),
                )
            )
    return items, missing


def _measured(report: Report, pattern: str) -> list[Item]:
    items = []
    for number, outcome in enumerate(report.outcomes):
        for index, measurement in enumerate(outcome.measurements):
            if fnmatchcase(measurement.id, pattern) and _has_value(measurement):
                pointer = f"/outcomes/{number}/measurements/{index}"
                items.append(_item(measurement, outcome.findings, pointer, number + 1))
    return items


def _has_value(measurement: Measurement) -> bool:
    return measurement.value is not None or any(part.value is not None for part in measurement.slices)


def _item(measurement: Measurement, findings: tuple[Finding, ...], pointer: str, outcome: int) -> Item:
    of_it = [one for one in findings if one.measurement == measurement.id and one.by == measurement.by]

    def verdict(group: Group | None, *, whole: bool) -> Verdict | None:
        verdicts = [one.verdict for one in of_it if whole or one.group == group]
        return max(verdicts, key=lambda verdict: RANK[verdict], default=None)

    slices = tuple(
        Item(
            name=measurement.id,
            by=measurement.by,
            group=part.group,
            value=part.value,
            unit=measurement.unit,
            text="" if part.value is not None else part.reason or Message("undefined"),
            interval=part.interval,
            count=part.count,
            verdict=verdict(part.group, whole=False),
            pointer=f"{pointer}/slices/{position}",
            outcome=outcome,
        )
        for position, part in enumerate(measurement.slices)
    )
    return Item(
        name=measurement.id,
        by=measurement.by,
        value=measurement.value,
        unit=measurement.unit,
        interval=measurement.interval,
        count=measurement.count,
        slices=slices,
        verdict=verdict(None, whole=True),
        pointer=pointer,
        outcome=outcome,
    )


def _exhibited(report: Report, pattern: str) -> list[Item]:
    items = []
    for number, outcome in enumerate(report.outcomes):
        for index, exhibit in enumerate(outcome.exhibits):
            if not isinstance(exhibit, FactsExhibit):
                continue
            for row, (key, (name, text)) in enumerate(zip(exhibit.keys, exhibit.rows, strict=False)):
                if fnmatchcase(f"{exhibit.id}.{key}", pattern):
                    pointer = f"/outcomes/{number}/exhibits/{index}/rows/{row}"
                    said = f"{exhibit.title}: {name}"
                    items.append(Item(name=said, text=text, pointer=pointer, outcome=number + 1))
    return items


def _of_roles(item: Item, clause: Clause, impact: ImpactTables | None) -> bool:
    """Whether a breakdown is the one that the clause's table of impact ratios is made of."""
    if not clause.impact:
        return True
    table = None if impact is None else impact.table(clause.impact)
    return table is not None and set(item.by) == set(table.by)


def _pattern_words(pattern: str) -> str:
    """Name what a pattern asks for: one measurement, or any of an auditor's, or any of a kind of them."""
    if not pattern.endswith("*"):
        return title(pattern.replace("*", "any"))
    auditor, _, kind = pattern.removesuffix("*").partition(".")
    if kind.strip("_"):
        return Message(
            "any measurement of {auditor} ({kind})", auditor=title(f".{auditor}"), kind=kind.replace("_", " ").strip()
        )
    return Message("any measurement of {auditor}", auditor=title(f".{auditor}"))


def _why_not(report: Report, pattern: str) -> str:
    auditor = pattern.partition(".")[0]
    for outcome in report.outcomes:
        if outcome.auditor == auditor and (outcome.error or outcome.reason):
            name = title(f".{auditor}")
            if outcome.error:
                return Message(" ({auditor} crashed: {error})", auditor=name, error=outcome.error)
            return Message(" ({auditor} did not run: {reason})", auditor=name, reason=outcome.reason or "")
    if any(one.auditor == auditor for one in report.outcomes):
        return ""
    return Message(" (no auditor '{auditor}' in this run)", auditor=auditor)


Evidenced = tuple[list["Item"], list[str]]
"""The evidence in one part of the report, and what it lacks."""


def _part(part: Part, report: Report, facts: Facts, impact: ImpactTables | None) -> Evidenced:
    """Return the evidence in one part of the report, or what it lacks."""
    if part in IN_REPORT:
        return IN_REPORT[part](report)
    return _impact_part(part, facts, impact)


def _one(name: str, text: str, pointer: str) -> Evidenced:
    return [Item(name=name, text=text, pointer=pointer)], []


def _policy(report: Report) -> Evidenced:
    policy = report.policy
    if policy.source == SHIPPED:
        return [], [Message("Limits fixed for this system beforehand: the run was judged by auditkit's default policy")]
    text = Message(
        "{name}: {limits_count} limits from {source}, sha256 {sha256}",
        name=policy.name,
        limits_count=len(policy.limits),
        source=policy.source,
        sha256=policy.sha256,
    )
    return _one(Message("Limits fixed before the run"), text, "/policy")


def _findings(report: Report) -> Evidenced:
    findings = report.findings
    if not findings:
        return [], [Message("No limit was judged")]
    counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in RANK}
    said = [in_state(count, FOUND[verdict]) for verdict, count in counts.items() if count]
    return _one(Message("Findings"), Message("{counts}", counts=said), "/outcomes")


def _model(report: Report) -> Evidenced:
    model = report.subject.model
    if model is None:
        return [], [Message("No model was opened: recorded decisions were audited")]
    text = Message(
        "{name}, {architecture}, {parameter_count:,} parameters",
        name=model.name,
        architecture=model.architecture or Message("no architecture recorded"),
        parameter_count=model.parameter_count,
    )
    return _one(Message("Model"), text + _hash(model.sha256), "/subject/model")


def _data(name: Message, data: DatasetRecord | None, pointer: str) -> Evidenced:
    if data is None:
        return [], [Message("Training data: not given to the audit (--train-dataset)")]
    text = Message(
        "{path}, {audited:,} of {total:,} rows",
        path=data.path or Message("in memory"),
        audited=data.audited_row_count,
        total=data.row_count,
    )
    return _one(name, text + _hash(data.sha256), pointer)


def _sensitive(report: Report) -> Evidenced:
    columns = report.subject.sensitive
    if not columns:
        return [], [Message("No column was named sensitive, so no groups were compared")]
    return _one(Message("Groups compared by"), Message("{columns}", columns=columns), "/subject/sensitive")


def _notes(report: Report) -> Evidenced:
    notes = report.subject.notes
    text = sentences(notes) if notes else Message("nothing was sampled or left out")
    return _one(Message("Sampled or left out"), text, "/subject/notes")


def _schema(report: Report) -> Evidenced:
    features = report.subject.schema_.get("features")
    if not features:
        return [], [Message("The report holds no schema of the input")]
    text = Message("{features_count} columns, by name and kind", features_count=len(features))
    return _one(Message("Schema of the input"), text, "/subject/schema")


def _environment(report: Report) -> Evidenced:
    made = report.environment
    text = Message(
        "run {run_id}, auditkit {auditkit}, Python {python}, {device}, seed {seed}",
        run_id=report.run_id,
        auditkit=made.auditkit,
        python=made.python,
        device=made.device,
        seed=made.seed,
    )
    return _one(Message("Log of the run"), text, "/environment")


def _created(report: Report) -> Evidenced:
    return _one(Message("Date of the audit"), report.created.strftime("%Y-%m-%d %H:%M %Z").strip(), "/created")


IN_REPORT: dict[str, Callable[[Report], Evidenced]] = {
    "policy": _policy,
    "findings": _findings,
    "model": _model,
    "dataset": lambda report: _data(Message("Data audited"), report.subject.dataset, "/subject/dataset"),
    "training_dataset": lambda report: _data(
        Message("Training data"), report.subject.training_dataset, "/subject/training_dataset"
    ),
    "sensitive": _sensitive,
    "notes": _notes,
    "schema": _schema,
    "created": _created,
    "environment": _environment,
}
"""The parts of a report that are evidence by themselves."""


def _hash(sha256: str | None) -> Message:
    return Message(", sha256 {sha256}", sha256=sha256) if sha256 else Message(", no sha256: from memory")


def _impact_part(part: Part, facts: Facts, impact: ImpactTables | None) -> Evidenced:
    tables = [] if impact is None else [table for table in impact.tables if table.kind == "selection"]
    if not tables:
        return [], [Message("No table of impact ratios could be made")]
    items: list[Item] = []
    missing: list[str] = []
    for table in tables:
        by = shown(table.by)
        if part == "unknown":
            text = Message("{n:,} of {total:,} rows", n=table.unknown_count, total=table.applicant_count)
        else:
            small = [row.category for row in table.rows if row.small]
            left_out = [row.category for row in table.rows if row.left_out]
            none = Message("none")
            text = Message("under 2 %: {small}; left out: {left_out}", small=small or none, left_out=left_out or none)
            if left_out and facts.answer("ll144_left_out_reason") is None:
                missing.append(
                    Message("Why {left_out} is left out (ll144_left_out_reason in facts.toml)", left_out=left_out)
                )
        items.append(Item(name=Message("By {by}", by=by), text=text, pointer=table.pointer))
    return items, missing
