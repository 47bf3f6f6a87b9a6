"""A threshold of one's own, or the K highest scores, decides everywhere: rates, accuracy, reasons, attacks, replay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from loans import Loans

import auditkit
from auditkit.auditors.robustness.adversarial import margin_function
from auditkit.cli import call
from auditkit.data.dataset import read_data
from auditkit.engine.replay import replay
from auditkit.errors import InputError
from auditkit.evidence.report import Report, read_report
from auditkit.models.formats.opening import open_model
from auditkit.models.predict import predict
from auditkit.schema.infer import numeric_schema
from auditkit.schema.outputs import declare
from auditkit.tasks.base import task_for

AUDITORS = ("performance", "fairness", "tradeoff", "explainability")


def probabilities(loans: Loans) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of the test rows and the model's probabilities, (rows,)."""
    model, data = open_model(loans.model), read_data(loans.test)
    found = predict(model.module, model.schema.encode(data.frame), model.schema, device=torch.device("cpu"))
    return task_for(model.schema).encode_labels(data.frame), found.scores


def value(report: Report, id: str, by: tuple[str, ...] = ()) -> float:
    measurement = report.measurement(id, by)
    assert measurement is not None
    assert measurement.value is not None
    return measurement.value


def check_decisions(report: Report, labels: np.ndarray, decisions: np.ndarray) -> None:
    assert value(report, "performance.accuracy") == pytest.approx((labels == decisions).mean(), abs=1e-12)
    assert value(report, "fairness.selection_rate") == pytest.approx(decisions.mean(), abs=1e-12)
    assert value(report, "fairness.true_positive_rate") == pytest.approx(decisions[labels == 1].mean(), abs=1e-12)
    reasons = report.measurement("explainability.principal_reason_rate", ("column",))
    assert reasons is not None
    assert reasons.count == int((decisions == 0).sum())


@pytest.mark.parametrize("threshold", [0.2, 0.8])
def test_every_auditor_decides_by_the_threshold(loans: Loans, threshold: float) -> None:
    labels, scores = probabilities(loans)
    report = auditkit.audit(loans.model, loans.test, threshold=threshold, only=AUDITORS, device="cpu")
    check_decisions(report, labels, (scores >= threshold).astype(int))
    assert report.subject.schema_["threshold"] == threshold
    assert f"Predicted yes from a probability of {threshold} on." in report.subject.notes
    fairness = next(outcome for outcome in report.outcomes if outcome.auditor == "fairness")
    assert fairness.notes[0] == (
        f'"Selected" means that the model predicts approved = yes (probability {threshold} or more).'
    )
    usual = auditkit.audit(loans.model, loans.test, only=["performance"], device="cpu")
    assert value(usual, "performance.roc_auc") == value(report, "performance.roc_auc")
    assert value(usual, "performance.accuracy") != value(report, "performance.accuracy")


def test_recourse_reaches_the_threshold(loans: Loans) -> None:
    """The higher the threshold, the fewer of the adverse decisions one or two changes can turn."""
    rates = []
    for threshold in (0.2, 0.99):
        report = auditkit.audit(loans.model, loans.test, threshold=threshold, only=["explainability"], device="cpu")
        measurement = report.measurement("explainability.recourse_rate", ("group",))
        assert measurement is not None
        rates.append(np.mean([part.value for part in measurement.slices]))
    assert rates[0] > rates[1]


def test_the_highest_scores_decide_everywhere(loans: Loans) -> None:
    labels, scores = probabilities(loans)
    report = auditkit.audit(loans.model, loans.test, top_k=100, only=AUDITORS, device="cpu")
    decisions = np.zeros(len(labels), dtype=int)
    decisions[np.argsort(-scores)[:100]] = 1
    check_decisions(report, labels, decisions)
    with pytest.raises(InputError, match="pass --top-k or --threshold, not both"):
        auditkit.audit(loans.model, loans.test, top_k=100, threshold=0.3, device="cpu")


def test_a_run_is_repeated_with_its_threshold_and_predictions_are_kept_under_it(loans: Loans, tmp_path: Path) -> None:
    base = ["run", str(loans.model), "--dataset", str(loans.test), "--only", "performance", "--quiet"]
    found = []
    for name, more in (("a", ["--threshold", "0.3"]), ("b", ["--threshold", "0.3"]), ("c", [])):
        assert call([*base, "--out", str(tmp_path / name), *more]) in (0, 1)
        found.append(read_report(tmp_path / name / "results.json"))
    assert value(found[0], "performance.accuracy") == value(found[1], "performance.accuracy")
    assert value(found[0], "performance.accuracy") != value(found[2], "performance.accuracy")
    assert any("predicted again and agree" in note for note in found[1].subject.notes)
    again, differences = replay(found[0], model=loans.model, dataset=loans.test, device="cpu")
    assert differences == []
    assert again.subject.schema_["threshold"] == 0.3


def test_a_packed_threshold_travels_with_the_model(loans: Loans, tmp_path: Path) -> None:
    out = tmp_path / "strict.pt"
    assert call(["pack", str(loans.model), "--threshold", "0.7", "--out", str(out)]) == 0
    labels, scores = probabilities(loans)
    packed = auditkit.audit(out, loans.test, only=["performance"], device="cpu")
    assert value(packed, "performance.accuracy") == pytest.approx((labels == (scores >= 0.7)).mean(), abs=1e-12)
    other = auditkit.audit(out, loans.test, threshold=0.5, only=["performance"], device="cpu")
    assert value(other, "performance.accuracy") == pytest.approx((labels == (scores >= 0.5)).mean(), abs=1e-12)


@pytest.mark.parametrize("number", ["0", "1", "1.5", "-0.1", "nan", "inf", "half"])
def test_a_threshold_that_is_no_probability_exits_2(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--out", str(tmp_path / "out")]
    assert call([*command, f"--threshold={number}"]) == 2
    assert "threshold" in capsys.readouterr().err
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(
    ("output", "width"), [("logits", 1), ("logits", 2), ("probabilities", 1), ("probabilities", 2), ("score", 1)]
)
def test_the_margin_of_an_attack_changes_its_sign_where_the_decision_changes(output: str, width: int) -> None:
    schema = declare(numeric_schema(["x"], target="y", classes=["no", "yes"]), output=output, threshold=0.3)

    class Network(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            if output == "logits":
                return torch.cat([torch.ones_like(rows), rows + 1], dim=1)[:, 2 - width :] - float(width == 1)
            return torch.cat([1 - rows.sigmoid(), rows.sigmoid()], dim=1)[:, 2 - width :]

    rows = torch.linspace(-3, 3, 61)[:, None]
    decisions = predict(Network(), rows.numpy(), schema, device=torch.device("cpu")).labels
    assert (decisions == (rows.sigmoid().numpy()[:, 0] >= 0.3)).all()
    margins = margin_function(Network(), task_for(schema))(rows, torch.ones(61, dtype=torch.int64))
    assert ((margins >= 0).numpy() == (decisions == 1)).all()
