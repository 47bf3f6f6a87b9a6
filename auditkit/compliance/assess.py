"""The state of each clause of a framework, given a report and what people stated; never a legal conclusion."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from auditkit.compliance.facts import Facts, words
from auditkit.compliance.framework import Clause, Framework, Part
from auditkit.compliance.impact import ImpactTables, impact_tables
from auditkit.evidence.judging import RANK
from auditkit.evidence.measurement import Facts as FactsExhibit
from auditkit.evidence.measurement import Group, Interval, Measurement, Record, Unit, shown
from auditkit.evidence.messages import title
from auditkit.evidence.policy import Finding, Verdict
from auditkit.evidence.report import Report

State = Literal["evidenced", "partial", "human input required", "not applicable"]
"""`evidenced`: the run holds all that this clause is mapped to, and people stated the rest. `partial`: some of it.
`human input required`: nothing yet. None of them says that a duty is met; a number that fails is evidence too."""

STATES: tuple[State, ...] = ("evidenced", "partial", "human input required", "not applicable")


class Item(Record):
    """One piece of evidence: a number of the report or a statement in it, and where it stands.

    `pointer` is a JSON pointer into results.json; `outcome` the number of the auditor's card in report.html.
    `verdict` is the worst that a limit said of it, None where no limit judges it.
    """

    name: str
    by: tuple[str, ...] = ()
    group: Group | None = None
    value: float | None = None
    unit: Unit | None = None
    text: str = ""
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
    missing: tuple[str, ...]


class Assessment(Record):
    """A framework held against one report."""

    framework: Framework
    facts: Facts
    clauses: tuple[Assessed, ...]
    impact: ImpactTables | None

    def counts(self) -> dict[State, int]:
        """How many clauses are in each state."""
        return {state: sum(one.state == state for one in self.clauses) for state in STATES}


def assess(report: Report, framework: Framework, facts: Facts | None = None) -> Assessment:
    """Hold `report`, and what people stated in `facts`, against the clauses of `framework`.

    Raises:
        InputError: `facts` names a column or category that the report does not have (Local Law 144).
    """
    facts = facts or Facts()
    task = report.subject.schema_.get("task")
    applies = not framework.only_tasks or task in framework.only_tasks
    impact = impact_tables(report, facts) if any(clause.impact for clause in framework.clause) else None
    return Assessment(
        framework=framework,
        facts=facts,
        clauses=tuple(
            _assess(clause, report, facts, impact) if applies else _not_applicable(clause, framework, task)
            for clause in framework.clause
        ),
        impact=impact,
    )


def _not_applicable(clause: Clause, framework: Framework, task: object) -> Assessed:
    why = f"Applies to {' or '.join(framework.only_tasks)} only; the task of this model is {task or 'not recorded'}."
    return Assessed(clause=clause, state="not applicable", items=(), statements=(), missing=(why,))


def _assess(clause: Clause, report: Report, facts: Facts, impact: ImpactTables | None) -> Assessed:
    items: list[Item] = []
    missing: list[str] = []
    for part in clause.record:
        found, lacking = _part(part, report, facts, impact)
        items += found
        missing += lacking
    for pattern in clause.measurements:
        either = [item for one in pattern.split("|") for item in _measured(report, one)]
        named = [item for item in either if _of_roles(item, clause, impact)]
        items += [item for item in named if item not in items]
        if not named:
            first = pattern.partition("|")[0]
            missing.append(f"Not measured in this run: {_pattern_words(first)}{_why_not(report, first)}")
    for pattern in clause.exhibits:
        stated = _exhibited(report, pattern)
        items += [item for item in stated if item not in items]
        if not stated:
            missing.append(f"Not in this run: {pattern.replace('*', '')}{_why_not(report, 'privacy.')}")
    if clause.impact:
        missing += [] if impact is None else impact.missing(clause.impact)
    statements = tuple(Statement(key=key, text=facts.answer(key)) for key in clause.facts)
    unstated = [one for one in statements if one.text is None]
    unmet = list(missing)
    missing += [f"Only people can state: {words(one.key)}" for one in unstated]
    if items:
        whole = not unmet and not unstated and not clause.beyond
        state: State = "evidenced" if whole else "partial"
    else:
        # A statement alone is no evidence; it is part of what the clause asks.
        state = "partial" if len(unstated) < len(statements) else "human input required"
    return Assessed(clause=clause, state=state, items=tuple(items), statements=statements, missing=tuple(missing))


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
            text="" if part.value is not None else part.reason or "undefined",
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
            for row, (name, text) in enumerate(exhibit.rows):
                if fnmatchcase(f"{exhibit.title}: {name}", pattern):
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
    return " ".join(["anything on", *kind.split("_"), auditor.replace("_", " ")]).replace("  ", " ")


def _why_not(report: Report, pattern: str) -> str:
    auditor = pattern.partition(".")[0]
    for outcome in report.outcomes:
        if outcome.auditor == auditor and (outcome.error or outcome.reason):
            return f" (the {auditor} auditor {'crashed' if outcome.error else 'did not run'}: " + (
                f"{outcome.error or outcome.reason})"
            )
    return "" if any(one.auditor == auditor for one in report.outcomes) else f" (no auditor '{auditor}' in this run)"


def _part(part: Part, report: Report, facts: Facts, impact: ImpactTables | None) -> tuple[list[Item], list[str]]:
    """Return the evidence in one part of the report, or what it lacks."""
    subject, policy = report.subject, report.policy

    def one(name: str, text: str, pointer: str) -> tuple[list[Item], list[str]]:
        return [Item(name=name, text=text, pointer=pointer)], []

    if part == "policy":
        if policy.source == "shipped with auditkit":
            return [], ["Limits fixed for this system beforehand: the run was judged by auditkit's default policy"]
        text = f"{policy.name}: {len(policy.limits)} limits from {policy.source}, sha256 {policy.sha256}"
        return one("Limits fixed before the run", text, "/policy")
    if part == "findings":
        findings = report.findings
        if not findings:
            return [], ["No limit was judged"]
        counts = {verdict: sum(f.verdict == verdict for f in findings) for verdict in RANK}
        text = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in counts.items() if count)
        return one("Findings", text, "/outcomes")
    if part == "model":
        if subject.model is None:
            return [], ["No model was opened: recorded decisions were audited"]
        model = subject.model
        text = f"{model.name}, {model.architecture or 'no architecture recorded'}, {model.parameter_count:,} parameters"
        return one("Model", f"{text}, sha256 {model.sha256 or 'none: from memory'}", "/subject/model")
    if part in ("dataset", "training_dataset"):
        data = subject.dataset if part == "dataset" else subject.training_dataset
        if data is None:
            return [], ["Training data: not given to the audit (--train-dataset)"]
        text = f"{data.path or 'in memory'}, {data.audited_row_count:,} of {data.row_count:,} rows"
        name = "Data audited" if part == "dataset" else "Training data"
        return one(name, f"{text}, sha256 {data.sha256 or 'none: from memory'}", f"/subject/{part}")
    if part == "sensitive":
        if not subject.sensitive:
            return [], ["No column was named sensitive, so no groups were compared"]
        return one("Groups compared by", ", ".join(subject.sensitive), "/subject/sensitive")
    if part == "notes":
        text = "; ".join(subject.notes) or "nothing was sampled or left out"
        return one("Sampled or left out", text, "/subject/notes")
    if part == "schema":
        features = subject.schema_.get("features")
        if not features:
            return [], ["The report holds no schema of the input"]
        return one("Schema of the input", f"{len(features)} columns, by name and kind", "/subject/schema")
    if part == "created":
        return one("Date of the audit", report.created.strftime("%Y-%m-%d %H:%M %Z").strip(), "/created")
    if part == "environment":
        made = report.environment
        text = f"run {report.run_id}, auditkit {made.auditkit}, Python {made.python}, {made.device}, seed {made.seed}"
        return one("Log of the run", text, "/environment")
    return _impact_part(part, facts, impact)


def _impact_part(part: Part, facts: Facts, impact: ImpactTables | None) -> tuple[list[Item], list[str]]:
    tables = [] if impact is None else [table for table in impact.tables if table.kind == "selection"]
    if not tables:
        return [], ["No table of impact ratios could be made"]
    items: list[Item] = []
    missing: list[str] = []
    for table in tables:
        by = shown(table.by)
        if part == "unknown":
            text = f"{table.unknown_count:,} of {table.applicant_count:,} rows"
        else:
            small = [row.category for row in table.rows if row.small]
            left_out = [row.category for row in table.rows if row.left_out]
            text = f"under 2 %: {', '.join(small) or 'none'}; left out: {', '.join(left_out) or 'none'}"
            if left_out and facts.answer("ll144_left_out_reason") is None:
                missing.append(f"Why {', '.join(left_out)} is left out (ll144_left_out_reason in facts.toml)")
        items.append(Item(name=f"By {by}", text=text, pointer=table.pointer))
    return items, missing
