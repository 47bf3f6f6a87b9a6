"""A table of synthetic records with a planted truth: a fresh draw, copies, and columns that forgot each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.auditors.synthetic.disclosure import _guessed, _linked
from auditkit.cli import call
from auditkit.errors import InputError
from auditkit.evidence.policy import parse_policy
from auditkit.evidence.report import Report
from auditkit.stats.disclosure import Attack


def people(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sex = rng.choice(["F", "M"], count)
    job = rng.choice([f"job {number}" for number in range(8)], count)
    age = rng.normal(40, 12, count).round().clip(18, 90)
    level = (age - 40) / 12 + np.array([int(name[-1]) for name in job]) / 4 - 1 + rng.normal(0, 0.4, count)
    frame = pd.DataFrame({"sex": sex, "job": job, "age": age, "pay": np.exp(level).round(3)})
    return frame.assign(loan=np.where(level + rng.normal(0, 0.3, count) > 0, "yes", "no"))


TRAINING, UNSEEN, FRESH = people(800, 1), people(800, 2), people(800, 3)


def audited(samples: pd.DataFrame, folder: Path, **options: Any) -> Report:
    path = folder / "synthetic.csv"
    samples.to_csv(path, index=False)
    options = {"target": "loan", "sensitive": "sex"} | options
    return auditkit.audit(None, UNSEEN, training_data=TRAINING, samples=path, **options)


def verdicts(report: Report, id: str) -> set[str]:
    return {finding.verdict for finding in report.findings if finding.measurement == id}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return audited(FRESH, tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return audited(TRAINING.sample(frac=0.9, random_state=0), tmp_path_factory.mktemp("copied"))


@pytest.fixture(scope="module")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Report:
    rng = np.random.default_rng(0)
    shuffled = pd.DataFrame({name: rng.permutation(FRESH[name]) for name in FRESH})
    return audited(shuffled, tmp_path_factory.mktemp("independent"))


def test_a_fresh_draw_fails_no_limit(fresh: Report) -> None:
    assert fresh.verdict in ("pass", "inconclusive")
    assert all(outcome.error is None for outcome in fresh.outcomes)
    for name in ("singling_out_risk", "linkability_risk", "train_on_synthetic_accuracy_loss", "association_error"):
        found = fresh[f"synthetic.{name}"]
        assert found.interval is not None
        assert found.interval.low <= 0.02, name
    assert verdicts(fresh, "synthetic.column_distance") <= {"pass", "inconclusive"}


def test_copies_fail_whatever_their_quality(copied: Report) -> None:
    assert copied.verdict == "fail"
    assert "fail" in verdicts(copied, "synthetic.linkability_risk")
    assert "fail" in verdicts(copied, "synthetic.inference_risk")
    assert "fail" in verdicts(copied, "memorisation.near_copy_excess")
    linked = copied["synthetic.linkability_risk"]
    assert linked.value == pytest.approx(0.9, abs=0.1)
    loss = copied["synthetic.train_on_synthetic_accuracy_loss"]
    assert loss.value == pytest.approx(0, abs=0.05)
    assert "pass" not in verdicts(copied, loss.id)  # copies teach as well as real records: that counts for nothing


def test_whatever_the_policy_usefulness_does_not_pass_beside_copies(copied: Report, fresh: Report) -> None:
    alone = """[[limit]]
    measurement = "synthetic.train_on_synthetic_accuracy"
    at_least = 0.5
    rationale = "Models learn from the records."
    """
    risk = alone.replace("train_on_synthetic_accuracy", "singling_out_risk").replace("at_least", "at_most")
    for text, verdict in ((alone, "inconclusive"), (risk, "pass")):
        found = auditkit.gate(fresh, parse_policy(text, source="own.toml")).findings
        assert [one.verdict for one in found] == [verdict]
    copies = """[[limit]]
    measurement = "memorisation.near_copy_excess"
    at_most = 0.02
    rationale = "No copies."
    """
    judged = auditkit.gate(copied, parse_policy(alone + copies, source="own.toml")).findings
    useful = {one.measurement: one for one in judged}["synthetic.train_on_synthetic_accuracy"]
    assert (useful.verdict, useful.held_by) == ("inconclusive", "memorisation.near_copy_excess"), useful.message


def test_columns_that_forgot_each_other_teach_nothing(independent: Report) -> None:
    loss = independent["synthetic.train_on_synthetic_accuracy_loss"]
    assert loss.value is not None
    assert loss.value > 0.15
    assert "fail" in verdicts(independent, loss.id)
    error = independent["synthetic.association_error"]
    assert error.interval is not None
    assert error.interval.low > 0.05
    assert "fail" not in verdicts(independent, "synthetic.column_distance")
    by_sex = independent["synthetic.train_on_synthetic_accuracy_loss", "sex"]
    assert [part.group.key for part in by_sex.slices] == [("F",), ("M",)]
    assert all(part.value is not None and part.value > 0.1 for part in by_sex.slices)


def test_what_other_auditors_cannot_do_without_a_model_is_said(fresh: Report) -> None:
    reasons = {outcome.auditor: outcome.reason for outcome in fresh.outcomes if outcome.reason}
    assert "no model that predicts" in str(reasons["performance"])
    assert "synthetic records" in str(reasons["explainability"])
    assert fresh.subject.model is not None
    assert fresh.subject.model.kind == "synthetic records"


def test_without_a_label_the_loss_is_undefined_with_the_reason(tmp_path: Path) -> None:
    report = audited(FRESH, tmp_path, target=None, only=["synthetic"])
    loss = report["synthetic.train_on_synthetic_accuracy_loss"]
    assert loss.value is None
    assert "--target" in str(loss.reason)
    assert report["synthetic.linkability_risk"].value is not None


def test_a_generator_of_one_class_teaches_to_guess_it(tmp_path: Path) -> None:
    report = audited(FRESH.assign(loan="yes"), tmp_path, only=["synthetic"])
    accuracy = report["synthetic.train_on_synthetic_accuracy"].value
    assert accuracy == pytest.approx((UNSEEN["loan"] == "yes").mean())


@pytest.mark.parametrize(
    ("samples", "words"),
    [(FRESH.drop(columns=["job"]), "job"), (FRESH[:50], "at least 100"), (FRESH.assign(age="old"), "age")],
)
def test_a_file_that_cannot_be_compared_is_one_line(
    samples: pd.DataFrame, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, frame in {"synthetic": samples, "train": TRAINING, "unseen": UNSEEN}.items():
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    command = ["run", "--samples", str(tmp_path / "synthetic.csv"), "--train-dataset", str(tmp_path / "train.csv")]
    command += ["--dataset", str(tmp_path / "unseen.csv"), "--out", str(tmp_path / "out"), "--quiet"]
    assert call(command) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_samples_without_the_training_records_say_what_they_need(tmp_path: Path) -> None:
    FRESH.to_csv(tmp_path / "synthetic.csv", index=False)
    report = auditkit.audit(None, UNSEEN, samples=tmp_path / "synthetic.csv", target="loan")
    assert report.exit_code == 3
    reasons = {outcome.auditor: str(outcome.reason) for outcome in report.outcomes if outcome.reason}
    assert "--train-dataset" in reasons["synthetic"]


def test_too_few_rows_to_attack_are_refused() -> None:
    from auditkit.auditors.synthetic.auditor import Synthetic

    with pytest.raises(InputError, match="rows must be at least 100"):
        Synthetic(rows=10)


def test_an_attack_that_succeeds_more_on_unseen_records_is_no_result() -> None:
    invalid, fair = Attack(10, 500, 200, 500), Attack(100, 500, 100, 500)
    failed = _linked(invalid, 0.95)
    assert (failed.value, failed.interval) == (None, None)
    assert "the attack is invalid here" in str(failed.reason)
    assert _linked(fair, 0.95).value == 0
    by_column = {part.group.key: part.value for part in _guessed({"a": invalid, "b": fair}, 0.95).slices}
    assert by_column == {("a",): None, ("b",): 0}
