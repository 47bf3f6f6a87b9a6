"""auditkit.audit from Python: plain modules, DataFrames, notebooks, plugins by instance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from keys import compared
from loans import Loans

import auditkit


class Scorer(torch.nn.Module):
    """Logits that follow income alone; counts its forward passes."""

    rows: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[0.0, 0.0], [0.2, 0.0]]))
        self.register_buffer("rows", torch.zeros(1), persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.rows += len(inputs)
        return inputs @ self.weight.T - torch.tensor([0.0, 9.0])


def frame(count: int = 500) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    group = rng.choice(["north", "south"], size=count)
    income = rng.normal(50, 10, count) - 10 * (group == "south")
    return pd.DataFrame(
        {
            "income": income,
            "years": rng.integers(0, 30, count),
            "group": group,
            "approved": income + rng.normal(0, 5, count) > 45,
        }
    )


def test_a_plain_module_and_a_frame() -> None:
    report = auditkit.audit(Scorer(), frame(), target="approved", sensitive=["group"])
    gap = report.measurement("fairness.demographic_parity_difference", ("group",))
    assert gap is not None
    assert compared(gap) == ("south", "north")
    assert report.subject.model is not None
    assert report.subject.model.kind == "module"
    assert report.subject.dataset.path is None
    assert [outcome.auditor for outcome in report.outcomes if outcome.error] == []


def test_the_callers_module_and_frame_are_left_alone() -> None:
    module, data = Scorer().train(), frame()
    before = data.copy()
    auditkit.audit(module, data, target="approved", sensitive=["group"])
    pd.testing.assert_frame_equal(data, before)
    assert module.training
    assert module.weight.grad is None
    assert module.rows.item() == 0


def test_the_report_shows_itself_in_a_notebook() -> None:
    report = auditkit.audit(Scorer(), frame(), target="approved", sensitive=["group"])
    shown = report._repr_html_()
    assert shown.startswith("<iframe")
    assert "<script" not in shown


def test_rows_are_predicted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from auditkit.models import model
    from auditkit.models.predict import predict_rows

    calls = []

    def counted(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        return predict_rows(*arguments, **more)

    monkeypatch.setattr(model, "predict_rows", counted)
    auditkit.audit(Scorer(), frame(), target="approved", sensitive=["group"])
    assert len(calls) == 1


def test_permuting_rows_and_renaming_groups_change_nothing() -> None:
    data = frame()
    shuffled = data.sample(frac=1, random_state=0)
    renamed = data.assign(group=data["group"].map({"north": "zzz", "south": "aaa"}))

    def gap(table: pd.DataFrame) -> tuple[float | None, object]:
        report = auditkit.audit(Scorer(), table, target="approved", sensitive=["group"], only=["fairness"])
        found = report.measurement("fairness.equalized_odds_difference", ("group",))
        assert found is not None
        return found.value, found.interval

    assert gap(data) == gap(shuffled) == gap(renamed)


def test_a_number_names_its_definition_and_the_software_that_computed_it() -> None:
    report = auditkit.audit(Scorer(), frame(), target="approved", sensitive=["group"])
    parity = report.measurement("fairness.demographic_parity_difference", ("group",))
    fisher = report.measurement("fairness.fisher_exact_p", ("group",))
    assert parity is not None
    assert fisher is not None
    assert (parity.definition, parity.computed_by) == ("Fairlearn demographic_parity_difference", "auditkit")
    assert fisher.definition.startswith("Fisher's exact test, two-sided, against ")
    assert fisher.computed_by == "auditkit"
    assert all(one.computed_by for outcome in report.outcomes for one in outcome.measurements)


@dataclass(frozen=True)
class Half:
    """An auditor that is installed nowhere."""

    measures: ClassVar = ("half.value",)

    def audit(self, subject: auditkit.Subject) -> auditkit.Evidence:
        subject.progress(0.5, "half way")
        measurement = auditkit.Measurement(
            id="half.value", value=0.5, unit="number", better="neither", count=len(subject.labels), definition="here"
        )
        return auditkit.Evidence(measurements=[measurement])


def test_an_auditor_by_instance_and_its_progress() -> None:
    seen = []
    report = auditkit.audit(
        Scorer(),
        frame(),
        target="approved",
        sensitive=["group"],
        auditors=[Half()],
        progress=lambda name, fraction, what: seen.append((name, fraction, what)),
    )
    ran = [outcome.auditor for outcome in report.outcomes if outcome.reason is None]
    assert ran == ["half"]
    assert {outcome.reason for outcome in report.outcomes if outcome.auditor != "half"} == {"left out of this run"}
    assert ("half", 0.5, "half way") in seen
    assert seen[0][0] == "subject"


def test_without_sensitive_columns_fairness_is_not_run_with_its_reason() -> None:
    report = auditkit.audit(Scorer(), frame().drop(columns="group"), target="approved")
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "fairness")
    assert outcome.reason == "no column was named sensitive; pass --sensitive COLUMN"
    assert outcome.verdict == "not_run"
    assert report.exit_code in (0, 1)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"target": None}, "target must name the label's column"),
        ({"target": "aproved"}, "did you mean 'approved'"),
        ({"target": "approved", "sensitive": ["grp"]}, "'grp'"),
        ({"target": "approved", "only": ["fair"]}, "unknown auditor 'fair'"),
        ({"target": "approved", "limit": 0}, "limit must be at least 1"),
        ({"target": "approved", "device": "tpu"}, "device"),
    ],
)
def test_wrong_arguments(more: dict[str, object], words: str) -> None:
    with pytest.raises(auditkit.InputError) as caught:
        auditkit.audit(Scorer(), frame().drop(columns="group"), **more)  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_outputs_that_are_not_numbers_stop_with_the_count() -> None:
    class Broken(torch.nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            outputs = torch.zeros(len(inputs), 2)
            outputs[:7] = float("nan")
            return outputs

    with pytest.raises(auditkit.InputError, match="7"):
        auditkit.audit(Broken(), frame().drop(columns="group"), target="approved")


def test_a_file_gives_what_python_gives(loans: Loans) -> None:
    from_file = auditkit.audit(loans.model, loans.test, skip=["explainability"])
    opened = auditkit.audit(auditkit.open_model(loans.model), loans.test, skip=["explainability"])
    assert [outcome.measurements for outcome in from_file.outcomes] == [
        outcome.measurements for outcome in opened.outcomes
    ]
