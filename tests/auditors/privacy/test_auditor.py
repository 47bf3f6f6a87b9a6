"""The private retraining beside the original, end to end on a small data set."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
from loans import Loans
from torch import nn

import auditkit
from auditkit.auditors.privacy.auditor import Privacy
from auditkit.auditors.privacy.canary_audit import ledger_facts
from auditkit.auditors.privacy.leakage import Leakage
from auditkit.auditors.privacy.stated import PrivateTraining
from auditkit.data.dataset import read_data
from auditkit.errors import InputError
from auditkit.models.formats.opening import open_model
from auditkit.render import render
from auditkit.terminal import conclude
from auditkit.training.dp import dp_sgd
from auditkit.training.dp.accounting import Ledger
from auditkit.training.dp.dp_sgd import fit_private
from auditkit.training.dp.retrain import retrain


@pytest.fixture(scope="module")
def report(loans: Loans) -> auditkit.Report:
    return auditkit.audit(
        loans.model, loans.test, training_data=loans.train, auditors=[Privacy(epsilon=(1.0, 8.0))], seed=3
    )


def slices(report: auditkit.Report, id: str, by: tuple[str, ...] = ("retraining",)) -> dict[str, auditkit.Slice]:
    measurement = report.measurement(id, by)
    assert measurement is not None
    return {part.group.text: part for part in measurement.slices}


def test_the_guarantee_is_at_most_what_was_asked(report: auditkit.Report) -> None:
    epsilon = slices(report, "privacy.epsilon")
    assert list(epsilon) == ["epsilon 1", "epsilon 8"]
    assert 0.5 < (epsilon["epsilon 1"].value or 0) <= 1
    assert 6 < (epsilon["epsilon 8"].value or 0) <= 8


def test_original_and_private_models_stand_side_by_side(report: auditkit.Report) -> None:
    accuracy = slices(report, "privacy.accuracy")
    loss = slices(report, "privacy.accuracy_loss")
    assert list(accuracy) == ["original", "epsilon 1", "epsilon 8"]
    assert list(loss) == ["epsilon 1", "epsilon 8"]
    for name, part in loss.items():
        assert part.value == pytest.approx((accuracy["original"].value or 0) - (accuracy[name].value or 0))
        assert part.interval is not None
        assert part.interval.low <= (part.value or 0) <= part.interval.high
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "privacy")
    tables = {part.by: part.measurements for part in outcome.exhibits if isinstance(part, auditkit.SliceTable)}
    for column in ("group", "region"):
        for gap in ("demographic_parity", "equalized_odds", "equal_opportunity", "predictive_parity", "accuracy"):
            assert list(slices(report, f"privacy.{gap}_difference", ("retraining", column))) == list(accuracy)
            assert f"privacy.{gap}_difference" in tables["retraining", column]
    south = slices(report, "privacy.calibration_error", ("retraining", "group"))["epsilon 8 & south"]
    assert south.interval is not None
    assert 0 < (south.value or 0) < 0.5


def test_the_ledger_states_what_it_must_and_what_it_does_not_cover(report: auditkit.Report) -> None:
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "privacy")
    ledger = next(part for part in outcome.exhibits if part.title == "Privacy ledger, epsilon 1")
    assert isinstance(ledger, auditkit.Facts)
    stated = dict(ledger.rows)
    assert stated["Clipping by"] == "book-keeping, out of one backward pass"
    assert re.fullmatch(
        r"PRV accountant [\d.]+, RDP accountant [\d.]+: both are upper bounds, and the smaller one is stated",
        stated["Computed again by two accountants"],
    )
    for name in (
        "Guarantee",
        "Unit of privacy",
        "Neighbouring relation",
        "Rows n",
        "Sampling",
        "Noise multiplier",
        "Library",
    ):
        assert stated[name]
    assert "1,500" in stated["Rows n"]
    assert sum(name == "Not covered" for name, _ in ledger.rows) >= 5


def test_training_data_that_is_not_the_models_is_said_in_red(loans: Loans, capsys: pytest.CaptureFixture[str]) -> None:
    report = auditkit.audit(loans.model, loans.test, training_data=loans.test, auditors=[Privacy(epsilon=(8.0,))])
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "privacy")
    assert any("not the data that the model was trained on" in note for note in outcome.notes)
    assert report.subject.training_dataset is not None
    alarm = report.subject.training_dataset.alarm
    assert alarm is not None
    assert "not the rows that the model was trained on" in alarm
    page = str(render(report)["report.html"])
    assert re.search(r'<strong class="trusted">.*not the rows that the model was trained on', page)
    conclude(report, Path("report.html"))
    assert "✘ Training data: not the rows" in capsys.readouterr().out.replace("\n", " ")
    right = auditkit.audit(loans.model, loans.test, training_data=loans.train, only=["performance"])
    assert right.subject.training_dataset is not None
    assert right.subject.training_dataset.alarm is None


def test_a_delta_that_guarantees_nothing_is_an_error_and_not_a_pass(loans: Loans) -> None:
    report = auditkit.audit(
        loans.model, loans.test, training_data=loans.train, auditors=[Privacy(epsilon=(8.0,), delta=0.01)]
    )
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "privacy")
    assert outcome.error is not None
    assert "delta must be above 0 and below 1/n = 0.00067" in outcome.error
    assert report.exit_code == 3


def test_the_frontier_repeats_each_training_and_shows_its_luck(loans: Loans) -> None:
    report = auditkit.audit(
        loans.model, loans.test, training_data=loans.train, auditors=[Privacy(epsilon=(1.0, 8.0), seeds=3)], limit=500
    )
    accuracy = slices(report, "privacy.accuracy")
    method = accuracy["epsilon 8"].interval
    assert method is not None
    assert "3 training runs" in method.method
    assert accuracy["original"].interval is not None
    assert "training runs" not in accuracy["original"].interval.method
    assert list(slices(report, "privacy.calibration_error")) == ["original", "epsilon 1", "epsilon 8"]
    groups = slices(report, "privacy.accuracy", ("retraining", "group"))
    assert "epsilon 1 & north" in groups
    assert len(groups) == 6
    together = report.measurement("privacy.epsilon_of_all_runs")
    assert together is not None
    assert 8 < (together.value or 0) < 3 * (1 + 8)
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "privacy")
    curves = [part for part in outcome.exhibits if isinstance(part, auditkit.Curve)]
    assert [part.title for part in curves][:2] == [
        "The price of privacy: accuracy",
        "The price of privacy: calibration error",
    ]
    assert curves[0].lines[0].x == (1.0, 8.0)
    assert curves[0].lines[0].low is not None
    assert any("luck of training" in note for note in outcome.notes)
    assert any("“All trainings together”" in note for note in outcome.notes)
    facts = [part for part in outcome.exhibits if isinstance(part, auditkit.Facts)]
    assert all("All trainings together" in dict(part.rows) for part in facts)
    assert len(facts) == 2


def test_the_claim_is_tested_by_canaries_and_judged(loans: Loans) -> None:
    auditor = Privacy(epsilon=(1.0,), canaries=100)
    report = auditkit.audit(loans.model, loans.test, training_data=loans.train, auditors=[auditor], limit=200)
    bounds = [slices(report, f"privacy.{kind}audited_epsilon")["epsilon 1"].value or 0 for kind in ("", "black_box_")]
    claim = slices(report, "privacy.epsilon")["epsilon 1"]
    excess = report.measurement("privacy.audited_epsilon_excess")
    assert excess is not None
    assert excess.value == pytest.approx(max(bounds) - (claim.value or 0), abs=0.02)  # a little fewer rows are in it
    assert excess.value is not None
    assert excess.value < 0
    assert claim.value is not None
    together = report.measurement("privacy.epsilon_of_all_runs")
    assert together is not None
    assert (together.value or 0) > 1.3 * claim.value, "the training with canaries costs as much as the one without"
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "privacy")
    table = next(part for part in outcome.exhibits if part.title.startswith("Is the claim true?"))
    assert isinstance(table, auditkit.Table)
    assert [row[1] for row in table.rows] == ["every step", "the last weights alone"]
    missing = "no contradiction, but the test may miss a fifth of the noise"  # depends on the canaries' luck
    assert {row[-1] for row in table.rows} <= {"no contradiction", missing}
    assert all(isinstance(row[6], float) and row[6] > 1 for row in table.rows)  # the ceiling
    assert isinstance(table.rows[0][4], float)
    assert table.rows[0][4] > 1, "without noise"
    assert table.rows[1][4] is None
    judged = [finding for finding in report.findings if finding.measurement == "privacy.audited_epsilon_excess"]
    assert [finding.verdict for finding in judged] == ["pass"]


def test_declared_runs_are_part_of_every_budget(loans: Loans) -> None:
    report = auditkit.audit(
        loans.model,
        loans.test,
        training_data=loans.train,
        auditors=[Privacy(epsilon=(1.0, 2.0), tuning_runs=3)],
        limit=200,
    )
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "privacy")
    ledger = next(part for part in outcome.exhibits if part.title == "Privacy ledger, epsilon 1")
    assert isinstance(ledger, auditkit.Facts)
    stated = dict(ledger.rows)
    assert stated["Tuning"].startswith("3 earlier runs declared: epsilon ")
    together = report.measurement("privacy.epsilon_of_all_runs")
    assert together is not None
    assert stated["All trainings together"] == (
        f"epsilon {together.value:.4g} for 2 trainings of this report and 3 earlier ones, whichever is chosen "
        "(RDP accountant)"
    )
    assert (together.value or 0) > 4, "three earlier runs, each as costly as the one at epsilon 2"


def test_a_training_that_learns_rows_by_heart_is_caught_from_its_last_weights(
    loans: Loans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bug: a training that only claims to be private; the canaries behind its clipping see nothing of it."""

    def by_heart(module: nn.Module, inputs: object, labels: object, *more: object, **options: object) -> Ledger:
        ledger = fit_private(module, inputs, labels, *more, **options)  # type: ignore[arg-type]
        rows, codes = torch.as_tensor(inputs), torch.as_tensor(labels)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(300):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(rows), codes).backward()
            optimizer.step()
        return ledger

    monkeypatch.setattr(dp_sgd, "fit_private", by_heart)
    auditor = Privacy(epsilon=(0.5,), canaries=100)
    report = auditkit.audit(
        loans.model, loans.test, training_data=loans.train, auditors=[auditor], limit=200, policy="dp-release"
    )
    assert (slices(report, "privacy.audited_epsilon")["epsilon 0.5"].value or 0) < 0.5
    assert (slices(report, "privacy.black_box_audited_epsilon")["epsilon 0.5"].value or 0) > 0.5
    judged = [finding for finding in report.findings if finding.measurement == "privacy.audited_epsilon_excess"]
    assert [finding.verdict for finding in judged] == ["fail"]


def test_the_ledger_of_a_privately_trained_model_is_shown_once_and_judged(loans: Loans, tmp_path: Path) -> None:
    settings = {"epsilon": (3.0,), "epochs": 2, "tuning_runs": 2}
    ((path, ledger),) = retrain(open_model(loans.model), read_data(loans.train), out=tmp_path, **settings).files  # type: ignore[arg-type]
    auditors: list[auditkit.Auditor] = [Privacy(epsilon=(8.0,)), PrivateTraining()]
    report = auditkit.audit(path, loans.test, training_data=loans.train, auditors=auditors, limit=200)
    shown = [part for one in report.outcomes for part in one.exhibits]
    (own,) = [part for part in shown if part.title == "Privacy ledger, the audited model"]
    judged = [finding.verdict for finding in report.findings if finding.measurement == "private_training.epsilon"]
    assert judged == ["pass"], "3 is under the limit of 10 that is warned of"
    assert isinstance(own, auditkit.Facts)
    stated = dict(own.rows)
    assert f"({ledger.epsilon:.4g}, " in stated["Guarantee"]
    assert "2 earlier runs declared" in stated["Tuning"]
    assert stated["Trained"] == "all parameters"
    assert "not recorded" in stated["Noise seed"]
    with pytest.raises(ArithmeticError, match="both accountants compute more"):
        ledger_facts("planted", ledger.model_copy(update={"epsilon": ledger.epsilon / 2}))


def test_a_release_whose_claim_was_not_tested_is_incomplete(loans: Loans) -> None:
    report = auditkit.audit(
        loans.model,
        loans.test,
        training_data=loans.train,
        auditors=[Privacy(epsilon=(1.0,))],
        limit=200,
        policy="dp-release",
    )
    assert report.exit_code == 3
    (finding,) = [part for part in report.findings if part.measurement == "privacy.audited_epsilon_excess"]
    assert finding.verdict == "not_run"


@pytest.mark.filterwarnings("ignore")  # torch.export's and torch.jit's own
def test_programs_are_retrained_attacked_and_tested_but_for_torchscript(loans: Loans, tmp_path: Path) -> None:
    model = open_model(loans.model)
    zeros = torch.zeros(5, model.schema.input_width)
    archive, script = tmp_path / "model.pt2", tmp_path / "script.pt"
    rows = ({0: torch.export.Dim("rows", min=2)},)
    torch.export.save(torch.export.export(model.module, (zeros,), dynamic_shapes=rows), archive)
    torch.jit.save(torch.jit.trace(model.module, (zeros,)), script)
    found = {}
    for path in (archive, script):
        report = auditkit.audit(
            path,
            loans.test,
            training_data=loans.train,
            schema=model.schema,
            trust_model=f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
            auditors=[Privacy(canaries=20), Leakage(shadows=2)],
            limit=200,
        )
        found[path] = {part.auditor: part for part in report.outcomes}
    privacy, leakage = found[archive]["privacy"], found[archive]["leakage"]
    assert (privacy.reason, privacy.error, leakage.error) == (None, None, None)
    assert {"privacy.epsilon", "privacy.audited_epsilon"} <= {part.id for part in privacy.measurements}
    (ledger,) = [part for part in privacy.exhibits if isinstance(part, auditkit.Facts)]
    stated = [words for _, words in ledger.rows]
    assert any("drawn as torch.nn draws the layer whose operator reads them" in words for words in stated)
    assert any("the exported graph" in words for words in stated)
    assert any("without dropout" in note for note in privacy.notes)
    assert any(part.title == "How the shadow models were made" for part in leakage.exhibits)
    privacy, leakage = found[script]["privacy"], found[script]["leakage"]
    assert "fresh weights cannot be drawn: a TorchScript program" in (privacy.reason or "")
    assert any("only the LOSS attack was made" in note for note in leakage.notes)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"epsilon": ()}, "at least one value"),
        ({"epsilon": (0.0,)}, "epsilon must be a number from 0.01 to 10,000, got 0.0; pass --epsilon 3"),
        ({"epsilon": (0.009,)}, "epsilon must be a number from 0.01 to 10,000, got 0.009"),
        ({"epsilon": (3.0, 10_001.0)}, "epsilon must be a number from 0.01 to 10,000, got 10001.0"),
        ({"epsilon": (float("nan"),)}, "epsilon must be a number from 0.01 to 10,000, got nan"),
        ({"epsilon": (float("inf"),)}, "epsilon must be a number from 0.01 to 10,000, got inf"),
        ({"epsilon": (3.0, 3.0)}, "twice"),
        ({"seeds": 0}, "seeds must be"),
        ({"canaries": 5}, "canaries must be"),
        ({"tuning_runs": -1}, "tuning_runs must be"),
    ],
)
def test_settings_are_validated(settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Privacy(**settings)  # type: ignore[arg-type]
