"""Columns to tensors and back to columns: the encoding that travels inside the model file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, ValidationError, field_validator, model_validator
from scipy import special

from auditkit import plugins
from auditkit.config_options import tasks_of_others
from auditkit.data.bins import check_rule
from auditkit.errors import DatasetError, SchemaError, closest
from auditkit.evidence.measurement import Record, first_problem
from auditkit.evidence.scalars import Number, PositiveNumber
from auditkit.files import read_text
from auditkit.schema.table import Feature
from auditkit.schema.text import FIRST_WORD, UNKNOWN

Output = Literal["logits", "probabilities", "score", "value", "decisions", "rows", "records", "tokens", "vectors"]
Task = str
"""The name of an installed task."""

OUTPUT_OF = {
    "generation": ("rows", "a generator"),
    "synthetic": ("records", "a table of synthetic records"),
    "language": ("tokens", "a language model"),
    "embeddings": ("vectors", "word vectors"),
}
"""The tasks with an output of their own, and what has it."""

UNPREDICTED = tuple(OUTPUT_OF)
"""The tasks in which nothing is predicted about a row, so that classes do not tell them."""

Labels = NDArray[Any]
"""Class codes, (rows,), -1 where there is no label; in a regression numbers (float64), NaN where there is none.

In a multi-label task 0 or 1, (rows, labels), -1 where a label is missing.
"""


Target = str | tuple[str, ...]
"""The column of the label, or the columns of several labels."""


class Schema(Record):
    """What the columns mean: the features and their encoding, the target and its classes, the sensitive columns.

    In a binary task the last class is the positive one. `output` says what the network returns per row: logits or
    probabilities, one column a class (in a binary task also a single column for the positive class); or that there
    is no network, and hence no feature, but a record of its decisions. In a regression there are no classes, and the
    network returns a `value` in a single column: the prediction is value * `target_scale` + `target_mean`. In a
    multi-label task the classes are the columns of the labels, each 0 or 1, and `target` is the same columns; the
    network returns one column a label, in their order, each with a probability of its own. A generator
    (task "generation") returns whole `rows`, in the encoding of the features; target and classes, if any, only say
    what its rows may show; of a table that one made (task "synthetic") `records` are all there is. A language model
    (task "language") returns probabilities of `tokens`. Word vectors (task
    "embeddings") have no features: their words are the rows, and `vectors` what is returned for them. With a
    `threshold` a row of a binary task, or a label, is predicted positive from this probability, or score, on (else
    0.5). `bins` cuts
    continuous sensitive columns into groups: by edges, `"25,45,65"`, or `"quantiles:4"`. `immutable` names features
    that nobody can change; sensitive ones are taken to be so. `modality` names an installed modality, by default that
    of the features: a table, a text, an image or a recording.
    """

    version: Literal[1] = 1
    features: tuple[Feature, ...]
    target: Target | None
    task: Task
    classes: tuple[str, ...] = ()
    target_mean: Number = 0.0
    target_scale: PositiveNumber = 1.0
    sensitive: tuple[str, ...] = ()
    immutable: tuple[str, ...] = ()
    bins: dict[str, str] = Field(default_factory=dict)
    output: Output = "logits"
    threshold: Number | None = None
    modality: str | None = None

    @field_validator("target", mode="before")
    @classmethod
    def _single(cls, target: Any) -> Any:
        """Return one column by its name, also where it comes as a sequence of one."""
        return target[0] if isinstance(target, list | tuple) and len(target) == 1 else target

    @model_validator(mode="before")
    @classmethod
    def _of_first_version(cls, document: Any) -> Any:
        """Return a document in which several labels, once joined by commas, are the columns that the classes name."""
        if isinstance(document, dict) and document.get("task") == "multilabel":
            classes = tuple(document.get("classes", ()))
            if document.get("target") == ",".join(map(str, classes)):
                return {**document, "target": classes}
        return document

    @model_validator(mode="after")
    def _consistent(self) -> Schema:
        self._check_columns()
        self._check_task()
        self._check_output()
        self._check_threshold()
        return self

    def _check_columns(self) -> None:
        """Raise ValueError where columns are named twice, or contradict each other."""
        for column, rule in self.bins.items():
            check_rule(column, rule)
        names = [column for feature in self.features for column in feature.reads]
        for what, listed in (("feature", names), ("class", self.classes), ("sensitive column", self.sensitive)):
            if len(set(listed)) != len(listed):
                raise ValueError(f"a {what} is named twice")
        for name in self.immutable:
            if name not in names:
                raise ValueError(f"the immutable column {name!r} is no feature{closest(name, names)}")
        for target in self.targets:
            if target in names:
                raise ValueError(f"the target {target!r} is among the features")
        whole = [feature.kind in ("text", "image", "audio") and not feature.is_text_cell for feature in self.features]
        if len(self.features) > 1 and any(whole):
            raise ValueError("a text, an image or a recording must be the only feature")
        if self.modality is None and any(feature.kind == "raw" for feature in self.features):
            raise ValueError("a raw column is read by a modality of its own; name it as modality")

    def _check_task(self) -> None:
        """Raise ValueError where no such task is installed, or the classes are not those of the task."""
        installed = plugins.installed("tasks")
        if self.task not in installed:
            raise ValueError(f"no package installs a task {self.task!r}{closest(self.task, installed)}")
        if len(self.classes) == 1:
            raise ValueError("classes: at least 2, or none in a regression, got 1")
        if self.task == "multilabel":
            if len(self.classes) < 2 or self.target != self.classes:
                raise ValueError("the target of a multilabel task is its label columns, at least 2")
        elif self.task == "outcome":
            if self.classes or self.output != "decisions":
                raise ValueError("a recorded outcome is a number that nothing predicts; it has no classes")
        elif isinstance(self.target, tuple):
            raise ValueError(f"several target columns are task multilabel, got task {self.task}")
        elif self.task not in UNPREDICTED and self.task != task_of(self.classes, self.task):
            raise ValueError(f"a {self.task} task cannot have {len(self.classes)} classes")
        if not predicts_numbers(self.task) and (self.target_mean, self.target_scale) != (0.0, 1.0):
            raise ValueError("only a regression's target has a mean and a scale")

    def _check_output(self) -> None:
        """Raise ValueError where the output is none of the task."""
        for task, (output, what) in OUTPUT_OF.items():
            if (self.output == output) != (self.task == task):
                raise ValueError(f"the output of {what}, and of no other model, is {output}, got {self.output!r}")
        if bool(self.features) == (self.output in ("decisions", "vectors")):
            raise ValueError("features: a model reads at least one; recorded decisions and word vectors have none")
        if self.task == "language" and (self.target is not None or self.kind != "text"):
            raise ValueError("a language model reads one column of texts, and has no target")
        if self.output != "decisions" and (self.output == "value") != predicts_numbers(self.task):
            raise ValueError(f"the output of a regression, and of no other task, is a value, got {self.output!r}")
        if self.output != "score":
            return
        if self.task == "multilabel":
            raise ValueError("a score decides between two classes, and a multilabel task has several labels")
        if self.threshold is None:
            raise ValueError("a score needs a threshold")
        if len(self.classes) > 2:
            raise ValueError("a score decides between two classes")

    def _check_threshold(self) -> None:
        """Raise ValueError where a threshold of probabilities does not fit."""
        if self.threshold is None or self.output == "score":
            return
        if self.task not in ("binary", "multilabel") or self.output == "decisions":
            raise ValueError("a threshold decides between two classes, by a model's probability or score")
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"the threshold of a probability must lie between 0 and 1, got {self.threshold:g}; "
                "--output score takes any"
            )

    def output_at(self, score: float) -> float:
        """Return what a binary network returns where its score is this one: log-odds of a probability, or the same.

        Of two columns of logits it is their difference, of two probabilities the second.
        """
        return float(special.logit(score)) if self.output == "logits" else score

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns of the labels: one, in a multi-label task several, without a target none."""
        return () if self.target is None else target_names(self.target)

    @property
    def decision_threshold(self) -> float:
        """From which probability, or score, on a row of a binary task, or a label, is predicted positive."""
        return 0.5 if self.threshold is None else self.threshold

    @property
    def kind(self) -> Literal["table", "text", "image", "audio"]:
        """What a row is: an encoded row of a table, a text, an image, or a recording."""
        first = self.features[0] if self.features else None
        if first is None or first.is_text_cell or first.kind not in ("text", "image", "audio"):
            return "table"
        return first.kind

    def network_arguments(self) -> dict[str, Any]:
        """Return the arguments of an architecture that follow from the data: what it reads, and its outputs."""
        feature = self.features[0]
        if self.kind == "text":
            reads: dict[str, Any] = {"vocabulary_size": FIRST_WORD + len(feature.vocabulary), "length": feature.length}
        elif feature.shape is not None:
            reads = {"input_shape": list(feature.shape)}
        else:
            reads = {"input_width": self.input_width}
        if self.output == "tokens":
            return {"vocabulary_size": len(feature.vocabulary), "length": feature.length}
        return reads if self.output == "rows" else {**reads, "output_width": len(self.classes) or 1}

    def for_report(self) -> dict[str, Any]:
        """Return the schema as the report records it: vocabularies, which may hold names, pixels by number."""
        record = self.model_dump(mode="json")
        for feature in record["features"]:
            if feature["vocabulary"]:
                feature["vocabulary"] = f"{len(feature['vocabulary']):,} words"
                feature["pieces"] = ""  # the tokenizer, which holds the vocabulary again
            elif feature["columns"]:
                feature["columns"] = f"{len(feature['columns']):,} columns"
            if not feature["resize"]:
                del feature["resample"]
            for name in (
                "tokenizer", "pieces", "vocabulary", "length", "shape", "columns", "resize", "means", "scales",
                "sample_rate", "samples",
            ):  # fmt: skip
                if not feature[name]:
                    del feature[name]
        if self.modality is None:
            del record["modality"]
        if not predicts_numbers(self.task):
            del record["target_mean"], record["target_scale"]
        return record

    @property
    def input_width(self) -> int:
        """The number of cells in an encoded row."""
        return sum(feature.width for feature in self.features)

    def column_slices(self) -> dict[str, slice]:
        """Return, for each feature's name, its cells in the encoded row."""
        slices = {}
        start = 0
        for feature in self.features:
            slices[feature.name] = slice(start, start + feature.width)
            start += feature.width
        return slices

    @property
    def text_cells(self) -> dict[str, int]:
        """The columns of a table that hold whole texts, with the place of their cell in the encoded row."""
        starts = {name: cells.start for name, cells in self.column_slices().items()}
        return {feature.name: starts[feature.name] for feature in self.features if feature.is_text_cell}

    def mean_row(self, encoded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the encoded row that stands for "nothing known", (cells,): the mean row, with the empty text.

        `encoded` are rows of a table, (rows, cells). A text has no mean.
        """
        row: NDArray[np.float32] = encoded.mean(axis=0, dtype=np.float64).astype(np.float32)
        for feature, cells in zip(self.features, self.column_slices().values(), strict=True):
            if feature.is_text_cell:
                row[cells] = 0
                row[cells.start] = UNKNOWN
        return row

    def encode(self, frame: pd.DataFrame) -> NDArray[Any]:
        """Return the rows of a frame as the network reads them, all finite.

        Rows of a table are float32, (rows, input_width); texts int64, (rows, length); images float32, (rows, channels,
        height, width); recordings float32, (rows, samples).

        Columns are found by name: their order does not matter, and others are left alone.

        Raises:
            DatasetError: a feature's column is missing, or a numeric or boolean one holds something else (the
                row, column and value are named).
        """
        self.check_columns(frame)
        if self.kind != "table":
            return self.features[0].encode(frame)
        encoded = np.zeros((len(frame), self.input_width), dtype=np.float32)
        for feature, cells in zip(self.features, self.column_slices().values(), strict=True):
            feature.write(frame, encoded[:, cells])
        return encoded

    def unseen_counts(self, frame: pd.DataFrame) -> dict[str, int]:
        """Return, per feature, the rows whose value has no cell of its own; features without such rows are left out.

        A category that the schema does not list, or a missing value where the schema knows none: it is encoded as
        zeros (a numeric column's mean), and the report says for how many rows. Of a text, the rows without any word of
        the vocabulary.
        """
        self.check_columns(frame)
        counts = {feature.name: int(feature.unseen(frame).sum()) for feature in self.features}
        return {name: count for name, count in counts.items() if count}

    def cut_count(self, frame: pd.DataFrame) -> int:
        """Return the rows whose text has more tokens than the model reads; 0 where the rows are no texts.

        A language model reads a long text in windows, and cuts none.
        """
        if self.task == "language":
            return 0
        return sum(int(feature.cut(frame).sum()) for feature in self.features if feature.kind == "text")

    def check_columns(self, frame: pd.DataFrame) -> None:
        """Raise DatasetError where a feature's column is missing from the frame."""
        present = set(frame.columns)
        read = [column for feature in self.features for column in feature.reads]
        absent = [column for column in read if column not in present]
        if absent:
            others = [str(column) for column in frame.columns if column not in set(read)]
            more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
            raise DatasetError(f"has no column {absent[0]!r}{more}, which the model reads{closest(absent[0], others)}.")


def task_of(classes: Sequence[str], stated: str | None = None) -> Task:
    """Return the task of predicting these classes; without any, a regression.

    A `stated` task of another package is kept where it predicts classes, and these are some, or numbers.

    >>> task_of(("no", "yes")), task_of(("low", "medium", "high"), "binary"), task_of(())
    ('binary', 'multiclass', 'regression')
    """
    if stated in tasks_of_others() and predicts_numbers(stated) == (not classes):
        return stated
    return "binary" if len(classes) == 2 else "multiclass" if classes else "regression"


def predicts_numbers(task: str) -> bool:
    """Return whether a task predicts numbers: the regression, and what another package's says of itself."""
    if task not in tasks_of_others():
        return task == "regression"
    return bool(plugins.load("tasks", task).predicts_numbers)


def target_names(target: Target) -> tuple[str, ...]:
    """Return the columns that a target names.

    >>> target_names("rain,snow"), target_names(("rain", "snow"))
    (('rain,snow',), ('rain', 'snow'))
    """
    return (target,) if isinstance(target, str) else tuple(target)


def as_target(names: Sequence[str]) -> Target:
    """Return columns as a target: one by its name, several as a tuple.

    >>> as_target(["rain"]), as_target(["rain", "snow"])
    ('rain', ('rain', 'snow'))
    """
    return names[0] if len(names) == 1 else tuple(names)


def no_column(role: str, name: str, columns: Sequence[str]) -> str:
    """Return the words for a column that is not there, with the nearest one, or how several labels are named.

    >>> no_column("target", "rain,snow", ["rain", "snow"])
    "has no target column 'rain,snow'; name each label by itself: --target rain --target snow"
    """
    parts = name.split(",")
    if len(parts) > 1 and set(parts) <= set(columns):
        each = " ".join(f"--{role} {part}" for part in parts)
        return f"has no {role} column {name!r}; name each label by itself: {each}"
    return f"has no {role} column {name!r}{closest(name, columns)}"


def has_label(labels: Labels) -> NDArray[np.bool_]:
    """Return which rows have a label; of several labels, which have all of them.

    >>> has_label(np.array([0, -1, 2])).tolist(), has_label(np.array([-1.5, np.nan])).tolist()
    ([True, False, True], [True, False])
    """
    known = each_label(labels)
    if known.ndim == 1:
        return known
    every: NDArray[np.bool_] = np.all(known, axis=1)
    return every


def each_label(labels: Labels) -> NDArray[np.bool_]:
    """Return which labels are there, in the shape of the labels."""
    if np.issubdtype(labels.dtype, np.floating):
        return ~np.isnan(labels)
    known: NDArray[np.bool_] = labels >= 0
    return known


def without_labels(labels: Labels, kept: NDArray[np.bool_]) -> Labels:
    """Return labels of which those that are not kept are none.

    >>> without_labels(np.array([0, 1]), np.array([True, False])).tolist()
    [0, -1]
    """
    none = np.nan if np.issubdtype(labels.dtype, np.floating) else -1
    return np.where(kept, labels, labels.dtype.type(none))


def read_schema(path: str | Path) -> Schema:
    """Read a schema from a JSON file, as `auditkit schema infer` writes it.

    Raises:
        SchemaError: no such file, not JSON, or not a schema; the part that is wrong is named.
    """
    text = read_text(path, f"schema {path}", error=SchemaError)
    try:
        schema = Schema.model_validate_json(text)
    except ValidationError as error:
        where, problem = first_problem(error)
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            known = Feature.model_fields if len(first["loc"]) > 1 else Schema.model_fields
            problem = f"unknown key{closest(str(first['loc'][-1]), known)}"
        raise SchemaError(f"schema {path}: {where or 'its text'}: {problem}.") from error
    verbatim = [feature.name for feature in schema.features if feature.is_verbatim]
    if verbatim:
        raise SchemaError(
            f"schema {path}: column {verbatim[0]!r} is kept verbatim, for a model that reads the data's columns itself "
            "(--preprocess, --predictor), and such a model takes no schema file."
        )
    return schema
