from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from loans import Loans

from auditkit.cli import call
from auditkit.evidence.report import read_report
from auditkit.models.cache import NO_CACHE, Cache, cache_of, prediction_key
from auditkit.models.predict import Predictions

MADE = Predictions(labels=np.array([0, 1]), class_probabilities=np.array([[0.8, 0.2], [0.25, 0.75]]), notes=("a note",))


def test_predictions_come_back_as_they_were_kept(tmp_path):
    cache = Cache(folder=tmp_path / "kept")
    assert cache.load("k", row_count=2, class_count=2) is None
    cache.save("k", MADE)
    found = cache.load("k", row_count=2, class_count=2)
    assert found is not None
    np.testing.assert_array_equal(found[0].probabilities, MADE.probabilities)
    assert found[0].labels.tolist() == [0, 1]
    assert found[0].notes == ("a note",)
    assert found[1] == tmp_path / "kept/k.npz"
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["k.npz"]
    elsewhere = Cache(folder=tmp_path / "new", others=[tmp_path / "kept"])
    assert elsewhere.load("k", row_count=2, class_count=2) is not None


@pytest.mark.parametrize(
    "probabilities",
    [np.array([[0.5, 0.5]]), np.array([[2.0, -1.0]] * 2), np.array([[np.nan, 1]] * 2), np.array([[1, 0]] * 2)],
)
def test_what_does_not_fit_is_passed_over(tmp_path, probabilities):
    np.savez(tmp_path / "k.npz", probabilities=probabilities, notes=np.array([], dtype=str))
    assert Cache(folder=tmp_path).load("k", row_count=2, class_count=2) is None


def test_damaged_files_and_folders_are_passed_over(tmp_path):
    (tmp_path / "k.npz").write_bytes(b"PK\x03\x04garbage")
    assert Cache(folder=tmp_path).load("k", row_count=2, class_count=2) is None
    (tmp_path / "file").write_text("")
    Cache(folder=tmp_path / "file/in").save("k", MADE)
    NO_CACHE.save("k", MADE)
    pickled = np.array([{}], dtype=object)
    np.savez(tmp_path / "k.npz", probabilities=pickled, notes=pickled)
    assert Cache(folder=tmp_path).load("k", row_count=2, class_count=2) is None


def test_the_key_depends_on_everything():
    base = {"model_sha256": "m", "data_sha256": "d", "selection": {"row_count": 2, "limit": None}, "device": "cpu"}
    keys = {prediction_key(**base)}
    for change in (
        {"model_sha256": "n"}, {"data_sha256": "e"}, {"selection": {"row_count": 2, "limit": 1}}, {"device": "cuda"},
    ):  # fmt: skip
        keys.add(prediction_key(**{**base, **change}))
    assert len(keys) == 5


def test_a_second_audit_takes_no_forward_pass(loans: Loans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    forward = torch.nn.Sequential.forward

    def counted(self, inputs):
        passes.append(len(inputs))
        return forward(self, inputs)

    monkeypatch.setattr(torch.nn.Sequential, "forward", counted)
    base = ["run", str(loans.model), "--dataset", str(loans.test), "--only", "performance", "--quiet"]
    policy = tmp_path / "p.toml"
    policy.write_text('[[limit]]\nmeasurement = "performance.accuracy"\nat_least = 0.5\nrationale = "a test"\n')
    assert call([*base, "--out", str(tmp_path / "a")]) in (0, 1)
    assert sum(passes) == 1000
    assert call([*base, "--out", str(tmp_path / "b"), "--policy", str(policy)]) == 0
    assert sum(passes) == 1000, "another policy, and another folder, take no forward pass"
    first, second = (read_report(tmp_path / name / "results.json") for name in ("a", "b"))
    note = f"No forward pass was made: the predictions are those of an earlier audit of the same, in {tmp_path}/a/"
    assert not any(text.startswith("No forward pass") for text in first.subject.notes)
    assert any(text.startswith(note) for text in second.subject.notes)
    accuracy = [report.measurement("performance.accuracy") for report in (first, second)]
    assert accuracy[0] == accuracy[1]
    assert call([*base, "--out", str(tmp_path / "c"), "--where", "income > 40"]) in (0, 1)
    assert sum(passes) > 1000, "other rows are predicted anew"
    assert cache_of(tmp_path / "d").others == tuple(tmp_path / name / ".predictions" for name in "ac")
