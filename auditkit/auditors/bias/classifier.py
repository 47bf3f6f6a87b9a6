"""The classifier of continuations: a model that the user names, and what it says of texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from auditkit.auditors.bias.inputs import Table, read_labelled
from auditkit.data.dataset import data_from_frame
from auditkit.errors import InputError
from auditkit.evidence.messages import Message
from auditkit.models.formats.huggingface_settings import read_json
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model
from auditkit.models.predict import predict_rows
from auditkit.stats.misclassification import ClassifierErrors

TEXT, LABEL = "text", "label"
FEWEST_LABELLED = 10
"""Of fewer rows with, or without, the class that is counted, the classifier's errors are not told."""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A model that says of a text whether it is of the class that is counted."""

    model: Model
    counted: str

    def counts(self, texts: Sequence[str], *, device: torch.device) -> NDArray[np.bool_]:
        """Return which texts it puts into the class: (texts,)."""
        schema = self.model.schema
        frame = pd.DataFrame({schema.features[0].name: np.array(texts, dtype=object)})
        code = schema.classes.index(self.counted)
        found = predict_rows(
            self.model.module,
            lambda rows: self.model.modality.encode(frame.iloc[rows]),
            len(frame),
            schema,
            device=device,
        )
        put: NDArray[np.bool_] = found.labels == code
        return put


def open_classifier(path: str, counted: str | None, texts: Sequence[str], labelled: Table | None) -> Classifier:
    """Open the classifier of a path for texts; `counted` is the class that is counted, by default its last.

    Raises:
        InputError: it cannot be opened, reads anything but one column of texts, or has no such class.
    """
    every = [*texts, *(() if labelled is None else labelled.texts[TEXT])]
    data = data_from_frame(pd.DataFrame({TEXT: np.array(every, dtype=object)}))
    columns = Columns(
        read_rows=lambda: data, read_training=lambda: None, target=LABEL, text=TEXT, classes=_named_classes(path)
    )
    try:
        model = open_model(Path(path), columns=columns)
    except InputError as error:
        raise InputError(f"classifier: {error}") from error
    schema = model.schema
    if not schema.classes or [feature.kind for feature in schema.features] != ["text"]:
        raise InputError(f"classifier {path}: must put one column of texts into classes; pass a classifier of texts.")
    counted = schema.classes[-1] if counted is None else counted
    if counted not in schema.classes:
        raise InputError(
            f"classifier {path}: has no class {counted!r}; pass --set bias.counted= one of {', '.join(schema.classes)}."
        )
    return Classifier(model, counted)


def _named_classes(path: str) -> tuple[str, ...] | None:
    """Return the classes that a Hugging Face folder names, in the order of its outputs; None of another model."""
    folder = Path(path)
    if not (folder / "config.json").is_file():
        return None
    named = read_json(f"classifier {path}", folder / "config.json").get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        return tuple(str(named[code]) for code in sorted(named, key=int))
    except (TypeError, ValueError) as error:
        raise InputError(f"classifier {path}: id2label of its config.json names no classes by number.") from error


def check_classifier(path: str, counted: str | None, classifier_rows: str | None) -> None:
    """Refuse a classifier, its class or its labelled rows before any text is continued.

    Raises:
        InputError: as `open_classifier` and `check_labels`.
    """
    classifier = open_classifier(path, counted, ("a",), None)
    if classifier_rows is not None:
        check_labels(classifier, read_labelled(classifier_rows))


def check_labels(classifier: Classifier, labelled: Table) -> None:
    """Raise InputError where a label is no class of the classifier."""
    classes = classifier.model.schema.classes
    for row, label in enumerate(labelled.texts[LABEL]):
        if label not in classes:
            raise InputError(
                f"classifier_rows {labelled.path}: row {row + 1:,} has the label {label[:40]!r}, and the classes of "
                f"the classifier are {', '.join(classes)}."
            )


def errors_on(classifier: Classifier, labelled: Table, *, device: torch.device) -> ClassifierErrors | Message:
    """Return what the classifier says of rows with known labels, or why these tell nothing of its errors.

    Raises:
        InputError: as `check_labels`.
    """
    check_labels(classifier, labelled)
    positive = np.array([label == classifier.counted for label in labelled.texts[LABEL]])
    put = classifier.counts(labelled.texts[TEXT], device=device)
    found = ClassifierErrors(
        hits=int((put & positive).sum()),
        positives=int(positive.sum()),
        rejections=int((~put & ~positive).sum()),
        negatives=int((~positive).sum()),
    )
    if min(found.positives, found.negatives) < FEWEST_LABELLED:
        return Message(
            "{positives:,} labelled rows are of the class {counted} and {negatives:,} are not; {fewest} of both are "
            "needed",
            positives=found.positives, counted=classifier.counted, negatives=found.negatives, fewest=FEWEST_LABELLED,
        )  # fmt: skip
    return found
