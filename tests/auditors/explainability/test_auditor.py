"""Integrated gradients by closed forms, and the statistics over attributions by simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import auditkit
from auditkit.auditors.explainability.auditor import Explainability
from auditkit.auditors.explainability.statistics import sum_by_column
from auditkit.auditors.explainability.target_function import TargetFunction
from auditkit.errors import InputError
from auditkit.evidence.report import Outcome
from auditkit.schema.infer import numeric_schema
from auditkit.tasks.base import task_for


def linear(weights: list[float]) -> torch.nn.Module:
    """Two logits whose difference is the weighted sum."""
    module = torch.nn.Linear(len(weights), 2, bias=True)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0] * len(weights), weights]))
    return module


def rows(count: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def test_the_module_is_explained_in_evaluation_mode_and_left_as_it_was() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.9), torch.nn.Linear(8, 2)).train()
    reports = [explain(module) for _ in range(2)]
    first, second = (report.measurement("explainability.attribution_share", ("column",)) for report in reports)
    assert first == second
    assert module.training


def test_several_classes_explain_the_predicted_one() -> None:
    module = torch.nn.Linear(2, 3, bias=False)
    schema = numeric_schema(["a", "b"], target="y", classes=("0", "1", "2"))
    inputs = torch.from_numpy(rows(30, 2))
    predicted = module(inputs).argmax(dim=1)
    decided = TargetFunction(module, task_for(schema))(inputs, predicted)
    torch.testing.assert_close(decided, module(inputs).max(dim=1).values)


def frame(count: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.normal(size=(count, 3)), columns=["a", "b", "c"])
    table["y"] = np.where(2 * table["a"] - table["b"] + rng.normal(size=count) > 0, "yes", "no")
    table["side"] = rng.choice(["left", "right"], size=count)
    return table


def explain(module: torch.nn.Module, method: str | None = None) -> auditkit.Report:
    auditor = Explainability(rows=300, method=method)
    return auditkit.audit(module, frame(), target="y", classes=["no", "yes"], sensitive=["side"], auditors=[auditor])


def outcome_of(report: auditkit.Report) -> Outcome:
    return next(outcome for outcome in report.outcomes if outcome.auditor == "explainability")


def test_a_column_that_the_model_ignores_has_no_share_and_shares_sum_to_1() -> None:
    report = explain(linear([2.0, -1.0, 0.0]))
    shares = report.measurement("explainability.attribution_share", ("column",))
    assert shares is not None
    by_name = {part.group.text: part for part in shares.slices}
    assert by_name["c"].value == 0
    assert sum(part.value or 0.0 for part in shares.slices) == pytest.approx(1)
    assert [part.group.text for part in shares.slices] == ["a", "b", "c"]
    # Columns are standard normal, so the shares are 2/3 and 1/3 up to sampling.
    interval = by_name["a"].simultaneous_interval
    assert interval is not None
    assert interval.low < 2 / 3 < interval.high
    error = report.measurement("explainability.completeness_error")
    assert error is not None
    assert error.value is not None
    assert error.value < 1e-4
    share = report.measurement("explainability.sensitive_attribution_share")
    assert share is not None
    assert share.value == 0, "the sensitive column is no input"


def test_a_constant_model_is_not_explained() -> None:
    outcome = outcome_of(explain(linear([0.0, 0.0, 0.0])))
    assert outcome.reason is not None
    assert "does not change" in outcome.reason


class Step(torch.nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs[:, :2] > 0).float()


def test_without_a_gradient_shapley_values_take_over_and_the_report_says_so() -> None:
    outcome = outcome_of(explain(Step()))
    assert outcome.notes[0].startswith("The model is explained by exact Shapley values: integrated gradients needs")
    shares = next(part for part in outcome.measurements if part.id == "explainability.attribution_share")
    assert {part.group.text: part.value for part in shares.slices}["c"] == pytest.approx(0, abs=1e-9)
    refused = outcome_of(explain(Step(), method="integrated_gradients"))
    assert refused.reason is not None
    assert "has no gradient" in refused.reason


def test_settings_are_validated() -> None:
    with pytest.raises(InputError, match="rows must be at least 2, got 1"):
        Explainability(rows=1)
    with pytest.raises(InputError, match="tolerance must lie between 0 and 1, got 0"):
        Explainability(tolerance=0)


def test_columns_are_sums_over_their_cells() -> None:
    cells = {"a": slice(0, 1), "b": slice(1, 4)}
    np.testing.assert_allclose(sum_by_column(np.arange(8.0).reshape(2, 4), cells), [[0, 6], [4, 18]])
