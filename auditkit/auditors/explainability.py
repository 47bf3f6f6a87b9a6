"""What the model relies on: integrated gradients by Captum, per column of the user's data, checked for completeness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from captum.attr import IntegratedGradients
from numpy.typing import NDArray

from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import Evidence, Facts, Interval, Measurement, Slice, SliceChart
from auditkit.metrics.attributions import ratio_of_means, sum_by_column
from auditkit.subject.schema import Schema
from auditkit.subject.subject import Subject

SOURCE = "Sundararajan et al. 2017, arXiv:1703.01365; captum.attr.IntegratedGradients"
METHOD = "delta method for a ratio of means"
ROWS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Explainability:
    """Integrated gradients over a seeded sample of `rows` rows, with `steps` Gauss-Legendre points each."""

    rows: int = 2000
    steps: int = 64

    requires: ClassVar = ("model",)
    measures: ClassVar = (
        "explainability.attribution_share",
        "explainability.completeness_error",
        "explainability.sensitive_attribution_share",
    )

    def __post_init__(self) -> None:
        """Refuse a sample or a number of steps that means nothing."""
        for name, least in (("rows", 2), ("steps", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}.")

    def audit(self, subject: Subject) -> Evidence:
        """Attribute the decision to the columns, and say how complete the attribution is."""
        inputs = subject.inputs
        rng = np.random.default_rng(subject.seed)
        sample = np.sort(rng.choice(len(inputs), size=min(self.rows, len(inputs)), replace=False))
        explained = inputs[sample]
        origin = inputs.mean(axis=0, dtype=np.float64).astype(np.float32)
        decision = decision_function(subject.model.module, subject.schema)
        attributions, change = integrated_gradients(
            subject.model.module,
            decision,
            explained,
            subject.predictions.labels[sample],
            origin,
            steps=self.steps,
            device=subject.device,
            progress=subject.progress,
        )
        if not (np.isfinite(attributions).all() and np.isfinite(change).all()):
            bad = int((~np.isfinite(attributions).all(axis=1) | ~np.isfinite(change)).sum())
            raise ArithmeticError(f"{bad} of {len(sample)} rows have attributions that are not finite")
        moved = np.abs(change)
        if moved.mean() == 0:
            raise NotRun("the model's output does not change between the sampled rows and the baseline")

        columns = list(subject.schema.column_slices())
        by_column = np.abs(sum_by_column(attributions, subject.schema.column_slices()))
        sensitive_inputs = [column for column in subject.sensitive if column in columns]
        measurements = [
            shares(by_column, columns, level=subject.conf_level),
            completeness(attributions.sum(axis=1) - change, moved, level=subject.conf_level),
            sensitive_share(by_column, columns, subject.sensitive, level=subject.conf_level),
        ]
        settings = Facts(
            title="How the attributions were made",
            rows=(
                ("Method", f"integrated gradients, {self.steps} Gauss-Legendre steps, Captum"),
                ("Explained", _explained(subject.schema)),
                ("Baseline", "the mean encoded row of the audited data"),
                ("Sample", f"{len(sample):,} of {len(inputs):,} rows, drawn with seed {subject.seed}"),
                ("Sensitive columns that are inputs", ", ".join(sensitive_inputs) or "none"),
            ),
        )
        chart = SliceChart(
            title="Share of attribution by column",
            note="The mean absolute attribution of each column of the data, as a share of all columns.",
            measurement="explainability.attribution_share",
            by=("column",),
        )
        notes = (
            []
            if len(sample) == len(inputs)
            else [f"A seeded sample of {len(sample):,} of {len(inputs):,} rows was explained."]
        )
        return Evidence(measurements=measurements, exhibits=[chart, settings], notes=notes)


Decision = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


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


def _explained(schema: Schema) -> str:
    what = "probability" if schema.output == "probabilities" else "log-odds" if schema.task == "binary" else "logit"
    return f"the {what} of {schema.classes[-1]}" if schema.task == "binary" else f"the {what} of the predicted class"


def integrated_gradients(
    module: torch.nn.Module,
    decision: Decision,
    inputs: NDArray[np.float32],
    predicted: NDArray[np.int64],
    baseline: NDArray[np.float32],
    *,
    steps: int,
    device: torch.device,
    progress: Callable[[float, str], None] = lambda fraction, what: None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the attributions (rows, cells) and the change of the decision from the baseline (rows,).

    A complete attribution sums to the change over its cells. The module is run in evaluation mode.

    Raises:
        NotRun: the decision has no gradient with respect to the inputs.
    """
    training = module.training
    module.to(device).eval()
    try:
        origin = torch.from_numpy(baseline).to(device)[None]
        classes = torch.from_numpy(predicted).to(device)
        if not decision(origin.clone().requires_grad_(), classes[:1]).requires_grad:
            raise NotRun("the model's output has no gradient with respect to its inputs")
        method = IntegratedGradients(decision)
        attributions, changes = [], []
        for start in range(0, len(inputs), ROWS_AT_ONCE):
            rows = torch.from_numpy(inputs[start : start + ROWS_AT_ONCE]).to(device)
            chosen = classes[start : start + ROWS_AT_ONCE]
            part = method.attribute(
                rows,
                baselines=origin.expand_as(rows),
                additional_forward_args=(chosen,),
                n_steps=steps,
                method="gausslegendre",
            )
            with torch.no_grad():
                change = decision(rows, chosen) - decision(origin.expand_as(rows), chosen)
            changes.append(change.double().cpu().numpy())
            attributions.append(part.detach().double().cpu().numpy())
            progress(min(1.0, (start + len(rows)) / len(inputs)), f"{start + len(rows):,} of {len(inputs):,} rows")
        return np.concatenate(attributions), np.concatenate(changes)
    finally:
        module.train(training)


def shares(by_column: NDArray[np.float64], columns: list[str], *, level: float) -> Measurement:
    """Return `explainability.attribution_share`: one slice a column, largest first, summing to 1."""
    value, low, high = ratio_of_means(by_column, by_column.sum(axis=1), level=level)
    _, wide_low, wide_high = ratio_of_means(by_column, by_column.sum(axis=1), level=level, family_size=len(columns))
    slices = [
        Slice(
            name=columns[index],
            value=float(value[index]),
            count=len(by_column),
            interval=Interval(low=float(low[index]), high=float(min(high[index], 1.0)), level=level, method=METHOD),
            simultaneous_interval=Interval(
                low=float(wide_low[index]),
                high=float(min(wide_high[index], 1.0)),
                level=level,
                method=f"{METHOD}, Bonferroni",
            ),
        )
        for index in np.argsort(-value, kind="stable")
    ]
    return Measurement(
        id="explainability.attribution_share",
        by=("column",),
        unit="share",
        better="neither",
        count=len(by_column),
        slices=tuple(slices),
        source=SOURCE,
    )


def completeness(missed: NDArray[np.float64], moved: NDArray[np.float64], *, level: float) -> Measurement:
    """Return `explainability.completeness_error`: mean |sum of attributions - change| over mean |change|; ideal 0."""
    value, low, high = ratio_of_means(np.abs(missed)[:, None], moved, level=level)
    return Measurement(
        id="explainability.completeness_error",
        value=float(value[0]),
        unit="ratio",
        better="lower",
        count=len(moved),
        interval=Interval(low=float(low[0]), high=float(high[0]), level=level, method=METHOD),
        source=SOURCE,
    )


def sensitive_share(
    by_column: NDArray[np.float64], columns: list[str], sensitive: tuple[str, ...], *, level: float
) -> Measurement:
    """Return `explainability.sensitive_attribution_share`: what falls on sensitive columns; ideal 0.

    Exactly 0 where no sensitive column is an input. Proxies of a sensitive column are not counted.
    """
    value: float | None = None
    interval, reason = None, None
    chosen = [index for index, column in enumerate(columns) if column in sensitive]
    if not sensitive:
        reason = "no column was named sensitive; pass --sensitive COLUMN"
    elif not chosen:
        value = 0.0
    else:
        on_sensitive = by_column[:, chosen].sum(axis=1, keepdims=True)
        point, low, high = ratio_of_means(on_sensitive, by_column.sum(axis=1), level=level)
        value = float(point[0])
        interval = Interval(low=float(low[0]), high=float(min(high[0], 1.0)), level=level, method=METHOD)
    return Measurement(
        id="explainability.sensitive_attribution_share",
        value=value,
        unit="share",
        better="lower",
        count=len(by_column),
        interval=interval,
        source=SOURCE,
        reason=reason,
    )
