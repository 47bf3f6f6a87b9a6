"""Whether a model reads the columns as it was trained to: checked against known scores, or questioned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

from auditkit.data.dataset import naming
from auditkit.engine.at_chance import chance_statement
from auditkit.evidence.messages import Message
from auditkit.models.expected import Asked, compare_expected, refuse_others
from auditkit.models.order import better_order
from auditkit.models.predict import predict
from auditkit.stats.ranking import roc_auc

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject


def encoding_statements(subject: Subject) -> tuple[str, ...]:
    """Return what is known of the encoding: that it was checked, or was not, and a question where one arises.

    Raises:
        InputError: the model does not give the scores that it is expected to give.
    """
    if subject.expect is not None:
        with naming(subject.data):
            asked = Asked(
                subject.data.frame, subject.schema, lambda: subject.inputs, lambda cells: _scored(subject, cells)
            )
            compared = compare_expected(subject.expect, asked.frame, subject.schema, subject.predictions)
            refuse_others(subject.expect, compared, asked)
        return (
            Message(
                "Encoding checked: the model gives the scores in {column} on all {n:,} rows.",
                column=subject.expect,
                n=len(subject.labels),
            ),
        )
    if subject.model.states_encoding:
        return ()
    return (
        Message(
            "Encoding not checked: nothing confirms that the model reads the columns as it was trained to; pass "
            "--expect COLUMN with scores that it is known to give."
        ),
        *_order_question(subject),
    )


def _scored(subject: Subject, cells: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the log-odds of a binary task, else the predicted classes or numbers, of encoded rows."""
    if subject.task.positive is None:
        return predict(
            subject.model.module, np.ascontiguousarray(cells), subject.schema, device=subject.device
        ).labels.astype(np.float64)
    with torch.inference_mode():
        outputs = subject.model.module(torch.from_numpy(np.ascontiguousarray(cells))).double().numpy()
    if subject.schema.output == "probabilities":
        return np.asarray(special.logit(np.clip(outputs.reshape(len(cells), -1)[:, -1], 1e-7, 1 - 1e-7)))
    outputs = outputs.reshape(len(cells), -1)
    return np.asarray(outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0])


def _order_question(subject: Subject) -> tuple[str, ...]:
    """Return a question where a model does clearly better with its columns in another order.

    It is asked where their order was guessed, from the data, and where the model is at chance.
    """
    names = [feature.name for feature in subject.schema.features]
    one_decision = subject.task.positive is not None
    if not one_decision or subject.inputs.ndim != 2 or not (subject.model.guessed or chance_statement(subject)):
        return ()

    def rate(cells: NDArray[np.float32], rows: NDArray[np.int64]) -> float:
        labels = subject.labels[rows]
        scores = _scored(subject, cells)
        return roc_auc(labels == 1, scores).value if 0 < labels.sum() < len(labels) else 0.5

    found = better_order(rate, subject.inputs, subject.seed)
    if found is None:
        return ()
    order, then, now = found
    return (
        Message(
            "Is the order of the columns right? On rows that were not searched, the area under the ROC curve is "
            "{then:.3f} with the columns in the order {order}, and {now:.3f} in the present one.",
            then=then,
            now=now,
            order=", ".join(names[place] for place in order),
        ),
    )
