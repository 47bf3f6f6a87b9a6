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
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import Evidence
from auditkit.subject.schema import Schema
from auditkit.subject.subject import Subject


@dataclass(frozen=True, kw_only=True)
class Explainability:
    """Integrated gradients over a seeded sample of `rows` rows, complete within `tolerance`, and their trust checks."""

    rows: int = 2000
    tolerance: float = 0.005

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
        if subject.schema.kind != "table":
            raise NotRun(f"explanations of {subject.schema.kind} models are not made yet")
        rows = sample_rows(subject, self.rows)
        module = subject.model.module
        training = module.training
        module.to(subject.device).eval()
        try:
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
