"""What a report records of its subject and of where it was made."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import pandas as pd

from auditkit.engine.at_chance import chance_statement
from auditkit.engine.degenerate import one_decision_statement
from auditkit.engine.label_coverage import selective_statement
from auditkit.engine.subject import Subject
from auditkit.engine.undecided import undecided_statement
from auditkit.engine.weighting import sampling_hints
from auditkit.evidence.messages import Message
from auditkit.evidence.records import DatasetRecord, Environment, ModelRecord, SamplingRecord, SubjectRecord
from auditkit.models.predict import ROWS_AT_ONCE
from auditkit.stats.sampling import effective_rows

OTHER_ROWS = Message(
    "not the rows that the model was trained on: their sha256 differs from the one in the model's card"
)

PACKAGES = ("torch", "captum", "fairlearn", "opacus", "numpy", "pandas", "scipy")


def subject_record(subject: Subject) -> SubjectRecord:
    """Return what is recorded of the model and the data: paths, hashes, counts, notes."""
    info, data, training = subject.audited.info, subject.data, subject.training
    return SubjectRecord(
        model=None
        if info is None
        else ModelRecord(
            path=info.path,
            sha256=info.sha256,
            name=info.name,
            kind=info.kind,
            trust=info.trust,
            architecture=info.architecture,
            parameter_count=info.parameter_count,
        ),
        dataset=DatasetRecord(
            path=data.path,
            sha256=data.sha256,
            row_count=subject.row_count_read,
            audited_row_count=len(subject.labels),
            rows_sha256=_rows_sha256(subject),
        ),
        training_dataset=None
        if training is None
        else DatasetRecord(
            path=training.path,
            sha256=training.sha256,
            row_count=subject.training_row_count_read or 0,
            audited_row_count=len(training.frame),
            alarm=OTHER_ROWS if subject.audited.was_trained_on(training.sha256) is False else None,
        ),
        sensitive=subject.sensitive,
        notes=(*subject.encoding, *subject.notes, *subject.prediction_notes),
        encoding=subject.encoding,
        sampling=_sampling_record(subject),
        hints=sampling_hints(subject),
        statements=(
            *subject.guesses,
            *selective_statement(subject),
            *undecided_statement(subject),
            *one_decision_statement(subject),
            *chance_statement(subject),
        ),
        schema=subject.schema.for_report(),
    )


def _sampling_record(subject: Subject) -> SamplingRecord | None:
    sampling, count = subject.sampling, len(subject.labels)
    if sampling.is_simple:
        return None
    sizes = None if sampling.clusters is None else np.unique(sampling.clusters, return_counts=True)[1]
    return SamplingRecord(
        weight=None if sampling.weights is None else subject.weight,
        cluster=None if sampling.clusters is None else subject.cluster,
        row_count=count,
        effective_row_count=effective_rows(sampling, count),
        cluster_count=None if sizes is None else len(sizes),
        largest_cluster=None if sizes is None else int(sizes.max()),
    )


def _rows_sha256(subject: Subject) -> str:
    """Tell which rows were audited: a hash of their places in the data set, their labels, weights and clusters."""
    index, digest = subject.data.frame.index, hashlib.sha256()
    for start in range(0, len(index), ROWS_AT_ONCE):
        places = pd.util.hash_pandas_object(index[start : start + ROWS_AT_ONCE], index=False)
        digest.update(places.to_numpy().tobytes())
    digest.update(np.ascontiguousarray(subject.labels).data)
    for part in (subject.sampling.weights, subject.sampling.clusters):
        if part is not None:
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def environment(subject: Subject) -> Environment:
    """Return what is recorded of the machine, the packages and the commit."""
    commit, dirty = git_state()
    device, threads = subject.audited.computed_on(subject.device_name)
    return Environment(
        auditkit=version("auditkit"),
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=dict(map(_version, PACKAGES)),
        device=device,
        threads=threads,
        seed=subject.seed,
        git_commit=commit,
        git_dirty=dirty,
    )


@functools.cache
def _version(package: str) -> tuple[str, str]:
    """Return a package and the version that is installed: it stays what it is once a process has imported it."""
    try:
        return package, version(package)
    except PackageNotFoundError:  # a pin of ours that the user replaced by a build under another name
        return package, "unknown"


def git_state() -> tuple[str | None, bool | None]:
    """Return the commit of the folder that the audit runs in, and whether its files were changed; None outside git."""

    def git(*arguments: str) -> str:
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            ["git", *arguments],  # noqa: S607  # git is where the user's PATH has it
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
            env=environment,
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None
