"""What a person at a terminal reads: the plan before a run, and the verdict at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleRenderable, RenderHook
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from auditkit.budgets import MODEL_BYTES
from auditkit.evidence.gate import unlike
from auditkit.evidence.messages import number, span, title
from auditkit.files import sha256_of
from auditkit.render.first_page import SENTENCES, key_findings
from auditkit.render.summary import headline
from auditkit.render.text import one_line

if TYPE_CHECKING:
    from auditkit.engine.audit import Description
    from auditkit.engine.inspect import Inspection
    from auditkit.engine.plan import Plan
    from auditkit.evidence.policy import Finding
    from auditkit.evidence.report import Report
    from auditkit.models.model import Model
    from auditkit.training.dp.retrained import GroupCost, Retrained

EXIT_CODES = {
    0: "nothing failed",
    1: "a limit failed",
    2: "usage or input error",
    3: "the audit is incomplete",
    5: "nothing was evaluated",
    130: "interrupted",
}
VERDICTS = {
    "pass": ("✔ PASS", "green"),
    "warn": ("▲ WARN", "yellow"),
    "fail": ("✘ FAIL", "red"),
    "inconclusive": ("◆ INCONCLUSIVE", "yellow"),
    "waived": ("○ WAIVED", "cyan"),
    "not_run": ("– NOT RUN", "bright_black"),
    "error": ("! ERROR", "magenta"),
}


class _OneLine(RenderHook):
    """Keeps text from outside on its line: what it holds of control characters is not sent to the terminal."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        for one in renderables:
            text = one.renderable if isinstance(one, Padding) else one
            if isinstance(text, Text):
                text.plain = one_line(text.plain)
        return renderables


def _console(*, soft_wrap: bool = False) -> Console:
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=soft_wrap)
    console.push_render_hook(_OneLine())
    return console


def announce(plan: Plan) -> None:
    """Print to standard error what was guessed, what each auditor will do, and how long it will take."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
    console.push_render_hook(_OneLine())
    for statement in plan.guesses:
        console.print(Text(f"◆ {statement}"))
    row = "operations a row, as measured" if plan.measured else "operations a row"
    effort = f" (effort {plan.effort}, {plan.operations:,} {row})" if plan.operations > 1 else ""
    console.print(Text(f"Plan{effort}:"))
    for part in plan.parts:
        if part.passes:
            passes = f"about {part.passes:,.0f} passes of a row through the model"
            console.print(Text(f"  {part.auditor:<15} {passes}{_duration(part.seconds)}"))
    if others := [part.auditor for part in plan.parts if not part.passes]:
        console.print(Text(f"  from the predictions: {', '.join(others)}"))
    idle: dict[str, list[str]] = {}
    for name, reason in plan.idle:
        idle.setdefault(reason, []).append(name)
    for reason, names in idle.items():
        console.print(Text(f"  not run: {', '.join(names)} ({reason})"))
    for name, error in plan.unplanned:
        console.print(Text(f"  not planned, but run: {name} ({error})"))
    if plan.seconds is not None:
        console.print(Text(f"  altogether{_duration(plan.seconds)}, as measured on one batch"))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f", about {max(seconds, 1):.0f} s"
    return f", about {seconds / 60:.0f} minutes"


def conclude(report: Report, page: Path) -> None:
    """Print the verdict, the findings of the report's first page, what is waived, and where the report is."""
    console = _console()
    _headline(console, report)
    model = report.subject.model
    if model is not None and model.trust.startswith("trusted"):
        _sentence(console, "fail", f"The model file was {model.trust}.")
    sampling = report.subject.sampling
    for statement in (*(() if sampling is None else sampling.sentences), *report.subject.hints):
        _sentence(console, "not_run", statement)
    for statement in (*report.subject.statements, *report.subject.encoding):
        _sentence(console, "inconclusive", statement)
    training = report.subject.training_dataset
    if training is not None and training.alarm:
        _sentence(console, "fail", f"Training data: {training.alarm}")
    found = _each_once(finding for finding in key_findings(report) if finding.verdict != "waived")
    for finding in found[:SENTENCES]:
        _sentence(console, finding.verdict, finding.message)
    if (more := len(found) - SENTENCES) > 0:
        words = "1 more comparison needs" if more == 1 else f"{more} more comparisons need"
        _sentence(console, "not_run", f"{words} attention; the report lists them.")
    for note in (note for outcome in report.outcomes if outcome.auditor == "shift" for note in outcome.notes):
        _sentence(console, "not_run", note)
    _waivers(console, report)
    _not_run(console, report)
    console.print(Text(f"Report: {page}"), soft_wrap=True)


def conclude_gate(report: Report) -> None:
    """Print the verdict, every finding that decides it, a few others, what no limit met, and what is waived."""
    console = _console()
    for sentence in report.unauthenticated:
        _sentence(console, "warn", sentence)
    _headline(console, report)
    optional = [f for f in report.findings if f.verdict == "not_run" and f.limit.optional and f.group is None]
    others = _each_once(f for f in report.findings if f.verdict not in ("pass", "waived") and f not in optional)
    shown = [f for f in others if f.verdict in ("fail", "error", report.verdict)]
    shown += [f for f in others if f not in shown][:SENTENCES]
    for finding in shown:
        _sentence(console, finding.verdict, finding.message)
    if (more := len(others) - len(shown)) > 0:
        words = "1 more comparison needs" if more == 1 else f"{more} more comparisons need"
        _sentence(console, "not_run", f"{words} attention; --out FOLDER writes them.")
    if optional:
        names = dict.fromkeys(finding.measurement for finding in optional)
        _sentence(console, "not_run", f"Not measured, as the policy allows: {', '.join(names)}.")
    _waivers(console, report)
    _not_run(console, report)


def _each_once(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings without those that repeat the sentence of an earlier one, as two limits on one number do."""
    return list({str(finding.message): finding for finding in reversed(list(findings))}.values())[::-1]


def _waivers(console: Console, report: Report) -> None:
    """Print what is waived, always and all of it, and the waivers that waive nothing."""
    for finding in report.findings:
        if finding.verdict == "waived":
            _sentence(console, finding.verdict, finding.message)
    for waiver in report.unused_waivers:
        expired = " and expired" if report.judged and waiver.expires < report.judged else ""
        correct = "" if waiver.slice is None else ", or correct its slice"
        _sentence(console, "not_run", f"Waiver {waiver.id} covers nothing that needs one{expired}: remove it{correct}.")


def _headline(console: Console, report: Report) -> None:
    words, colour = VERDICTS[report.verdict]
    console.print()
    console.print(Text(words, style=f"bold {colour}"), Text(f" {headline(report)[1]}"), soft_wrap=True)
    if (other := unlike(report, report.baseline)) is not None:
        _sentence(console, "warn", f"Check the baseline: {other}.")
    for outcome in report.outcomes:
        if outcome.error is not None:
            _sentence(console, "error", f"The {outcome.auditor} auditor failed: {outcome.error}")


def _not_run(console: Console, report: Report) -> None:
    """Print in one sentence which auditors did not run, and why."""
    names: dict[str, list[str]] = {}
    for outcome in report.outcomes:
        if outcome.reason is not None:
            names.setdefault(outcome.reason.rstrip("."), []).append(outcome.auditor.replace("_", " "))
    if names:
        words = "; ".join(f"{', '.join(those)} ({reason})" for reason, those in names.items())
        _sentence(console, "not_run", f"Not run: {words}.")


def _sentence(console: Console, verdict: str, message: str) -> None:
    words, colour = VERDICTS[verdict]
    text = Text.assemble((f"{words[0]} ", colour), message)
    console.print(Padding(text, (0, 0, 0, 2)) if console.is_terminal else text, soft_wrap=not console.is_terminal)


def trained(model: Model, record: dict[str, Any]) -> None:
    """Print what was trained, and the command that audits it."""
    from auditkit.tasks.base import task_for

    console = _console()
    rows = f"{record['row_count']:,} rows" + (
        f" ({record['dropped_row_count']:,} without a label left out)" if record["dropped_row_count"] else ""
    )
    privacy = f", epsilon {record['epsilon']:.2f}" if "epsilon" in record else ""
    console.print(f"Trained {model.name} on {rows}: {model.parameter_count:,} parameters{privacy}.", soft_wrap=True)
    kind = "labels" if len(model.schema.targets) > 1 else "classes"
    what = f"{len(model.schema.classes)} {kind}" if model.schema.classes else "a number"
    if task_for(model.schema).unpredicted is not None:
        console.print(f"It generates what is like its training rows (task {model.schema.task}).", soft_wrap=True)
        console.print(f"Model: {model.path}", soft_wrap=True)
        return
    console.print(
        f"Predicts: {', '.join(model.schema.targets)}, {what} (task {model.schema.task})", soft_wrap=True, markup=False
    )
    console.print(f"Model: {model.path}", soft_wrap=True)


def retrained(done: Retrained) -> None:
    """Print each private model with its guarantee, and what they give away together."""
    console = _console(soft_wrap=True)
    for note in done.notes:
        console.print(Text(f"! {note}", "red"))
    for path, ledger in done.files:
        lost = f", {ledger.lost_steps} of {ledger.steps} steps lost and paid for" if ledger.lost_steps else ""
        tuned = f"; with {ledger.tuning_runs} tuning runs {ledger.epsilon_with_tuning:.2f}"
        tuning = tuned if ledger.tuning_runs else ""
        console.print(f"Epsilon {ledger.epsilon:.2f} at delta {ledger.delta:.2g}{tuning}{lost}: {path}", markup=False)
        if path.suffix == ".pt2":
            digest = sha256_of(path, str(path), budget=MODEL_BYTES)
            console.print(f"  a program: auditkit run {path} --trust-model sha256:{digest}", markup=False)
    if len(done.files) > 1:
        console.print(f"Whoever is given all {len(done.files)} models: epsilon {done.epsilon_together:.2f} together.")
    _print_frontier(console, done.frontier, done.measure)
    unit = done.files[0][1].unit_of_privacy
    console.print(f"Protected: {unit}. Not covered by the budget:", markup=False)
    for statement in done.files[0][1].not_covered:
        console.print(f"  - {statement}", markup=False)


def _print_frontier(console: Console, costs: Sequence[GroupCost], measure: str | None) -> None:
    """Print what held-out rows or texts say: a line for each model, a column for each group."""
    if not costs:
        return
    groups = list(dict.fromkeys(one.group for one in costs))
    table = Table(measure or "", *("all" if group is None else group.text for group in groups))
    for epsilon in dict.fromkeys(one.epsilon for one in costs):
        by_group = {one.group: one for one in costs if one.epsilon == epsilon}
        name = "without privacy" if epsilon is None else f"epsilon {epsilon:g}" if epsilon else "before"
        table.add_row(name, *(_cost(by_group.get(group)) for group in groups))
    console.print(table)


def _cost(one: GroupCost | None) -> str:
    if one is None:
        return "too few"
    interval = "" if one.low is None or one.high is None else f" ({one.low:.3f} to {one.high:.3f})"
    return f"{one.value:.3f}{interval}, n = {one.count:,}"


def inspected(found: Inspection) -> None:
    """Print what a model file is, and what an audit could do with it and would cost."""
    console = _console(soft_wrap=True)
    console.print(Text.assemble((found.path, "bold"), f"  {found.kind}, {found.byte_count:,} bytes"))
    console.print(f"  trust         {found.trust}", markup=False)
    console.print(f"  sha256        {found.sha256}")
    if found.architecture is not None:
        arguments = ", ".join(f"{name}={value}" for name, value in found.arguments.items())
        console.print(f"  architecture  {found.architecture}({arguments})", markup=False)
    if found.parameter_count is not None:
        per_row = f", {found.operations_per_row:,} operations a row" if found.operations_per_row else ""
        console.print(f"  parameters    {found.parameter_count:,}{per_row}")
    for key, shape, dtype in found.tensors[:40]:
        console.print(f"    {key[:60]:<28} {'x'.join(map(str, shape)) or 'one number'} {dtype}", markup=False)
    if len(found.tensors) > 40:
        console.print(f"    and {len(found.tensors) - 40:,} more; --json lists all")
    for name, sizes, kind in found.inputs[:40]:
        listed = " x ".join("any" if size is None else str(size) for size in sizes) or "one value"
        console.print(f"  input         {name[:60]} ({listed}) {kind}", markup=False)
    if len(found.inputs) > 40:
        console.print(f"    and {len(found.inputs) - 40:,} more; --json lists all")
    _print_contents(console, found)
    for problem in found.problems:
        console.print(Text.assemble(("✘ ", "red"), problem))
    _print_abilities(console, found)


def _print_contents(console: Console, found: Inspection) -> None:
    """Print what a model file says of its inputs, its training and its privacy."""
    if found.schema_ is not None:
        kinds = [f"{feature['name']} ({feature['kind']})" for feature in found.schema_["features"]]
        listed = ", ".join(kinds[:20]) + (f", and {len(kinds) - 20:,} more" if len(kinds) > 20 else "")
        console.print(f"  reads         {listed}", markup=False)
        classes = ", ".join(found.schema_["classes"][:10]) or "a number"
        target = found.schema_["target"]
        named = ", ".join(target) if isinstance(target, list | tuple) else target
        console.print(f"  predicts      {named}: {classes}; returns {found.schema_['output']}", markup=False)
        console.print(f"  sensitive     {', '.join(found.schema_['sensitive']) or 'none named'}", markup=False)
    if found.training:
        words = ", ".join(f"{name} {value}" for name, value in found.training.items() if value is not None)
        console.print(f"  training      {words}", markup=False)
    if found.ledger is not None:
        console.print(f"  privacy       epsilon {found.ledger.get('epsilon')}, delta {found.ledger.get('delta')}")
    if found.ledger_problem is not None:
        console.print(f"  privacy       {found.ledger_problem}", markup=False)


def _print_abilities(console: Console, found: Inspection) -> None:
    """Print which auditors could run, and what an audit would cost."""
    alike: dict[tuple[bool, str], list[str]] = {}
    for ability in found.abilities:
        alike.setdefault((ability.able, ability.reason), []).append(ability.auditor)
    for (able, reason), names in alike.items():
        mark, colour = ("✘", "red") if not able else ("◆", "yellow") if reason else ("✔", "green")
        console.print(Text.assemble((f"{mark} ", colour), (", ".join(names), "bold"), f"  {reason}".rstrip()))
    if found.costs:
        console.print(f"On {found.row_count:,} rows an audit would take, as measured on one batch:")
    for cost in found.costs:
        console.print(f"  {cost.part:<15} about {cost.row_passes:,} passes of a row{_duration(cost.seconds)}")


def list_auditors(descriptions: Sequence[Description]) -> None:
    """Print the installed auditors with their settings and measurements."""
    console = _console(soft_wrap=True)
    for description in descriptions:
        console.print(Text.assemble((description.name, "bold"), f"  {description.summary}"))
        for name, default in description.settings.items():
            console.print(f"  setting  {name} = {_setting(default)}")
        for measure in description.measures:
            console.print(f"  measures {measure}")


def _setting(value: object) -> str:
    """Return a setting as `--set` takes it."""
    if isinstance(value, tuple | list):
        return ", ".join(str(one) for one in value) or "none"
    return "none" if value is None or value == {} else str(value)


def mitigated(model: Model, original: Report, made: Report, *, sensitive: str, folder: Path) -> None:
    """Print the mitigated model beside the original, number by number, and where their reports are."""
    console = _console(soft_wrap=True)
    assert model.card is not None
    record = model.card.training
    if "packed" in record:
        members = record.get("networks_in_lottery")
        lottery = "" if members is None else f"; the method's answer is a lottery over {members} of them"
        console.print(f"Trained {record['networks_trained']} networks{lottery}. Packed: {record['packed']}.")
    if "thresholds" in record:
        words = ", ".join(f"{group} {value:.3f}" for group, value in record["thresholds"].items())
        console.print(f"Thresholds, written into the network: {words}.")
    for id, by in (
        ("performance.accuracy", ()),
        ("fairness.demographic_parity_difference", (sensitive,)),
        ("fairness.equalized_odds_difference", (sensitive,)),
    ):
        said = []
        for report in (original, made):
            measurement = report.measurement(id, by)
            if measurement is None or measurement.value is None:
                said.append("undefined")
                continue
            interval = f" ({span(measurement.interval, measurement.unit)})" if measurement.interval else ""
            said.append(number(measurement.value, measurement.unit) + interval)
        console.print(f"{title(id)}{f' by {sensitive}' if by else ''}: {said[0]} before, {said[1]} after.")
    console.print(f"Model: {model.path}")
    console.print(f"Reports: {folder / 'original' / 'report.html'} and {folder / 'mitigated' / 'report.html'}")
