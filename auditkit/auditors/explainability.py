"""What the model relies on: integrated gradients per column of the user's data, with their trust checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.attribution import checks
from auditkit.attribution.decision import Decision, Explained
from auditkit.auditors.explained_columns import explain_columns, sample_rows
from auditkit.auditors.explained_images import explain_images
from auditkit.auditors.explained_texts import explain_texts
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import Evidence
from auditkit.subject.schema import Schema
from auditkit.subject.subject import Subject

IMAGE_ROWS = 400
"""At most so many images are explained: each costs some hundred times what a row of a table does."""


@dataclass(frozen=True, kw_only=True)
class Explainability:
    """Integrated gradients over a seeded sample of `rows` rows, complete within `tolerance`, and their trust checks.

    Of images at most 400 are explained; texts and images take 20, 60 or 180 steps. `show_rows` puts single texts
    and images of the audited data into the report: prototypes and the worst errors.
    """

    rows: int = 2000
    tolerance: float = 0.005
    show_rows: bool = False

    requires: ClassVar = ("model",)
    measures: ClassVar = tuple(
        f"explainability.{name}"
        for name in (
            "attribution_share",
            "sensitive_attribution_share",
            "completeness_error",
            "infidelity",
            "maximum_sensitivity",
            "deletion_advantage",
            "method_agreement",
            "randomised_weights_correlation",
            "failed_trust_checks",
            "word_attribution",
            "word_attribution_share",
            "unknown_word_rate",
            "region_attribution_share",
            "principal_reason_rate",
            "recourse_rate",
        )
    )

    def __post_init__(self) -> None:
        """Refuse a sample or a tolerance that means nothing."""
        if self.rows < 2:
            raise InputError(f"rows must be at least 2, got {self.rows}.")
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance must lie between 0 and 1, got {self.tolerance}.")

    def audit(self, subject: Subject) -> Evidence:
        """Attribute the decision of a seeded sample of rows to the columns, and check whether to believe it."""
        kind = subject.schema.kind
        rows = sample_rows(subject, min(self.rows, IMAGE_ROWS) if kind == "image" else self.rows)
        module = subject.model.module
        training = module.training
        module.to(subject.device).eval()
        try:
            if kind == "text":
                return self._explain_texts(subject, module, rows)
            if kind == "image":
                return self._explain_images(subject, module, rows)
            return self._explain(subject, module, rows)
        finally:
            module.train(training)

    def _explain(self, subject: Subject, module: torch.nn.Module, rows: NDArray[np.int64]) -> Evidence:
        source = subject.inputs if subject.training_inputs is None else subject.training_inputs

        def explained(network: torch.nn.Module) -> Explained:
            return Explained(
                decision=decision_function(network, subject.schema),
                inputs=subject.inputs[rows],
                predicted=subject.predictions.labels[rows],
                baseline=source.mean(axis=0, dtype=np.float64).astype(np.float32),
                columns=subject.schema.column_slices(),
                device=subject.device,
            )

        given = explained(module)
        change = given.change()
        if not np.isfinite(change).all():
            raise ArithmeticError(
                f"{int((~np.isfinite(change)).sum())} of {len(rows)} rows have a decision that is not finite"
            )
        if not change.any():
            raise NotRun("the model's output does not change between the sampled rows and the baseline")
        randomised = [
            (name, explained(network)) for name, network in checks.randomised_layers(module, seed=subject.seed)
        ]
        return explain_columns(subject, given, randomised, tolerance=self.tolerance)

    def _explain_texts(self, subject: Subject, module: torch.nn.Module, rows: NDArray[np.int64]) -> Evidence:
        shuffled = _shuffled(module, subject)
        return explain_texts(
            subject,
            decision_function(module, subject.schema),
            _embedding(module),
            (decision_function(shuffled, subject.schema), _embedding(shuffled)),
            rows,
            show_rows=self.show_rows,
        )

    def _explain_images(self, subject: Subject, module: torch.nn.Module, rows: NDArray[np.int64]) -> Evidence:
        return explain_images(
            subject,
            decision_function(module, subject.schema),
            decision_function(_shuffled(module, subject), subject.schema),
            rows,
            show_rows=self.show_rows,
        )


def _shuffled(module: torch.nn.Module, subject: Subject) -> torch.nn.Module:
    """Return a copy of a module with the weights of every layer shuffled."""
    *_, (_, shuffled) = checks.randomised_layers(module, seed=subject.seed)
    return shuffled


def _embedding(module: torch.nn.Module) -> torch.nn.Module:
    """Return the layer that turns token ids into vectors.

    Raises:
        NotRun: the module has no such layer, so that gradients cannot reach the words.
    """
    for layer in module.modules():
        if isinstance(layer, torch.nn.Embedding):
            return layer
    raise NotRun("the model has no torch.nn.Embedding, where the attribution to words would begin")


def decision_function(module: torch.nn.Module, schema: Schema) -> Decision:
    """Return the scalar that is explained, as a function of inputs (rows, cells) and predicted classes (rows,).

    For a binary task the log-odds of the positive class (its probability where the model gives
    probabilities); for several classes the output of each row's predicted class. One value a row.
    """

    def decision(inputs: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = module(inputs).reshape(len(inputs), -1)
        if outputs.shape[1] == 1:
            return outputs[:, 0]
        if schema.task == "binary":
            return outputs[:, 1] if schema.output == "probabilities" else outputs[:, 1] - outputs[:, 0]
        return outputs.gather(1, predicted[:, None])[:, 0]

    return decision
