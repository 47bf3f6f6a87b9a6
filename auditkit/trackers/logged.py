"""What of a finished report is logged to a tracker, whichever it is: numbers, tags, and the report's own files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from auditkit.evidence.report import Report
from auditkit.run_folder import REPORT_FILES

NAME_LENGTH = 250
"""The longest name of a metric that MLflow stores, and the shortest limit of the trackers."""


def metrics(report: Report) -> dict[str, float]:
    """Return what is logged as metrics: every measured number of all rows and of each breakdown, with its interval.

    A name is the measurement's id and its columns, `fairness.demographic_parity_difference/sex`; the ends of the
    interval are `.../low` and `.../high`, the rows behind it `.../count`. Numbers of single groups are in results.json,
    which is an artifact: names of groups are people's data, and no names of metrics. What is undefined is left out.
    """
    found: dict[str, float] = {}
    for outcome in report.outcomes:
        for one in outcome.measurements:
            if one.value is None:
                continue
            name = _free(found, "/".join((one.id, *one.by)))
            found[name] = one.value
            found[f"{name}/count"] = one.count
            if one.interval is not None:
                found[f"{name}/low"], found[f"{name}/high"] = one.interval.low, one.interval.high
    return found


def _free(taken: dict[str, float], wanted: str) -> str:
    """Return a name of the letters that MLflow allows that is not taken yet."""
    name = re.sub(r"[^\w\-. /:]", "_", wanted, flags=re.ASCII)[: NAME_LENGTH - len("/count 99")]
    number = 2
    numbered = name
    while numbered in taken:
        numbered, number = f"{name} {number}", number + 1
    return numbered


def tags(report: Report) -> dict[str, str]:
    """Return what is logged as tags: the verdict, by which policy, of which run, and how many limits failed."""
    model = report.subject.model
    verdicts = [finding.verdict for finding in report.findings]
    known = {
        "auditkit.verdict": report.verdict,
        "auditkit.exit_code": str(report.exit_code),
        "auditkit.run_id": report.run_id,
        "auditkit.version": report.environment.auditkit,
        "auditkit.policy": report.policy.name,
        "auditkit.failed_finding_count": str(verdicts.count("fail")),
        "auditkit.data_sha256": report.subject.dataset.sha256,
        "auditkit.model_sha256": None if model is None else model.sha256,
    }
    return {name: value for name, value in known.items() if value is not None}


def run_name(report: Report) -> str:
    """Return what a run of a tracker is called, after the model."""
    return f"audit of {report.subject.model.name if report.subject.model else 'recorded decisions'}"


def report_files(folder: Path) -> Iterator[Path]:
    """Yield the files of the report: nothing else that lies in the folder leaves the machine."""
    for pattern in REPORT_FILES:
        yield from sorted(file for file in folder.glob(pattern) if file.is_file() and not file.is_symlink())
