"""One audit: a subject, auditors and a policy go in, a Report comes out."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import EntryPoint, packages_distributions, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from auditkit.budgets import allow_large
from auditkit.config import AuditConfig, configured
from auditkit.config_settings import settings_of
from auditkit.engine.auditor import Auditor, installed
from auditkit.engine.inputs import Inputs, read_inputs
from auditkit.engine.label_coverage import beside_coverage
from auditkit.engine.open_subject import ProgressReporter, load
from auditkit.engine.plan import Plan, plan_of
from auditkit.engine.plugin_process import Elsewhere, is_foreign, run_elsewhere
from auditkit.engine.provenance import environment, subject_record
from auditkit.engine.requirements import request_of
from auditkit.engine.settings import auditor_settings, unknown_auditor
from auditkit.engine.shift import REPEATED, Shift, parse_shift, shares_of, shift_outcome
from auditkit.engine.subject import Subject
from auditkit.engine.weighting import marked
from auditkit.errors import InputError, NotRun, format_error, out_of_memory
from auditkit.evidence.gate import Baseline, judge_report, read_baseline
from auditkit.evidence.measurement import Evidence
from auditkit.evidence.messages import Message, reason_of
from auditkit.evidence.policy import SHIPPED, check_known, check_measurements_exist, profile
from auditkit.evidence.rederive import check_outcome
from auditkit.evidence.report import LEFT_OUT, Outcome, Report
from auditkit.evidence.waivers import Waiver, read_waivers
from auditkit.models.cache import Cache
from auditkit.progress import AuditProgress

if TYPE_CHECKING:
    import torch

    from auditkit.models.model import Model


@dataclasses.dataclass(frozen=True)
class FailedPlugin:
    """An auditor that could not be loaded; it reports its error and never passes."""

    reason: str


ANYTHING = (Exception, SystemExit)
"""What the code of a plugin may raise, and must not read as a pass: `sys.exit(0)` would end the whole audit as one."""


def audit(
    model: torch.nn.Module | Model | str | Path | None = None,
    data: pd.DataFrame | str | Path | None = None,
    *,
    config: AuditConfig | None = None,
    auditors: Sequence[Auditor] | None = None,
    run_id: str | None = None,
    cache: Cache | None = None,
    progress: AuditProgress = lambda auditor, fraction, what: None,
    announce: Callable[[Plan], None] | None = None,
    **options: Any,
) -> Report:
    """Audit a model on a data set, and return the Report.

    >>> audit("model.pt", "data.csv", sensitive=["sex"], where="age >= 18")  # doctest: +SKIP

    Args:
        model: a model file, an opened Model, or a plain `nn.Module` that maps a float tensor (rows, columns) to
            one output a class. Without a schema it is fed the columns of `data` that are neither target nor
            sensitive, in their order, as they are; all must be numeric. None audits recorded decisions.
        data: the rows to audit: a DataFrame, a file (CSV, JSON Lines, Parquet, Arrow, npz), a folder of images with
            a metadata.csv, or a pattern of files.
        config: the whole request (auditkit.config.AuditConfig); `options` replace what it states.
        auditors: instances to run instead of all installed ones.
        run_id: names the run; default: a new one.
        cache: where predictions are kept and looked for (auditkit.models.cache.user_cache()); default: nowhere.
        progress: called as the audit advances.
        announce: called once before the auditors start, with what they will do and how long it will take.
        options: every option of `auditkit run` by its name, such as `target`, `sensitive`, `limit` or `policy`, with a
            value of Python. Besides, `schema` may be a Schema, `policy` a Policy, `training_data` a DataFrame of the
            rows that the model was trained on, and `settings` states settings of auditors by name:
            `{"privacy": {"epsilon": (1.0, 3.0)}}`.

    Raises:
        InputError: the model, data, policy, an option or a setting cannot be used; nothing was audited.
    """
    inputs = read_inputs(model, data, config, options)
    with allow_large(inputs.config.run.allow_large):
        return _audit(inputs, auditors, run_id, cache, progress, announce)


def _audit(
    inputs: Inputs,
    auditors: Sequence[Auditor] | None,
    run_id: str | None,
    cache: Cache | None,
    progress: AuditProgress,
    announce: Callable[[Plan], None] | None,
) -> Report:
    config, policy = inputs.config, inputs.policy
    stage = ProgressReporter(progress)
    begun = begin(inputs, auditors=auditors, cache=cache, progress=stage)
    subject, chosen, shifts = begun.subject, begun.chosen, begun.shifts
    if subject.work.measured:  # recorded, so that a replay spends as much
        config = configured(config, {"operations_per_row": subject.work.operations})
    if announce is not None:
        announce(plan_of(subject, chosen))
    outcomes = []
    for name, auditor in chosen.items():
        stage.name = name
        outcomes.append(_run(name, auditor, subject))
    report = Report(
        run_id=run_id or new_run_id(),
        created=datetime.now(UTC).replace(microsecond=0),
        strict=config.policy.strict,
        config=config,
        subject=subject_record(subject),
        environment=environment(subject),
        policy=policy,
        outcomes=tuple(outcomes),
    )
    if policy.source == SHIPPED and config.policy.policy is None:
        policy = profile(subject.task.profile)
    judged = judge_report(
        report,
        policy,
        baseline=begun.earlier,
        waivers=begun.waived,
        strict=config.policy.strict,
        other_baseline=config.policy.other_baseline,
    )
    if not shifts:
        return judged

    def repeat(other: Subject) -> list[Outcome]:
        return [_run(name, auditor, other) for name, auditor in chosen.items() if name in REPEATED]

    found = shift_outcome(judged, policy, shifts, repeat, subject)
    return judged.model_copy(update={"outcomes": (*judged.outcomes, found)})


@dataclasses.dataclass(frozen=True)
class Begun:
    """An audit before its auditors run: whatever can refuse the request has been asked."""

    subject: Subject
    chosen: Chosen
    earlier: Baseline | None
    waived: tuple[Waiver, ...]
    shifts: Sequence[Shift]


def begin(
    inputs: Inputs, *, auditors: Sequence[Auditor] | None, cache: Cache | None, progress: ProgressReporter
) -> Begun:
    """Open the model, read and check the rows, predict them, and hold settings, policy and groups against them.

    Raises:
        InputError: the model, data, policy, an option or a setting cannot be used.
    """
    config, policy = inputs.config, inputs.policy
    chosen = _choose(auditors, config)
    measures, undeclared = _declared(chosen)
    check_measurements_exist(policy, measures, open_auditors=undeclared)
    earlier = None
    if config.policy.baseline is not None:
        earlier = read_baseline(config.policy.baseline, strict=config.policy.strict)
    waived = () if config.policy.waivers is None else read_waivers(config.policy.waivers)
    named = [(waiver.line, waiver.measurement) for waiver in waived]
    check_known(f"waivers {config.policy.waivers}", named, measures, open_auditors=undeclared)
    also = [column for auditor in chosen.values() for column in getattr(auditor, "legitimate", ())]
    subject = load(inputs, also=also, cache=cache, progress=progress)
    for auditor in chosen.values():
        if (check := getattr(auditor, "check", None)) is not None:
            check(subject)
    shifts = [parse_shift(text) for text in config.groups.shift]
    for shift in shifts:
        shares_of(subject, shift)
    return Begun(subject, chosen, earlier, waived, shifts)


def _signature() -> inspect.Signature:
    """Return the signature of `audit` with every option by name, for help() and the completion of notebooks."""
    written = inspect.signature(audit)
    own = [one for one in written.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    taken = {one.name for one in own} | {"dataset", "train_dataset"}
    more = {"training_data": None, "settings": None} | {
        name: setting.field.default for name, setting in settings_of(AuditConfig).items() if name not in taken
    }
    options = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in more.items()]
    return written.replace(parameters=[*own, *options])


audit.__signature__ = _signature()  # type: ignore[attr-defined]  # a function takes one, as its help reads it


def new_run_id() -> str:
    """Return a new name for a run: 32 random hexadecimal digits."""
    return uuid.uuid4().hex


Chosen = dict[str, Auditor | FailedPlugin | Elsewhere | None]
"""The auditors by name: an instance, one that does not load, one of another package, or None for one left out."""


def _choose(auditors: Sequence[Auditor] | None, config: AuditConfig) -> Chosen:
    points = installed()
    only, skip = config.run.only, config.run.skip
    for name in [*only, *skip, *config.auditors.names]:
        if name not in points:
            raise InputError(unknown_auditor(name, points))
    if auditors is not None:
        return _named(auditors, points)
    chosen: Chosen = {}
    for name, point in points.items():
        if name in skip or (only and name not in only):
            chosen[name] = None
            continue
        if is_foreign(point) and not config.run.in_process_plugins:
            chosen[name] = Elsewhere(point, config)
        else:
            chosen[name] = _loaded(name, point, config)
    return chosen


def _loaded(name: str, point: EntryPoint, config: AuditConfig) -> Auditor | FailedPlugin:
    try:
        kind = point.load()
    except ANYTHING as error:
        return FailedPlugin(f"{point.value} does not load: {format_error(error)}")
    made: Auditor = kind(**auditor_settings(name, kind, config))
    return made


def answer_of(name: str, value: str, config: AuditConfig, subject: Subject) -> Outcome:
    """Return the outcome of another package's auditor: what its process (plugin_process) runs.

    Raises:
        InputError: it refuses its settings, or they do not fit the subject.
    """
    auditor = _loaded(name, EntryPoint(name=name, value=value, group="auditkit.auditors"), config)
    if (check := getattr(auditor, "check", None)) is not None:
        check(subject)
    return _run(name, auditor, subject)


def _named(auditors: Sequence[Auditor], points: Mapping[str, EntryPoint]) -> Chosen:
    """Return instances that the caller made by the names of their entry points, the installed others left out."""
    chosen: Chosen = dict.fromkeys(points)
    names = {point.value: name for name, point in points.items()}
    for auditor in auditors:
        kind = type(auditor)
        if isinstance(auditor, type) or not callable(getattr(auditor, "audit", None)):
            raise InputError(
                f"auditors: takes instances, such as Performance(), got {auditor!r}; pass only=['performance'] to "
                "choose by name."
            )
        name = names.get(f"{kind.__module__}:{kind.__qualname__}", kind.__name__.lower())
        if chosen.get(name) is not None:
            raise InputError(f"auditors: two are named '{name}'; pass one of them at a time.")
        chosen[name] = auditor
    return chosen


def _declared(chosen: Chosen) -> tuple[list[str], list[str]]:
    """Return what the auditors declare to measure, and the auditors that declare nothing."""
    measures: list[str] = []
    undeclared: list[str] = []
    for name, auditor in chosen.items():
        declared = measures_of(name) if auditor is None else getattr(auditor, "measures", None)
        if declared is None:
            undeclared.append(name)
        else:
            measures += declared
    return measures, undeclared


def measures_of(name: str) -> tuple[str, ...] | None:
    """Return the measurement ids that auditkit's auditor `name` declares; None if it declares none, or is another's."""
    point = installed()[name]
    if is_foreign(point):
        return None
    try:
        kind = point.load()
    except ANYTHING:  # what does not load declares nothing
        return None
    return getattr(kind, "measures", None)


def _run(name: str, auditor: Auditor | FailedPlugin | Elsewhere | None, subject: Subject) -> Outcome:
    if isinstance(auditor, Elsewhere):
        started = time.perf_counter()
        subject.progress(0.0, "")
        answer = run_elsewhere(auditor, subject)
        subject.progress(1.0, "")
        return answer.model_copy(update={"seconds": round(time.perf_counter() - started, 3)})
    declared = measures_of(name) if auditor is None else getattr(auditor, "measures", None)

    settings = dataclasses.asdict(auditor) if dataclasses.is_dataclass(auditor) else {}
    settings = json.loads(json.dumps(settings, default=str))

    def outcome(
        evidence: Evidence | None, *, error: str | None = None, reason: str | None = None, remedy: str | None = None
    ) -> Outcome:
        return Outcome(
            auditor=name,
            version=_version_of(auditor),
            settings=settings,
            measures=None if declared is None else tuple(declared),
            seconds=round(time.perf_counter() - started, 3),
            error=error,
            reason=reason,
            remedy=remedy,
            measurements=() if evidence is None else tuple(evidence.measurements),
            exhibits=() if evidence is None else tuple(evidence.exhibits),
            notes=() if evidence is None else tuple(evidence.notes),
        )

    started = time.perf_counter()
    if auditor is None:
        return outcome(None, reason=LEFT_OUT).model_copy(update={"left_out": True})
    if isinstance(auditor, FailedPlugin):
        return outcome(None, error=auditor.reason)
    for lack in request_of(subject).missing(auditor):
        return outcome(None, reason=lack.sentence, remedy=lack.remedy)
    subject.progress(0.0, "")
    try:
        rows = subject.labelled if "labels" in getattr(auditor, "requires", ()) else subject
        evidence = _evidence_of(name, _package_of(auditor), auditor.audit(rows))
        if rows is not subject:
            evidence = beside_coverage(subject, evidence)
        result = outcome(marked(evidence, subject.sampling))
        Outcome.model_validate_json(result.model_dump_json(exclude={"verdict"}))  # else the report could not be read
        check_outcome(result)
    except NotRun as why:
        result = outcome(None, reason=reason_of(why) or Message("it gave no reason"), remedy=why.remedy)
    except ANYTHING as error:  # the others still report
        result = outcome(None, error=out_of_memory(error) or _place(error))
    subject.progress(1.0, "")
    return result


def _evidence_of(name: str, package: str, returned: object) -> Evidence:
    """Return what an auditor returned if it is evidence, and of its own: what is neither must not read as a pass.

    What does not say by which software it was computed is taken for computed by the auditor's own package.
    """
    if not isinstance(returned, Evidence):
        raise TypeError(f"it returned {type(returned).__name__}, and must return Evidence")
    evidence = Evidence(
        measurements=tuple(
            one if one.computed_by else one.model_copy(update={"computed_by": package}) for one in returned.measurements
        ),
        exhibits=tuple(returned.exhibits),
        notes=tuple(returned.notes),
    )
    if not (evidence.measurements or evidence.exhibits or evidence.notes):
        raise ValueError("it returned no evidence; an auditor that does not apply raises NotRun with the reason")
    for measurement in evidence.measurements:
        if measurement.id.partition(".")[0] != name:
            raise ValueError(f"it returned '{measurement.id}', and its own measurements are named '{name}.*'")
    return evidence


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    return f"{format_error(error)} ({Path(last.filename).name}, line {last.lineno}, in {last.name})"


def _package_of(auditor: object) -> str:
    return type(auditor).__module__.partition(".")[0]


def _version_of(auditor: object) -> str:
    if auditor is None or isinstance(auditor, FailedPlugin):
        return _package_version("auditkit")
    return _package_version(_package_of(auditor))


@functools.cache
def _package_version(package: str) -> str:
    """Return the version of the distribution that brings a package; to look through all of them takes .2 s."""
    if package == "auditkit":
        return version("auditkit")
    distributions = packages_distributions().get(package, [])
    return version(distributions[0]) if distributions else "unknown"


@dataclasses.dataclass(frozen=True)
class Description:
    """An installed auditor as a user sees it: what it does, its settings with their defaults, what it measures."""

    name: str
    summary: str
    settings: dict[str, Any]
    measures: tuple[str, ...]


def describe_auditors() -> list[Description]:
    """Describe every installed auditor; one that does not load says so in its summary."""
    described = []
    for name, point in installed().items():
        try:
            kind = point.load()
        except ANYTHING as error:
            described.append(Description(name, f"does not load: {format_error(error)}", {}, ()))
            continue
        fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
        defaults = {field.name: _default(field) for field in fields}
        summary = (kind.__doc__ or "").strip().partition("\n")[0]
        described.append(Description(name, summary, defaults, tuple(getattr(kind, "measures", ()))))
    return described


def _default(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a setting; None where it has none and must be stated."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default
