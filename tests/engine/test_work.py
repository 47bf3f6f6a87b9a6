"""Effort: what a row costs is counted, and the budget, never a clock, says how many rows are taken."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from loans import Loans
from torch import nn

import auditkit
from auditkit.auditors.explainability.auditor import Explainability
from auditkit.auditors.explainability.trials import LADDER, Cost, choose_trials
from auditkit.auditors.privacy.leakage import Leakage
from auditkit.auditors.robustness.auditor import Robustness
from auditkit.engine import work
from auditkit.engine.auditor import Auditor
from auditkit.engine.plan import Plan
from auditkit.engine.work import Work
from auditkit.errors import NotRun
from auditkit.models.operations import UNCOUNTED, operations_of_text, operations_per_row


class Recurrent(nn.Module):
    """A two-layer LSTM, whose arithmetic torch's counter leaves out, behind an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.layers = nn.LSTM(8, 16, num_layers=2, batch_first=True)
        self.head = nn.Linear(16, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        found: torch.Tensor = self.head(self.layers(self.embedding(ids))[0][:, -1])
        return found


class ByLength(nn.Module):
    """Reads each row up to its end, as a network of recordings does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 4)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.layer(row[row != 0][:, None]).sum(0) for row in rows])


class OneAtATime(nn.Linear):
    """Refuses a batch, as an exported program of one row does."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        assert len(rows) == 1
        return super().forward(rows)


def test_rows_of_several_lengths_cost_their_mean() -> None:
    rows = torch.ones(4, 100)
    rows[1:, 20:] = 0
    assert operations_per_row(ByLength(), rows) == 2 * 4 * (100 + 3 * 20) // 4
    assert operations_per_row(OneAtATime(8, 2), torch.zeros(4, 8)) == 2 * 8 * 2


@pytest.mark.parametrize("masked", [False, True])
def test_a_text_costs_what_its_own_tokens_do_whatever_the_longest_is(masked: bool) -> None:
    tokens = {"short": 3, "long": 9, "": 0}
    model: Any = SimpleNamespace(parameter_count=100, capability=lambda kind: None if masked else kind)
    able: Any = SimpleNamespace(start=(), context=6, tokens=lambda text: (np.zeros(tokens[text], int), None))
    read = [3 * 3, 9 * 6, 0] if masked else [3, 9 * 2, 0]  # the long one is read in windows of 6
    assert operations_of_text(model, able, list(tokens)) == 2 * 100 * sum(read) // 3


def test_the_operations_of_layers_are_counted() -> None:
    assert operations_per_row(nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2)), torch.zeros(1, 8)) == 320
    assert operations_per_row(nn.Conv2d(3, 4, 3, padding=1), torch.zeros(1, 3, 10, 10)) == 2 * 100 * 4 * 27
    lstm = 2 * 5 * 4 * 16 * ((8 + 16) + (16 + 16)) + 2 * 16 * 2
    assert operations_per_row(Recurrent(), torch.ones(1, 5, dtype=torch.int64)) == lstm
    assert operations_per_row(Recurrent(), torch.ones(3, 5, dtype=torch.int64)) == lstm, "of one row, not of three"
    assert operations_per_row(nn.ReLU(), torch.zeros(1, 3)) == UNCOUNTED
    assert operations_per_row(nn.ReLU(), torch.zeros(2, 3, 50, 40)) == 6000 * 10_000, "an ONNX model of images"
    module = nn.Linear(3, 2).train()
    assert operations_per_row(module, torch.zeros(1, 7)) == 2 * 8, "a module that does not run is judged by its size"
    assert module.training


def test_a_budget_gives_rows_and_says_when_it_limits_them() -> None:
    budget = Work("standard", operations=10**9)
    assert budget.rows(100, 10, 1.0) == 100
    assert budget.rows(1000, 10, 1.0) == 100
    assert Work("thorough", operations=10**12).rows(1000, 10, 1.0) == 1000
    with pytest.raises(NotRun, match="pass --effort thorough"):
        budget.rows(1000, 500, 1.0)
    assert budget.limited(100, 100) == []
    assert "100 of 1,000 rows" in budget.limited(100, 1000)[0]


def test_dearer_explanations_are_of_fewer_rows_until_none_is_worth_it() -> None:
    cost = Cost("occlusion", row_count=400, part_count=49, layer_count=10)
    change = torch.ones(400).double().numpy()
    explained = []
    for operations in (10, 10**8, 5 * 10**8, 10**9):
        trials, rows, _ = choose_trials(Work("standard", operations), cost, None, change, seed=0)
        explained.append(len(rows))
        assert trials in LADDER
    assert explained[0] == 400
    assert sorted(explained, reverse=True) == explained
    assert explained[-1] < 100
    with pytest.raises(NotRun, match="--effort thorough"):
        choose_trials(Work("standard", 10**12), cost, None, change, seed=0)


@pytest.mark.parametrize("passes", [10, 5000, 10**7])
def test_the_plan_of_a_table_names_what_the_budget_does_not_pay_for(
    loans: Loans, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def audited(unit: float) -> auditkit.Report:
        monkeypatch.setitem(work.UNIT, "standard", unit)
        auditors: list[Auditor] = [Explainability(rows=12), Robustness(rows=12)]
        return auditkit.audit(loans.model, loans.test, auditors=auditors, limit=40, announce=plans.append)

    audited(1)
    report = audited(passes * plans[0].operations)
    idle, names = dict(plans[1].idle), ("explainability", "robustness")
    assert idle == {one.auditor: str(one.reason) for one in report.outcomes if one.auditor in names and one.reason}
    assert len(idle) == {10: 2, 5000: 1, 10**7: 0}[passes]


def test_a_small_budget_samples_and_repeats_itself(loans: Loans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(work.UNIT, "quick", 1e6)
    auditors: list[Auditor] = [Robustness(), Leakage(shadows=4)]
    reports = [
        auditkit.audit(loans.model, loans.test, training_data=loans.train, auditors=auditors, effort="quick", seed=1)
        for _ in range(2)
    ]
    report = reports[0]
    assert report.subject.dataset is not None
    assert report.subject.dataset.audited_row_count < report.subject.dataset.row_count
    assert any("--effort thorough takes them all" in note for note in report.subject.notes)
    assert report.config is not None
    assert report.config.run.effort == "quick"
    first, second = ([[one.model_dump() for one in part.measurements] for part in one.outcomes] for one in reports)
    assert first == second
    assert {part.auditor: part.error for part in report.outcomes if part.error} == {}
