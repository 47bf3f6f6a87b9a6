"""What the model relies on: attributions to columns, pixels or words, with their trust checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit import plugins
from auditkit.engine.sampling import sample_rows
from auditkit.engine.subject import Subject
from auditkit.engine.work import EXPLANATION
from auditkit.errors import InputError, closest
from auditkit.evidence.measurement import Evidence
from auditkit.models.capabilities import CausalLanguageModel, LanguageModel

if TYPE_CHECKING:
    import torch

    from auditkit.auditors.explainability.target_function import ExplanationInput

DEAR_ROWS = 400
"""At most so many rows are explained where each costs some hundred times what a row of a table does."""

FEWEST_PASSES = 50
"""An explained row goes so often through the model at least: rows that cannot are not even drawn."""

ROW_PASSES = 1000
"""A row that another package explains is taken to go so often through the model."""


@dataclass(frozen=True, kw_only=True)
class Explainability:
    """Attributions of a seeded sample of `rows` rows, and their trust checks.

    `method` is one of `explainability.methods.METHODS`; by default integrated gradients, complete within
    `tolerance`, or Shapley values where the model has no gradient. Of images at most 400 are explained; texts and
    images take 20, 60 or 180 steps. `immutable` adds columns to those that, by the schema, nobody can change.
    `show_rows` puts single rows, texts and images of the audited data into the report: prototypes and the worst errors.
    Of a causal language model the log-probability of the next word is explained by the words before it: of a word of
    each text drawn by the seed, or of a `continuation` behind each text.
    """

    method: str | None = None
    rows: int = 2000
    tolerance: float = 0.005
    immutable: tuple[str, ...] = ()
    show_rows: bool = False
    continuation: str | None = None

    requires: ClassVar = ("predictions or language", "model")
    multilabel: ClassVar = True
    measures: ClassVar = tuple(
        f"explainability.{name}"
        for name in (
            "attribution_share",
            "sensitive_attribution_share",
            "proxy_attribution_share",
            "interaction_ratio",
            "completeness_error",
            "infidelity",
            "maximum_sensitivity",
            "deletion_advantage",
            "insertion_advantage",
            "method_agreement",
            "randomised_weights_correlation",
            "failed_trust_checks",
            "word_attribution",
            "word_attribution_share",
            "phrase_attribution",
            "word_attention_share",
            "unknown_word_rate",
            "region_attribution_share",
            "stability",
            "principal_reason_rate",
            "recourse_rate",
            "recourse_cost",
        )
    )

    def __post_init__(self) -> None:
        """Refuse a method that is not offered, and a sample or a tolerance that means nothing."""
        if self.method is not None:
            from auditkit.auditors.explainability.methods import check_name

            check_name(self.method)
        if self.rows < 2:
            raise InputError(f"rows must be at least 2, got {self.rows}.")
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance must lie between 0 and 1, got {self.tolerance}.")

    def check(self, subject: Subject) -> None:
        """Refuse a method that is not for this kind of input, and columns that the model does not read."""
        if self.method is not None:
            from auditkit.auditors.explainability.methods import check_kind

            check_kind(self.method, subject.modality.explained_as)
        if self.continuation is not None and subject.audited.capability(CausalLanguageModel) is None:
            raise InputError("continuation is for causal language models; leave it out.")
        columns = list(subject.schema.column_slices())
        for name in self.immutable:
            if name not in columns:
                raise InputError(f"immutable: the model reads no column {name!r}{closest(name, columns)}.")

    def passes(self, subject: Subject) -> float:
        """Return how many forward passes of a row it makes about, by the plan that `audit` follows.

        Raises:
            NotRun: the budget does not pay for the least.
        """
        rows = self._rows(subject)
        if subject.audited.capability(LanguageModel) is not None:
            from auditkit.auditors.explainability.next_words_report import planned_passes

            return planned_passes(subject, rows, self)
        with _evaluated(subject) as module:
            return _planned(subject, module, rows, self)

    def audit(self, subject: Subject) -> Evidence:
        """Attribute the decision of a seeded sample of rows to its parts, and check whether to believe it."""
        rows = self._rows(subject)
        if subject.audited.capability(LanguageModel) is not None:
            from auditkit.auditors.explainability.next_words_report import explain_next_words

            return explain_next_words(subject, rows, self)
        present = plugins.load("explanations", subject.modality.explained_as)
        with _evaluated(subject) as module:
            evidence: Evidence = present(subject, module, rows, self)
        return evidence

    def _rows(self, subject: Subject) -> NDArray[np.int64]:
        """Return the rows that may be explained: fewer are, where the plan of their kind asks for it."""
        most = min(self.rows, DEAR_ROWS if subject.modality.dear else self.rows, len(subject.labels))
        return sample_rows(subject, subject.work.rows(most, FEWEST_PASSES, EXPLANATION))


@contextmanager
def _evaluated(subject: Subject) -> Iterator[torch.nn.Module]:
    """Hold the network on the device of the audit in eval mode; afterwards it is in its own mode."""
    module = subject.model.module
    training = module.training
    module.to(subject.device).eval()
    try:
        yield module
    finally:
        module.train(training)


def _planned(subject: Subject, module: torch.nn.Module, rows: NDArray[np.int64], settings: Explainability) -> float:
    """Return the passes of the plan that the explanation of this kind of input follows."""
    from auditkit.auditors.explainability.any_segments import passes_of_segments
    from auditkit.auditors.explainability.images import passes_of_images
    from auditkit.auditors.explainability.table_plan import passes_of_table
    from auditkit.auditors.explainability.texts import passes_of_texts

    planned = {
        "table": passes_of_table,
        "image": passes_of_images,
        "text": passes_of_texts,
        "segments": passes_of_segments,
    }.get(subject.modality.explained_as)
    return len(rows) * ROW_PASSES if planned is None else planned(subject, module, rows, settings)


def explain_table(
    subject: Subject, module: torch.nn.Module, rows: NDArray[np.int64], settings: Explainability
) -> Evidence:
    """Return the evidence about the columns of `rows`, by the method that is asked for, or the default."""
    from auditkit.auditors.explainability import checks
    from auditkit.auditors.explainability.table_checks import FEW_COLUMNS_DRAWS, Randomised, few_columns
    from auditkit.auditors.explainability.table_plan import planned_table
    from auditkit.auditors.explainability.tables import explain_columns
    from auditkit.auditors.explainability.target_function import TargetFunction

    plan = planned_table(subject, module, rows, settings)
    whole = FEW_COLUMNS_DRAWS if few_columns(plan.explained) else 1

    def of(network: torch.nn.Module) -> ExplanationInput:
        return replace(plan.explained, decision=TargetFunction(network, subject.task))

    randomised = Randomised(
        [(name, of(network)) for name, network in checks.randomised_layers(module, seed=subject.seed)],
        [of(checks.randomised_network(module, seed=subject.seed + draw)) for draw in range(whole)],
    )
    return explain_columns(subject, plan, randomised, tolerance=settings.tolerance, show_rows=settings.show_rows)
