"""What the model relies on: attributions to columns, pixels or words, with their trust checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit import plugins
from auditkit.auditors.explainability.methods import METHODS, InputKind, check_kind, check_name, choose_method
from auditkit.engine.sampling import sample_rows
from auditkit.engine.subject import Subject
from auditkit.engine.work import EXPLANATION
from auditkit.errors import InputError, NotRun, closest
from auditkit.evidence.measurement import Evidence
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import CausalLanguageModel, Differentiable, LanguageModel

if TYPE_CHECKING:
    import torch

    from auditkit.auditors.explainability.target_function import ExplanationInput

DEAR_ROWS = 400
"""At most so many rows are explained where each costs some hundred times what a row of a table does."""

FEWEST_PASSES = 50
"""An explained row goes so often through the model at least: rows that cannot are not even drawn."""

ROW_PASSES = 1000
"""An explained row goes about so often through the model, trust checks included."""

IN_STEPS = ("integrated_gradients", "layer_integrated_gradients")
"""The methods whose cost is a number of steps for each row."""

OTHERS = 100
"""So many rows are drawn for methods that average over baselines, and for the check that other baselines agree."""


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
            check_name(self.method)
        if self.rows < 2:
            raise InputError(f"rows must be at least 2, got {self.rows}.")
        if not 0 < self.tolerance < 1:
            raise InputError(f"tolerance must lie between 0 and 1, got {self.tolerance}.")

    def check(self, subject: Subject) -> None:
        """Refuse a method that is not for this kind of input, and columns that the model does not read."""
        if self.method is not None:
            check_kind(self.method, subject.modality.explained_as)
        if self.continuation is not None and subject.audited.capability(CausalLanguageModel) is None:
            raise InputError("continuation is for causal language models; leave it out.")
        columns = list(subject.schema.column_slices())
        for name in self.immutable:
            if name not in columns:
                raise InputError(f"immutable: the model reads no column {name!r}{closest(name, columns)}.")

    def passes(self, subject: Subject) -> float:
        """Return how many forward passes of a row it makes about.

        Raises:
            NotRun: the budget does not pay for the least.
        """
        most = min(self.rows, DEAR_ROWS if subject.modality.dear else self.rows, len(subject.labels))
        affordable = subject.work.rows(most, FEWEST_PASSES, EXPLANATION)
        kind = subject.modality.explained_as
        if kind in CHECKED_BUDGETS and subject.audited.capability(LanguageModel) is None:
            module, slopes = subject.model.module, subject.audited.capability(Differentiable) is not None
            column_count = len(subject.schema.column_slices())
            method, _ = choose_method(
                self.method, kind=kind, module=module, has_gradient=slopes, column_count=column_count
            )
            CHECKED_BUDGETS[kind](subject, method, affordable)
        return min(most * ROW_PASSES, subject.work.passes(EXPLANATION))

    def audit(self, subject: Subject) -> Evidence:
        """Attribute the decision of a seeded sample of rows to its parts, and check whether to believe it."""
        modality = subject.modality
        most = min(self.rows, DEAR_ROWS if modality.dear else self.rows, len(subject.labels))
        rows = sample_rows(subject, subject.work.rows(most, FEWEST_PASSES, EXPLANATION))
        if subject.audited.capability(LanguageModel) is not None:
            from auditkit.auditors.explainability.next_words_report import explain_next_words

            return explain_next_words(subject, rows, self)
        present = plugins.load("explanations", modality.explained_as)
        module = subject.model.module
        training = module.training
        module.to(subject.device).eval()
        try:
            evidence: Evidence = present(subject, module, rows, self)
            return evidence
        finally:
            module.train(training)


def _check_columns(subject: Subject, method: str, row_count: int) -> None:
    """Raise NotRun unless the budget pays for the least explanation of rows of a table."""
    from auditkit.auditors.explainability.table_costs import affordable_share

    affordable_share(subject.work, method, column_count=len(subject.schema.column_slices()), row_count=row_count)


def _check_segments(subject: Subject, method: str, row_count: int) -> None:
    """Raise NotRun unless the budget pays for the least explanation of rows that are cut into segments."""
    from auditkit.auditors.explainability.segments import layer_count
    from auditkit.auditors.explainability.trials import STEPS, Cost

    if METHODS[method].explanation:
        inputs = subject.encode(sample_rows(subject, row_count))
        part_count = int(subject.modality.segments(inputs, inputs).counts.max(initial=1))
        cost = Cost(method, row_count, part_count, layer_count(subject.model.module))
        cost.check(subject.work, STEPS[0] if method in IN_STEPS else 1)


CHECKED_BUDGETS: dict[InputKind, Callable[[Subject, str, int], None]] = {
    "table": _check_columns,
    "image": _check_segments,
    "text": _check_segments,
    "segments": _check_segments,
}
"""What raises NotRun where the budget pays for no explanation by a method, of each kind of input."""


def explain_table(
    subject: Subject, module: torch.nn.Module, rows: NDArray[np.int64], settings: Explainability
) -> Evidence:
    """Return the evidence about the columns of `rows`, by the method that is asked for, or the default."""
    from auditkit.auditors.explainability import checks
    from auditkit.auditors.explainability.gradients import has_gradient, integer_codes
    from auditkit.auditors.explainability.statistics import scaled
    from auditkit.auditors.explainability.table_checks import FEW_COLUMNS_DRAWS, Randomised, few_columns
    from auditkit.auditors.explainability.table_costs import affordable_share
    from auditkit.auditors.explainability.tables import HowExplained, explain_columns
    from auditkit.auditors.explainability.target_function import TargetFunction

    source = subject.inputs if subject.training_inputs is None else subject.training_inputs
    given = _explanation_input(subject, module, rows, source)
    slopes = has_gradient(given)
    given = given.with_codes(integer_codes(given), source)
    method, notes = choose_method(
        settings.method,
        kind="table",
        module=module,
        has_gradient=slopes,
        column_count=len(given.columns),
        codes=given.codes,
    )
    share = affordable_share(subject.work, method, column_count=len(given.columns), row_count=len(rows))
    wanted = min(settings.rows, len(subject.labels))
    if share < 1 or len(rows) < wanted:
        rows = sample_rows(subject, scaled(len(rows), share))
        predicted = subject.task.explained(subject.predictions.take(rows))
        given = replace(given, inputs=subject.inputs[rows], predicted=predicted)
        notes = [*notes, *subject.work.limited(len(rows), wanted)]
    whole = FEW_COLUMNS_DRAWS if few_columns(given) else 1

    def of(network: torch.nn.Module) -> ExplanationInput:
        return replace(given, decision=TargetFunction(network, subject.task))

    randomised = Randomised(
        [(name, of(network)) for name, network in checks.randomised_layers(module, seed=subject.seed)],
        [of(checks.randomised_network(module, seed=subject.seed + draw)) for draw in range(whole)],
    )
    how = HowExplained(
        method=method,
        notes=notes,
        tolerance=settings.tolerance,
        with_gradient=slopes and not given.codes,
        # No other text is offered to anybody.
        immutable={*settings.immutable, *subject.schema.immutable, *subject.sensitive, *subject.schema.text_cells},
        show_rows=settings.show_rows,
        share=share,
    )
    return explain_columns(subject, given, randomised, how)


def _explanation_input(
    subject: Subject, module: torch.nn.Module, rows: NDArray[np.int64], source: NDArray[np.float32]
) -> ExplanationInput:
    """Return what is explained of `rows`; `source` are the rows that baselines are drawn from.

    Raises:
        ArithmeticError: the model's decision on a row is not finite.
        NotRun: no row's decision differs from that of the baseline.
    """
    from auditkit.auditors.explainability.target_function import ExplanationInput, TargetFunction

    others = np.random.default_rng(subject.seed).choice(len(source), size=min(OTHERS, len(source)), replace=False)
    given = ExplanationInput(
        decision=TargetFunction(module, subject.task),
        inputs=subject.inputs[rows],
        predicted=subject.task.explained(subject.predictions.take(rows)),
        baseline=subject.schema.mean_row(source),
        columns=subject.schema.column_slices(),
        device=subject.device,
        others=source[np.sort(others)],
        texts=tuple(subject.schema.text_cells),
        outputs=subject.task.width,
    )
    change = given.change()
    if not np.isfinite(change).all():
        raise ArithmeticError(
            f"{int((~np.isfinite(change)).sum())} of {len(rows)} rows have a decision that is not finite"
        )
    if not change.any():
        raise NotRun(Message("the model's output does not change between the sampled rows and the baseline"))
    return given
