"""Mitigated models have a smaller gap on rows that nobody trained on, and are packed as native files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from loans import Loans, write_loans

from auditkit.cli import call
from auditkit.data.dataset import read_data
from auditkit.engine.load import load_subject
from auditkit.errors import InputError
from auditkit.evidence.report import read_report
from auditkit.models.architectures import build
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Model
from auditkit.training.mitigate import add_to_logit, mitigate


def gap_and_accuracy(model: Model, path: Path) -> tuple[float, float]:
    subject = load_subject(model, read_data(path), device="cpu")
    _, codes = subject.group_codes(("group",))
    decisions = np.asarray(subject.predictions.labels)
    rates = [decisions[codes == code].mean() for code in range(2)]
    return abs(rates[0] - rates[1]), float((decisions == subject.labels).mean())


@pytest.mark.parametrize("method", ["exponentiated_gradient", "adversarial", "threshold"])
def test_the_gap_shrinks_on_fresh_rows(loans: Loans, tmp_path: Path, method: str) -> None:
    fresh = write_loans(tmp_path / "fresh.csv", row_count=4000, seed=11)
    original = open_model(loans.model)
    made = mitigate(
        original,
        read_data(loans.train),
        sensitive="group",
        method=method,
        out=tmp_path / "made.pt",
        device="cpu",
    )
    before, after = gap_and_accuracy(original, fresh), gap_and_accuracy(made, fresh)
    assert before[0] > 0.25
    assert after[0] < before[0] / 2
    assert after[1] > 0.6
    assert made.kind == original.kind
    assert made.card is not None
    record = made.card.training
    assert record["mitigated_from"] == original.sha256
    assert record["method"] == method
    assert ("packed" in record) == (method != "threshold")
    assert ("networks_in_lottery" in record) == (method == "exponentiated_gradient")


def test_moved_thresholds_decide_as_thresholds_do(loans: Loans, tmp_path: Path) -> None:
    original = open_model(loans.model)
    made = mitigate(
        original, read_data(loans.train), sensitive="group", method="threshold", out=tmp_path / "made.pt", device="cpu"
    )
    assert made.card is not None
    subjects = [load_subject(model, read_data(loans.test), device="cpu") for model in (original, made)]
    names, codes = subjects[0].group_codes(("group",))
    thresholds = np.array([made.card.training["thresholds"][name[0]] for name in names])
    expected = subjects[0].predictions.scores >= thresholds[codes]
    assert (np.asarray(subjects[1].predictions.labels) == expected).all()


def test_moved_thresholds_allow_for_a_threshold_of_the_models_own(loans: Loans, tmp_path: Path) -> None:
    strict = tmp_path / "strict.pt"
    assert call(["pack", str(loans.model), "--threshold", "0.8", "--out", str(strict)]) == 0
    train, settings = read_data(loans.train), {"sensitive": "group", "device": "cpu"}
    made = [
        mitigate(open_model(path), train, method="threshold", out=tmp_path / f"{place}.pt", **settings)  # type: ignore[arg-type]
        for place, path in enumerate((loans.model, strict))
    ]
    decided = [load_subject(model, read_data(loans.test), device="cpu").predictions.labels for model in made]
    assert made[1].schema.threshold == 0.8
    assert (decided[0] == decided[1]).all()


@pytest.mark.parametrize("hidden", [[], [5], [6, 4, 3]])
@pytest.mark.parametrize("output_width", [1, 2])
def test_a_term_added_to_the_logit_is_exact(hidden: list[int], output_width: int) -> None:
    torch.manual_seed(0)
    arguments = {"input_width": 7, "output_width": output_width, "hidden": hidden}
    module = build("mlp", arguments).eval()
    shifts = np.array([1.5, -2.0, 0.25])
    wider, new = add_to_logit(module, arguments, range(2, 5), shifts)
    rows = torch.randn(50, 7)
    rows[:, 2:5] = torch.eye(3)[torch.randint(0, 3, (50,))]
    expected = module(rows)
    expected[:, -1] += rows[:, 2:5] @ torch.tensor(shifts, dtype=torch.float32)
    assert torch.allclose(wider(rows), expected, atol=1e-5)
    assert new["hidden"] == [width + 3 for width in hidden]


def test_the_command_packs_and_audits_both(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["mitigate", str(loans.model), "--train-dataset", str(loans.train), "--dataset", str(loans.test)]
    command += ["--sensitive", "group", "--method", "threshold", "--out", "fair.pt"]
    assert call(command) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Demographic parity difference by group: " in out
    reports = [read_report(Path("reports/fair") / name / "results.json") for name in ("original", "mitigated")]
    gaps = [report.measurement("fairness.demographic_parity_difference", ("group",)) for report in reports]
    assert gaps[0] is not None
    assert gaps[1] is not None
    assert (gaps[1].value or 0) < (gaps[0].value or 0) / 2
    assert call([*command[:-1], str(loans.model)]) == 2
    assert "out must not be the model itself" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sensitive": "gruop"}, "sensitive column 'gruop' is not in .*did you mean 'group'"),
        ({"method": "magic"}, "method must be one of exponentiated_gradient, adversarial, threshold, got 'magic'"),
        ({"constraint": "none"}, "constraint must be one of demographic_parity, equal_opportunity, got 'none'"),
        ({"out": "made.onnx"}, "out must end in .pt"),
        ({"sensitive": "member", "method": "threshold"}, "method threshold needs 'member' among the columns"),
    ],
)
def test_what_cannot_be_done_is_refused(loans: Loans, tmp_path: Path, change: dict[str, str], match: str) -> None:
    settings = {"sensitive": "group", "out": str(tmp_path / "made.pt"), "device": "cpu", **change}
    with pytest.raises(InputError, match=match):
        mitigate(open_model(loans.model), read_data(loans.train), **settings)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_scores_is_refused(loans: Loans, tmp_path: Path) -> None:
    model = open_model(loans.model)
    scoring = replace(model, schema=model.schema.model_copy(update={"output": "score", "threshold": 0.5}))
    with pytest.raises(InputError, match=r"two classes, and no scores; make such a model"):
        mitigate(scoring, read_data(loans.train), sensitive="group", out=tmp_path / "made.pt", device="cpu")
