"""What each budget costs a language model: written by its retraining, reported by its audit, not believed blindly."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from languages import gpt2, opened, sentences

import auditkit
from auditkit import Report
from auditkit.data.dataset import data_from_frame, read_data
from auditkit.errors import InputError
from auditkit.evidence.measurement import Curve
from auditkit.training.dp.retrain import retrain
from auditkit.training.dp.retrained import Retrained

TEXTS = sentences(40, seed=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frontier")
    held = pd.DataFrame({"text": sentences(30, seed=2), "dialect": ["x", "y"] * 15})
    held.to_csv(folder / "heldout.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def done(place: Path) -> Retrained:
    model = opened(gpt2(place / "base", sentences(60, seed=9)), TEXTS)
    data, held = data_from_frame(pd.DataFrame({"text": TEXTS})), read_data(place / "heldout.csv")
    settings = {"epsilon": (2.0, 8.0), "lora_rank": 2, "epochs": 1, "sensitive": ("dialect",), "out": place}
    return retrain(model, data, held_out=held, **settings)  # type: ignore[arg-type]


def audited(place: Path, done: Retrained, frontier: Path) -> Report:
    return auditkit.audit(
        done.files[1][0],
        place / "heldout.csv",
        text="text",
        only=["private_training"],
        settings={"private_training": {"frontier": str(frontier)}},
    )


def test_an_audit_reports_what_the_retraining_measured(place: Path, done: Retrained) -> None:
    report = audited(place, done, place / "frontier.json")
    names = {None: "without privacy", 0.0: "before", 2.0: "epsilon 2", 8.0: "epsilon 8"}
    for by in ((), ("dialect",)):
        found = report.measurement("private_training.bits_per_byte", ("training", *by))
        assert found is not None
        values = {part.group.key: part.value for part in found.slices}
        expected = {
            (names[one.epsilon], *(() if one.group is None else one.group.key)): one.value
            for one in done.frontier
            if (() if one.group is None else one.group.by) == by
        }
        assert values == expected
        assert len(values) == 4 * (2 if by else 1)
        assert all(part.interval is not None for part in found.slices)
    (outcome,) = [one for one in report.outcomes if one.auditor == "private_training"]
    assert not any("not measured again" in str(note) for note in outcome.notes), "the held-out texts are audited"
    curves = [one for one in outcome.exhibits if isinstance(one, Curve)]
    assert [str(line.name) for line in curves[1].lines] == ["x", "x, without privacy", "y", "y, without privacy"]
    assert curves[0].lines[0].x == (2.0, 8.0)


def test_a_number_that_the_model_does_not_give_is_not_reported(place: Path, done: Retrained, tmp_path: Path) -> None:
    document = json.loads((place / "frontier.json").read_text())
    for one in document["costs"]:
        if one["epsilon"] == 8.0:
            one.update(value=one["value"] * 0.9, low=None, high=None)
    (tmp_path / "edited.json").write_text(json.dumps(document))
    found = audited(place, done, tmp_path / "edited.json").measurement("private_training.bits_per_byte")
    assert found is not None
    assert found.value is None
    assert "the file of the retraining states" in str(found.reason)


def test_a_file_of_version_1_is_read(place: Path, done: Retrained, tmp_path: Path) -> None:
    document = json.loads((place / "frontier.json").read_text())
    old = {"count": "texts", "value": "bits_per_byte"}
    costs = [{old.get(key, key): value for key, value in one.items()} for one in document["costs"]]
    del document["measure"]
    (tmp_path / "f.json").write_text(json.dumps({**document, "version": 1, "costs": costs}))
    ids = ("private_training.bits_per_byte", ("training",))
    first, second = (audited(place, done, path) for path in (tmp_path / "f.json", place / "frontier.json"))
    assert first.measurement(*ids) == second.measurement(*ids)


def test_other_texts_are_reported_with_a_note(place: Path, done: Retrained) -> None:
    report = auditkit.audit(
        done.files[0][0],
        pd.DataFrame({"text": TEXTS}),
        text="text",
        only=["private_training"],
        settings={"private_training": {"frontier": str(place / "frontier.json")}},
    )
    (outcome,) = [one for one in report.outcomes if one.auditor == "private_training"]
    assert any("not measured again" in str(note) for note in outcome.notes)
    assert report.measurement("private_training.bits_per_byte", ("training",)) is not None


def test_a_file_of_other_models_or_of_anything_else_is_refused(place: Path, done: Retrained, tmp_path: Path) -> None:
    document = json.loads((place / "frontier.json").read_text())
    others = {**document, "models": [{"epsilon": 8.0, "sha256": "0" * 64}]}
    twice = {**document, "costs": document["costs"] * 2}
    for content, problem in (
        (json.dumps(others), "none of its models is the audited one"),
        (json.dumps(twice), "a model has two costs of one group"),
        ("[]", "pass the frontier.json"),
        ("{", "is not valid JSON"),
    ):
        (tmp_path / "f.json").write_text(content)
        with pytest.raises(InputError, match=problem):
            audited(place, done, tmp_path / "f.json")
    accuracies = {**document, "measure": "accuracy"}
    (tmp_path / "f.json").write_text(json.dumps(accuracies))
    with pytest.raises(InputError, match="an accuracy is above 1"):
        audited(place, done, tmp_path / "f.json")
    with pytest.raises(InputError, match="No such file"):
        audited(place, done, tmp_path / "nowhere.json")
