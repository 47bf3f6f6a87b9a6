"""One audit: a subject, auditors and a policy go in, a Report comes out."""

from __future__ import annotations

import dataclasses
import json
import time
import traceback
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from auditkit.engine.auditor import Auditor, installed
from auditkit.engine.open_subject import Stage, load
from auditkit.engine.provenance import environment, subject_record
from auditkit.engine.requirements import request_of
from auditkit.engine.subject import Subject
from auditkit.errors import InputError, NotRun, closest
from auditkit.evidence.gate import judge_report, read_baseline
from auditkit.evidence.measurement import Evidence
from auditkit.evidence.policy import Policy, check_measurements_exist, default_policy, read_policy
from auditkit.evidence.report import Outcome, Report
from auditkit.evidence.waivers import read_waivers
from auditkit.models.cache import Cache
from auditkit.models.model import Model
from auditkit.models.open import Declared
from auditkit.progress import AuditProgress
from auditkit.schema.schema import Schema


@dataclasses.dataclass(frozen=True)
class Unloadable:
    """An auditor that could not be loaded; it reports its error and never passes."""

    reason: str


ANYTHING = (Exception, SystemExit)
"""What the code of a plugin may raise, and must not read as a pass: `sys.exit(0)` would end the whole audit as one."""

REPEATABLE = [
    "prediction",
    "score",
    "target",
    "sensitive",
    "architecture",
    "architecture_args",
    "output",
    "threshold",
    "task",
    "classes",
    "bins",
    "where",
    "limit",
    "encoding",
    "conf_level",
    "top_k",
]
"""The arguments of `audit` that the report records, so that `replay` can give them again."""


def audit(
    model: torch.nn.Module | Model | str | Path | None,
    data: pd.DataFrame | str | Path,
    *,
    prediction: str | None = None,
    score: str | None = None,
    target: str | None = None,
    sensitive: Sequence[str] | None = None,
    schema: Schema | None = None,
    architecture: str | None = None,
    architecture_args: Mapping[str, Any] | None = None,
    trust_model: str | None = None,
    trust_pickle: str | None = None,
    output: str | None = None,
    threshold: float | None = None,
    task: str | None = None,
    classes: Sequence[str] | None = None,
    bins: Mapping[str, str] | None = None,
    where: str | None = None,
    training_data: pd.DataFrame | str | Path | None = None,
    auditors: Sequence[Auditor] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    policy: Policy | str | Path | None = None,
    baseline: str | Path | None = None,
    waivers: str | Path | None = None,
    conf_level: float = 0.95,
    top_k: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    device: str = "auto",
    strict: bool = False,
    encoding: str = "utf-8",
    run_id: str | None = None,
    cache: Cache | None = None,
    progress: AuditProgress = lambda auditor, fraction, what: None,
) -> Report:
    """Audit a model on a data set, and return the Report.

    Args:
        model: a model file, an opened Model, or a plain `nn.Module` that maps a float tensor (rows, columns) to
            one output a class. Without a schema it is fed the columns of `data` that are neither target nor
            sensitive, in their order, as they are; all must be numeric. None audits recorded decisions.
        data: the rows to audit: a DataFrame, a file (CSV, JSON Lines, Parquet, Arrow, npz), a folder of images with
            a metadata.csv, or a pattern of files.
        prediction: without a model, the column of what was decided: classes, yes or no, probabilities, or scores
            with a `threshold`.
        score: without a model, the column of the scores behind the decisions.
        target: the label's column, or several labels' columns as "a,b,c"; default: the one the model's schema names.
        sensitive: columns whose groups are compared; default: those the model's schema names.
        schema: how columns become the model's input; default: the model file's, else the columns as they are.
        architecture: of a file of weights alone: one of auditkit's by name, or your own `package.module:factory`.
        architecture_args: the arguments of the architecture, by name.
        trust_model: `sha256:...` of a torch.export or TorchScript file whose code may be run.
        trust_pickle: `sha256:...` of a pickled module whose code may be run.
        output: what the model returns: "logits", "probabilities" or "score"; default: the schema's, else recognised.
        threshold: from which probability, or score, on a row counts as positive; default: the model's, or 0.5.
        task: "binary", "multiclass", "multilabel" or "regression"; default: the schema's, else told from the target.
        classes: the classes in the order of the outputs, in a binary task the positive one last; default: sorted.
        bins: how continuous sensitive columns are cut into groups: `{"age": "25,45,65"}` or `{"age": "quantiles:4"}`.
        where: audit the rows for which this holds, such as `age >= 18 and region in ('north', 'south')`.
        training_data: the rows that the model was trained on; needed by the privacy auditor.
        auditors: instances to run instead of all installed ones.
        settings: settings of installed auditors, by name: `{"privacy": {"epsilon": (1.0, 3.0)}}`.
        only: names of the auditors to run; the others are recorded as left out.
        skip: names of auditors to leave out.
        policy: limits to judge by: a Policy, a file, or the name of a profile; default: the policy that auditkit ships.
        baseline: the results.json of an earlier audit, for limits on a regression.
        waivers: a file of findings that may pass for a time, each with an owner, an approver and a reason.
        conf_level: the level of every interval.
        top_k: of a binary task: this many rows, those of the highest scores, count as selected.
        limit: audit a seeded sample of this many rows.
        seed: seeds every random choice of the audit.
        device: "auto", "cpu" or "cuda".
        strict: an inconclusive verdict exits 3 instead of 0.
        encoding: of CSV files.
        run_id: names the run; default: a new one.
        cache: where predictions are kept and looked for (auditkit.models.cache.cache_of a folder); default: nowhere.
        progress: called as the audit advances.

    Raises:
        InputError: the model, data, policy or settings cannot be used; nothing was audited.
    """
    given = locals()
    asked = {name: json.loads(json.dumps(given[name], default=str)) for name in REPEATABLE if given[name] is not None}
    if schema is not None or isinstance(model, torch.nn.Module):
        asked["schema"] = "given"
    policy = policy if isinstance(policy, Policy) else default_policy() if policy is None else read_policy(policy)
    chosen = _choose(auditors, settings or {}, only, skip)
    _check_policy(policy, chosen)
    earlier = None if baseline is None else read_baseline(baseline)
    waived = () if waivers is None else read_waivers(waivers)
    stage = Stage(progress)
    subject = load(
        model,
        data,
        training_data,
        target,
        sensitive,
        Declared(
            schema=schema,
            architecture=architecture,
            arguments=architecture_args,
            trust_model=trust_model,
            trust_pickle=trust_pickle,
            output=output,
            threshold=threshold,
            task=task,
            classes=None if classes is None else tuple(classes),
        ),
        prediction=prediction,
        score=score,
        bins=bins,
        where=where,
        also=[column for auditor in chosen.values() for column in getattr(auditor, "legitimate", ())],
        conf_level=conf_level,
        top_k=top_k,
        limit=limit,
        seed=seed,
        device=device,
        encoding=encoding,
        cache=cache,
        progress=stage,
    )
    for auditor in chosen.values():
        if (check := getattr(auditor, "check", None)) is not None:
            check(subject)
    outcomes = []
    for name, auditor in chosen.items():
        stage.name = name
        outcomes.append(_run(name, auditor, subject))
    report = Report(
        run_id=run_id or new_run_id(),
        created=datetime.now(UTC).replace(microsecond=0),
        strict=strict,
        asked=asked,
        subject=subject_record(subject),
        environment=environment(subject),
        policy=policy,
        outcomes=tuple(outcomes),
    )
    return judge_report(report, policy, baseline=earlier, waivers=waived, strict=strict)


def new_run_id() -> str:
    """Return a new name for a run: 32 random hexadecimal digits."""
    return uuid.uuid4().hex


Chosen = dict[str, Auditor | Unloadable | None]
"""The auditors by name: an instance, one that does not load, or None for one that was left out."""


def _choose(
    auditors: Sequence[Auditor] | None,
    settings: Mapping[str, Mapping[str, Any]],
    only: Sequence[str],
    skip: Sequence[str],
) -> Chosen:
    points = installed()
    for name in [*only, *skip, *settings]:
        if name not in points:
            raise InputError(f"unknown auditor '{name}'{closest(name, points)}; installed are {', '.join(points)}.")
    chosen: Chosen = {}
    if auditors is not None:
        chosen = dict.fromkeys(points)
        names = {point.value: name for name, point in points.items()}
        for auditor in auditors:
            kind = type(auditor)
            name = names.get(f"{kind.__module__}:{kind.__qualname__}", kind.__name__.lower())
            if chosen.get(name) is not None:
                raise InputError(f"auditors: two are named '{name}'; pass one of them at a time.")
            chosen[name] = auditor
        return chosen
    for name, point in points.items():
        if name in skip or (only and name not in only):
            chosen[name] = None
            continue
        try:
            kind = point.load()
        except ANYTHING as error:
            chosen[name] = Unloadable(f"{point.value} does not load: {_said(error)}")
            continue
        chosen[name] = kind(**settings.get(name, {}))
    return chosen


def _check_policy(policy: Policy, chosen: Chosen) -> None:
    measures: list[str] = []
    undeclared: list[str] = []
    for name, auditor in chosen.items():
        declared = measures_of(name) if auditor is None else getattr(auditor, "measures", None)
        if declared is None:
            undeclared.append(name)
        else:
            measures += declared
    check_measurements_exist(policy, measures, open_auditors=undeclared)


def measures_of(name: str) -> tuple[str, ...] | None:
    """Return the measurement ids that the installed auditor `name` declares; None if it declares none."""
    try:
        kind = installed()[name].load()
    except ANYTHING:  # what does not load declares nothing
        return None
    return getattr(kind, "measures", None)


def _run(name: str, auditor: Auditor | Unloadable | None, subject: Subject) -> Outcome:
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
        return outcome(None, reason="left out of this run")
    if isinstance(auditor, Unloadable):
        return outcome(None, error=auditor.reason)
    for lack in request_of(subject).missing(auditor):
        return outcome(None, reason=lack.sentence, remedy=lack.remedy)
    subject.progress(0.0, "")
    try:
        result = outcome(_evidence_of(name, _package_of(auditor), auditor.audit(subject)))
        Outcome.model_validate_json(result.model_dump_json(exclude={"verdict"}))  # else the report could not be read
    except NotRun as why:
        result = outcome(None, reason=str(why) or "it gave no reason", remedy=why.remedy)
    except ANYTHING as error:  # the others still report
        result = outcome(None, error=_place(error))
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
    return f"{_said(error)} ({Path(last.filename).name}, line {last.lineno}, in {last.name})"


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _package_of(auditor: object) -> str:
    return type(auditor).__module__.partition(".")[0]


def _version_of(auditor: object) -> str:
    package = _package_of(auditor)
    if auditor is None or isinstance(auditor, Unloadable) or package == "auditkit":
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
            described.append(Description(name, f"does not load: {_said(error)}", {}, ()))
            continue
        fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
        defaults = {field.name: field.default for field in fields}
        summary = (kind.__doc__ or "").strip().partition("\n")[0]
        described.append(Description(name, summary, defaults, tuple(getattr(kind, "measures", ()))))
    return described
