"""The privacy ledger of a Hugging Face folder: read, recomputed, held against the weights, audited and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from languages import gpt2, opened, sentences
from safetensors.torch import load_file, save_file

import auditkit
from auditkit.cli import call
from auditkit.compliance.assess import assess
from auditkit.compliance.framework import load_framework
from auditkit.data.dataset import data_from_frame
from auditkit.engine.inspect import inspect_model
from auditkit.evidence.report import Outcome, Report
from auditkit.training.dp.retrain import retrain

TEXTS = sentences(40, seed=1)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("private")
    model = opened(gpt2(folder / "base", sentences(60, seed=9)), TEXTS)
    data = data_from_frame(frame())
    return retrain(model, data, epsilon=8.0, lora_rank=2, epochs=1, tuning_runs=1, out=folder).files[0][0]


def frame() -> pd.DataFrame:
    return pd.DataFrame({"text": TEXTS})


def audited(folder: Path) -> Report:
    return auditkit.audit(folder, frame(), text="text", only=["private_training"], device="cpu")


def outcome_of(report: Report) -> Outcome:
    return next(one for one in report.outcomes if one.auditor == "private_training")


def stated(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "privacy_ledger.json").read_text())
    return found


def copy_with(private: Path, folder: Path, **ledger: float) -> Path:
    shutil.copytree(private, folder)
    document = stated(folder)
    document["ledger"].update(ledger)
    (folder / "privacy_ledger.json").write_text(json.dumps(document))
    return folder


def test_the_ledger_is_inspected_measured_and_seen_by_comply(private: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = stated(private)["ledger"]
    assert call(["inspect", str(private)]) == 0
    assert f"epsilon {ledger['epsilon']}" in capsys.readouterr().out
    report = audited(private)
    values = [one.value for one in outcome_of(report).measurements]
    assert values == [ledger["epsilon"], ledger["epsilon_with_tuning"]]
    assert values[0] is not None
    assert 7.9 <= values[0] <= 8.0
    clauses = assess(report, load_framework("nist-800-226")).clauses
    first = next(one for one in clauses if one.clause.topic.startswith("Epsilon, delta"))
    assert first.state == "evidenced"
    assert {"private_training.epsilon"} <= {item.name for item in first.items}


def test_a_forged_epsilon_is_refused(private: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy_with(private, tmp_path / "forged", epsilon=0.5)
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    run = ["run", str(folder), "--dataset", str(tmp_path / "texts.jsonl"), "--text", "text", "--quiet"]
    for command in (["inspect", str(folder)], [*run, "--out", str(tmp_path / "out")]):
        assert call(command) == 2
        error = capsys.readouterr().err
        assert "states epsilon 0.5, and its noise, rate, steps and delta give" in error
        assert error.count("\n") == 1


def test_a_ledger_claims_nothing_of_other_weights(private: Path, tmp_path: Path) -> None:
    folder = copy_with(private, tmp_path / "changed")
    path = folder / "model.safetensors"
    weights = load_file(path)
    next(iter(weights.values())).view(-1)[0] += 0.5
    save_file(weights, path, metadata={"format": "pt"})
    found = inspect_model(folder)
    assert found.opens
    assert (found.ledger, found.training) == (None, {})
    assert "is of other weights" in str(found.ledger_problem)
    outcome = outcome_of(audited(folder))
    assert [one.value for one in outcome.measurements] == [None, None]
    assert "is of other weights" in str(outcome.measurements[0].reason)
    assert not outcome.exhibits


def test_a_file_that_is_no_ledger_is_refused_in_one_line(
    private: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_with(private, tmp_path / "damaged")
    for content, message in (("{", "is not valid JSON"), ('{"ledger": {}}', "is not valid: training: Field required")):
        (folder / "privacy_ledger.json").write_text(content)
        assert call(["inspect", str(folder)]) == 2
        assert message in capsys.readouterr().err


def test_a_model_without_a_ledger_says_so(private: Path) -> None:
    outcome = outcome_of(audited(private.parent / "base"))
    assert "states no training with differential privacy" in str(outcome.reason)
