"""What a report records of its subject: files, rows, environment, and the report that it was compared with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, model_validator

from auditkit.evidence.measurement import Record
from auditkit.evidence.messages import Message, Text
from auditkit.evidence.scalars import Flag, Number, WholeNumber

Instant = Annotated[AwareDatetime, Field(ge=datetime(1980, 1, 1, tzinfo=UTC), lt=datetime(9999, 1, 1, tzinfo=UTC))]
"""A time with its zone, in the years that files, PDFs and every zone's calendar can state."""


class FileRecord(Record):
    """A file that took part: its path as given, its sha256 (None for objects that came from memory)."""

    path: str | None
    sha256: str | None


class ModelRecord(FileRecord):
    """The audited model: `kind` is how it was opened, `trust` what opening it could have run."""

    name: str
    kind: str
    trust: Text
    architecture: str | None
    parameter_count: WholeNumber


class DatasetRecord(FileRecord):
    """A data set: `row_count` as read, `audited_row_count` after sampling and after rows without a label.

    `rows_sha256` tells which of its rows were used, with which labels, in which order. `alarm` is what readers must
    be told in red: that the training data are not the model's.
    """

    row_count: WholeNumber
    audited_row_count: WholeNumber
    rows_sha256: str | None = None
    alarm: Text | None = None


class SamplingRecord(Record):
    """The columns of weights and of clusters, and what the audited rows are worth with them.

    `effective_row_count` is Kish's effective sample size by the weights (the number of rows without weights),
    `cluster_count` the number of clusters and `largest_cluster` the number of rows of the largest one, None without.
    """

    weight: str | None = None
    cluster: str | None = None
    row_count: WholeNumber
    effective_row_count: Number
    cluster_count: WholeNumber | None = None
    largest_cluster: WholeNumber | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a reader is told first: the effective sample size, and how many clusters there are."""
        said: list[str] = []
        if self.weight is not None:
            said.append(
                Message(
                    "Weighted by {weight}: effective sample size {effective:,.0f} of {rows:,}.",
                    weight=self.weight,
                    effective=self.effective_row_count,
                    rows=self.row_count,
                )
            )
        if self.cluster_count is not None and self.largest_cluster is not None:
            said.append(
                Message(
                    "Clustered by {cluster}: {rows:,} rows in {count:,} clusters, the largest of {largest:,} rows.",
                    cluster=self.cluster,
                    rows=self.row_count,
                    count=self.cluster_count,
                    largest=self.largest_cluster,
                )
            )
            if self.cluster_count < FEWEST_CLUSTERS:
                said.append(
                    Message(
                        "With fewer than {fewest} clusters every interval rests on Student's t with {freedom} degrees "
                        "of freedom or fewer.",
                        fewest=FEWEST_CLUSTERS,
                        freedom=self.cluster_count - 1,
                    )
                )
        return tuple(said)


FEWEST_CLUSTERS = 20
"""With fewer clusters than this a report says that its intervals rest on the t correction."""


class SubjectRecord(Record):
    """What was audited: model, data, and the schema between them; `notes` say what was dropped or sampled.

    `sampling` is there where rows have weights or come in clusters, `hints` point out columns that look like it.
    `encoding` says whether it was checked that the model reads the columns as it was trained to. `statements` is what a
    reader must know before any number: what was guessed, and labels that are known for a selection of the rows.
    """

    model: ModelRecord | None
    dataset: DatasetRecord
    training_dataset: DatasetRecord | None = None
    sensitive: tuple[str, ...] = ()
    notes: tuple[Text, ...] = ()
    encoding: tuple[Text, ...] = ()
    sampling: SamplingRecord | None = None
    hints: tuple[Text, ...] = ()
    statements: tuple[Text, ...] = ()
    schema_: dict[str, Any] = Field(alias="schema", serialization_alias="schema")

    model_config = Record.model_config | {"populate_by_name": True, "serialize_by_alias": True}

    @model_validator(mode="after")
    def _readable(self) -> SubjectRecord:
        features, classes = (self.schema_.get(name) or [] for name in ("features", "classes"))
        if not isinstance(features, list | tuple) or not all(isinstance(feature, dict) for feature in features):
            raise ValueError("its features must be a list of objects")
        if not isinstance(classes, list | tuple):
            raise ValueError("its classes must be a list")
        return self


class Environment(Record):
    """Where the run happened; an allow-list, so that no secret of the machine enters the report."""

    auditkit: str
    python: str
    platform: str
    packages: dict[str, str]
    device: str
    threads: WholeNumber
    seed: WholeNumber
    git_commit: str | None = None
    git_dirty: Flag | None = None

    def differences(self, other: Environment) -> list[str]:
        """Say where `other` differs in what can change numbers: versions, device, threads."""
        here = {"auditkit": self.auditkit, "Python": self.python, "device": self.device, "threads": self.threads}
        there = {"auditkit": other.auditkit, "Python": other.python, "device": other.device, "threads": other.threads}
        pairs = {**here, **self.packages}, {**there, **other.packages}
        names = dict.fromkeys([*pairs[0], *pairs[1]])
        return [
            f"{name} {pairs[0].get(name, 'absent')}, now {pairs[1].get(name, 'absent')}"
            for name in names
            if pairs[0].get(name) != pairs[1].get(name)
        ]


class BaselineRecord(FileRecord):
    """The report that regressions were judged against: its file, its run, and what it audited.

    `same_rows` says whether both audits saw the very same rows, `weight` is the column by which the rows of the
    baseline were weighted, if any. `unsealed` says that it was read from a file that no manifest listed.
    """

    run_id: str
    created: Instant
    model: ModelRecord | None
    dataset: DatasetRecord
    same_rows: Flag
    weight: str | None = None
    unsealed: Flag = False
