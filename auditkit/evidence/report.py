"""The versioned record of a run: everything that a reader sees is a function of it."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, ValidationError, computed_field, model_validator

from auditkit import plugins
from auditkit.budgets import RESULTS_BYTES
from auditkit.config import AuditConfig, configured
from auditkit.config_settings import settings_of
from auditkit.documents import parse_json
from auditkit.errors import InputError, closest
from auditkit.evidence import frames
from auditkit.evidence.integrity import check_beside
from auditkit.evidence.judging import RANK, overall
from auditkit.evidence.measurement import Exhibit, Measurement, Record, first_problem
from auditkit.evidence.messages import Message, Text
from auditkit.evidence.picture import Picture
from auditkit.evidence.policy import Finding, Policy, Verdict
from auditkit.evidence.records import (
    BaselineRecord,
    Environment,
    Instant,
    SubjectRecord,
)
from auditkit.evidence.rederive import ContradictionError, rederived
from auditkit.evidence.scalars import Flag, Number
from auditkit.evidence.version1 import dicts, from_version_1, with_ledger_keys
from auditkit.evidence.waivers import Waiver
from auditkit.files import read_bytes
from auditkit.run_folder import unfinished_run

if TYPE_CHECKING:
    import pandas as pd

    from auditkit.evidence.comparison import Comparison

SCHEMA_VERSION = 2
"""Of the reports that are written; those of version 1 are read too."""

LEFT_OUT = Message("left out of this run")
"""Why an auditor did not run that the request left out."""


class Outcome(Record):
    """One auditor's part: what it measured, how that was judged, and what it could not do.

    `measures` are the ids that it declares to measure, None where it declares none; `error` is set where the
    auditor crashed, `reason` where it did not run; `remedy` is the option that would let it run, if one would.
    `left_out` says that the request left it out.
    """

    auditor: str
    version: str
    settings: dict[str, Any] = Field(default_factory=dict)
    measures: tuple[str, ...] | None = None
    seconds: Number = 0.0
    error: str | None = None
    reason: Text | None = None
    remedy: str | None = None
    left_out: Flag = False
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    notes: tuple[Text, ...] = ()

    @computed_field  # type: ignore[prop-decorator]  # mypy does not know decorated properties
    @property
    def verdict(self) -> Verdict | None:
        """The worst of the findings; None where measurements were made and no limit judged them."""
        if self.error is not None:
            return "error"
        verdict = overall(self.findings)
        if verdict == "not_run" and self.reason is None and (self.measurements or not self.findings):
            return None
        return verdict


class Report(Record):
    """The record of one run. `verdict` and `exit_code` follow from the outcomes; they are written, never read.

    `created` is when the audit was made, `judged` the day for which its waivers were read, `config` the request,
    so that the audit can be repeated. `unsealed` says that `gate` judged a file that no manifest listed.
    """

    schema_version: Literal[2] = 2
    run_id: str
    created: Instant
    strict: Flag = False
    unsealed: Flag = False
    config: AuditConfig = AuditConfig()
    subject: SubjectRecord
    environment: Environment
    policy: Policy
    judged: date | None = None
    waivers: tuple[Waiver, ...] = ()
    baseline: BaselineRecord | None = None
    outcomes: tuple[Outcome, ...]

    @model_validator(mode="before")
    @classmethod
    def _read_asked(cls, document: Any) -> Any:
        """Read the request of a report that states it as `asked`, options by name, as auditkit 0.1 did."""
        if not isinstance(document, dict) or "asked" not in document:
            return document
        asked, known = document["asked"], settings_of(AuditConfig)
        if not isinstance(asked, dict):
            raise ValueError("asked must be an object")
        options = {name: value for name, value in asked.items() if name in known}
        rest = {name: value for name, value in document.items() if name != "asked"}
        try:
            return rest | {"config": configured(options=options)}
        except InputError as error:
            raise ValueError(f"asked: {error}") from error

    @property
    def findings(self) -> list[Finding]:
        """All findings, worst first; within a verdict by how far they lie beyond their limit."""
        every = [finding for outcome in self.outcomes for finding in outcome.findings]
        return sorted(every, key=lambda finding: (-RANK[finding.verdict], -finding.excess))

    @property
    def unauthenticated(self) -> tuple[Message, ...]:
        """What a reader must know of files that were judged and that no manifest listed."""
        said = []
        if self.unsealed:
            said.append(
                Message(
                    "Unauthenticated: no manifest.json lists the results.json that was judged, so that an edit of it "
                    "could go unnoticed. Judge the whole folder that the run wrote."
                )
            )
        if self.baseline is not None and self.baseline.unsealed:
            said.append(
                Message(
                    "Unauthenticated: no manifest.json lists the baseline {path}, so that an edit of it could go "
                    "unnoticed. Pass the whole folder that the run wrote.",
                    path=self.baseline.path or "",
                )
            )
        return tuple(said)

    @property
    def unused_waivers(self) -> list[Waiver]:
        """The waivers that no finding needed."""
        used = {finding.waiver for finding in self.findings}
        return [waiver for waiver in self.waivers if waiver.id not in used]

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def verdict(self) -> Verdict:
        """The verdict of the whole: error > fail > warn > inconclusive > pass; not_run if nothing was judged."""
        if any(outcome.error is not None for outcome in self.outcomes):
            return "error"
        return overall(finding for outcome in self.outcomes for finding in outcome.findings)

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def exit_code(self) -> int:
        """0 pass (warnings included), 1 a limit failed, 3 incomplete (strict: anything undecided), 5 nothing judged."""
        codes = {"fail": 1, "error": 3, "not_run": 5}
        undecided = self.strict and any(finding.verdict == "inconclusive" for finding in self.findings)
        return codes.get(self.verdict, 3 if undecided else 0)

    def measurement(self, id: str, by: tuple[str, ...] = ()) -> Measurement | None:
        """Return the measurement with this id and breakdown, or None."""
        for outcome in self.outcomes:
            for measurement in outcome.measurements:
                if measurement.id == id and measurement.by == by:
                    return measurement
        return None

    def __getitem__(self, key: str | tuple[str | tuple[str, ...], ...]) -> Measurement:
        """Return the measurement of an id, or of an id and the columns that it is broken down by.

        >>> report["fairness.demographic_parity_difference", "sex"]  # doctest: +SKIP

        Raises:
            KeyError: there is none; the message names the closest one.
        """
        id, *columns = key if isinstance(key, tuple) else (key,)
        by = tuple(name for part in columns for name in (part if isinstance(part, tuple) else (part,)))
        found = self.measurement(str(id), by)
        if found is not None:
            return found
        every = [one for outcome in self.outcomes for one in outcome.measurements]
        breakdowns = [", ".join(one.by) or "all rows" for one in every if one.id == id]
        if not breakdowns:
            raise KeyError(f"no measurement {id!r}{closest(str(id), {one.id for one in every})}")
        wanted = ", ".join(by) or "all rows"
        raise KeyError(f"{id} by {wanted!r}{closest(wanted, breakdowns)}; it is measured by {'; '.join(breakdowns)}")

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each measurement, and for each group of one that is broken down.

        `group` is missing where the number is of all rows or of a gap; `reason` says why a number is missing.
        """
        return frames.measurements_frame(self)

    def findings_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row for each finding, worst first: verdict, number, limit and sentence."""
        return frames.findings_frame(self)

    def metric_frame(self, *by: str) -> pd.DataFrame:
        """Return a DataFrame with a row for each group of these columns, as Fairlearn's `MetricFrame.by_group`.

        Each metric has a column, and the ends of its interval two more: `selection_rate`, `selection_rate_low`,
        `selection_rate_high`.

        Raises:
            InputError: nothing is measured by these columns.
        """
        return frames.metric_frame(self, by)

    def plot(self, id: str, *by: str) -> Picture:
        """Return the chart of a measurement's groups, as the report shows it. Without `by`, its first breakdown.

        Raises:
            KeyError: there is no such measurement.
            InputError: the measurement has no groups to draw.
        """
        every = [one for outcome in self.outcomes for one in outcome.measurements if one.id == id and one.slices]
        chosen = every[0] if every and not by else self[(id, *by)]
        where = f" by {', '.join(chosen.by)}" if chosen.by else ""
        return Picture(f"{chosen.id}{where}", plugins.load("renderers", "plot").function(self, chosen))

    def compare(self, other: Report) -> Comparison:
        """Compare this report with a later one, number by number: differences with intervals, verdicts that turned."""
        from auditkit.evidence.comparison import compare

        return compare(self, other)

    def gate(
        self,
        policy: Policy | str | Path | None = None,
        *,
        baseline: Report | str | Path | None = None,
        waivers: str | Path | None = None,
        strict: bool = False,
    ) -> Report:
        """Return this report judged by a policy, against a baseline; see `auditkit.gate`."""
        from auditkit.evidence.gate import gate

        return gate(self, policy, baseline=baseline, waivers=waivers, strict=strict)

    def save(self, folder: str | Path, formats: Sequence[str] = ("html", "junit", "markdown")) -> Path:
        """Write results.json, the named formats and a manifest into a folder, as `auditkit run` does; return it.

        Raises:
            InputError: an unknown format, or a folder that cannot be written.
        """
        from auditkit.evidence.integrity import sealed
        from auditkit.run_folder import output_folder, write_files

        files: dict[str, str | bytes] = {"results.json": self.to_json()}
        for name in formats:
            renderer = plugins.load("renderers", name)
            files[renderer.file] = renderer.function(self)
        with output_folder(folder) as place:
            write_files(place, sealed(files, run_id=self.run_id))
        return Path(folder)

    def log_to_mlflow(self, *, experiment: str | None = None) -> str:
        """Log numbers, verdict and files to MLflow, into its active run or one of its own; return the run's id.

        Raises:
            InputError: MLflow is not installed (`auditkit[mlflow]`), or its server refuses.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save(folder)
            run_id: str = plugins.load("trackers", "mlflow")(folder, experiment=experiment)
        return run_id

    def __repr__(self) -> str:
        """Return what was audited and the verdict, in one line."""
        model, data = self.subject.model, self.subject.dataset
        counts = Counter(finding.verdict for finding in self.findings)
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
        what = "recorded decisions" if model is None else model.name
        rows = f"{data.audited_row_count:,} rows of {Path(data.path).name if data.path else 'a frame'}"
        return f"<Report {self.verdict}: {what} on {rows}; findings: {said or 'none'}>"

    __str__ = __repr__

    def to_json(self) -> str:
        """Return the report as JSON text, as written to results.json."""
        return self.model_dump_json(indent=2) + "\n"

    def _repr_html_(self) -> str:
        page: str = plugins.load("renderers", "notebook").function(self)
        return page


def results_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of results.json."""
    schema = Report.model_json_schema(mode="serialization", by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "auditkit results"}


def read_report(path: str | Path) -> Report:
    """Read a results.json, or that of a run's folder, and derive findings and verdict anew from the measurements.

    Raises:
        InputError: the file is missing, is not a report of a known schema version, is not what the manifest.json
            beside it says, or contradicts itself: it was edited.
    """
    return read_report_file(path).report


class ReadReport(NamedTuple):
    """The report of a file, the sha256 of the very bytes that were read, and whether a manifest lists them."""

    report: Report
    sha256: str
    is_sealed: bool


def read_report_file(path: str | Path) -> ReadReport:
    """Read a results.json, or that of a run's folder; errors as `read_report`."""
    path = Path(path) / "results.json" if Path(path).is_dir() else Path(path)
    name = f"results {path}"
    remedy = "pass the folder of a run, or the results.json in it"
    content = read_bytes(path, name, budget=RESULTS_BYTES, remedy=remedy)
    sha256 = hashlib.sha256(content).hexdigest()
    if (run_id := unfinished_run(content)) is not None:
        raise InputError(f"{name}: the run {run_id} that writes it has not finished, or failed; run the audit again.")
    is_sealed = check_beside(Path(path), sha256)
    document, version_found = _document(content, name)
    with contextlib.suppress(KeyError, TypeError, AttributeError):  # of an option that is gone
        document["config"]["data"].pop("labelled_only")
    _check_config(document.get("config"), name)
    stated = document.pop("verdict", None), document.pop("exit_code", None)
    for outcome in dicts(document.get("outcomes")):
        outcome.pop("verdict", None)
        outcome.setdefault("left_out", outcome.get("reason") in (LEFT_OUT, LEFT_OUT.to_json()))  # of earlier ones
    try:
        report = Report.model_validate(document)
    except ValidationError as error:
        where, problem = first_problem(error)
        raise InputError(f"{name}: {where + ': ' if where else ''}{problem}.") from error
    same_version = version_found == SCHEMA_VERSION and report.environment.auditkit == version("auditkit")
    try:
        # What a manifest lists is as its run wrote it; `gate` reads it without NumPy and SciPy.
        report = rederived(report, same_version=same_version, recounted=not is_sealed)
    except ContradictionError as error:
        raise InputError(f"{name}: {error}: the file was edited.") from error
    derived = report.verdict, report.exit_code
    undecided = any(finding.verdict == "inconclusive" for finding in report.findings)
    older = ("inconclusive", derived[1]) if derived[0] == "warn" and undecided else derived
    if same_version and stated not in (derived, older):  # earlier ones put what is undecided before what warns
        raise InputError(
            f"{name}: states verdict {stated[0]!r} (exit code {stated[1]!r}), but its findings give "
            f"{derived[0]!r} ({derived[1]}): the file was edited."
        )
    return ReadReport(report, sha256, is_sealed)


def _check_config(config: Any, name: str) -> None:
    """Raise InputError where the request of a record states a text or a boolean in the place of a number."""
    for setting in settings_of(AuditConfig).values():
        value = config
        for part in setting.place:
            value = value.get(part) if isinstance(value, dict) else None
        if not setting.admits(value):
            raise InputError(f"{name}: config.{'.'.join(setting.place)} is {value!r}: the file was edited.")


def _document(content: bytes, name: str) -> tuple[dict[str, Any], int]:
    """Return a report's JSON in the form of today, and the schema version that it states."""
    try:
        text = content.decode("utf-8")
        document = parse_json(text, unique_keys=True)
    except ValueError as error:
        raise InputError(f"{name}: not JSON text: {error}.") from error
    version_found = document.get("schema_version") if isinstance(document, dict) else None
    if type(version_found) is not int or version_found not in (1, SCHEMA_VERSION):
        raise InputError(f"{name}: schema_version must be 1 or {SCHEMA_VERSION}, got {version_found!r}.")
    if version_found == 1:
        document = from_version_1(document, name)
    with_ledger_keys(document)
    return document, version_found
