"""LiRA and RMIA on a small model of auditkit's own: members by a fair coin are found, never-members are not."""

from __future__ import annotations

import dataclasses
import functools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from languages import sentences

import auditkit
from auditkit import Report
from auditkit.auditors.memorisation.auditor import Memorisation
from auditkit.auditors.memorisation.shadow_models import Shard, _check_units, log_odds, train_shadow
from auditkit.auditors.memorisation.units import units_of
from auditkit.cli import call
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import Slice, Table
from auditkit.models.capabilities import CausalLanguageModel, RepeatableTraining
from auditkit.models.formats.opening import open_model
from auditkit.models.language import TokenScores
from auditkit.progress import silent

SMALL = '{"width": 64, "layers": 2, "heads": 2, "vocabulary_size": 400}'


def texts_of_many_lengths(count: int) -> list[str]:
    """Return texts of which some are sentences of few words and others random digits: far from equally likely."""
    rng = np.random.default_rng(21)
    plain = sentences(count, seed=20)
    return [
        " ".join(text.split()[: rng.integers(4, 12)])
        + (" " + "".join(map(str, rng.integers(0, 10, rng.integers(2, 14)))) if rng.random() < 0.5 else "")
        for text in plain
    ]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with texts dealt by a coin, a model trained on one side, and one that read neither."""
    place = tmp_path_factory.mktemp("shadows")
    coin = np.random.default_rng(8).random(240) < 0.5
    frame = pd.DataFrame({"text": texts_of_many_lengths(240), "dialect": np.array(["x", "y"])[np.arange(240) % 2]})
    frame[coin].to_json(place / "train.jsonl", orient="records", lines=True)
    frame[~coin].to_json(place / "heldout.jsonl", orient="records", lines=True)
    pd.DataFrame({"text": sentences(150, seed=30)}).to_json(place / "other.jsonl", orient="records", lines=True)
    for name, texts, epochs in (("model", "train", "20"), ("stranger", "other", "10")):
        command = ["train", "--task", "language", "--dataset", str(place / f"{texts}.jsonl"), "--text", "text"]
        command += ["--out", str(place / f"{name}.pt"), "--architecture-args", SMALL, "--epochs", epochs, "--quiet"]
        assert call(command) == 0
    return place


def audited(place: Path, name: str, shadows: int, **more: Any) -> Report:
    return auditkit.audit(
        place / f"{name}.pt",
        place / "heldout.jsonl",
        train_dataset=place / "train.jsonl",
        text="text",
        only=["memorisation"],
        settings={"memorisation": {"prompts": 10, "shadows": shadows}},
        **more,
    )


def areas(report: Report) -> dict[str, Slice]:
    found = report.measurement("memorisation.membership_roc_auc", ("attack",))
    assert found is not None, [outcome.error for outcome in report.outcomes]
    return {part.group.key[0]: part for part in found.slices}


def notes(report: Report) -> str:
    return " ".join(str(note) for outcome in report.outcomes for note in outcome.notes)


def test_shadow_models_find_members_that_the_loss_does_not(place: Path) -> None:
    report = audited(place, "model", 4, sensitive=["dialect"], effort="thorough")
    found = areas(report)
    assert list(found) == ["rmia", "lira", "loss", "zlib", "min_k"]
    values = {name: part.value or 0.0 for name, part in found.items()}
    assert values["lira"] > values["loss"] + 0.05
    assert values["rmia"] > values["loss"] + 0.1
    assert found["rmia"].interval is not None
    assert 0.6 < found["rmia"].interval.low < values["rmia"]
    whole = report.measurement("memorisation.membership_roc_auc", ())
    assert whole is not None
    assert whole.value == values["rmia"], "the attack that is named first is judged"
    groups = report.measurement("memorisation.membership_roc_auc", ("dialect",))
    assert groups is not None
    assert [part.group.key for part in groups.slices] == [("x",), ("y",)]
    rate = report.measurement("memorisation.membership_true_positive_rate_at_1_percent", ("attack",))
    assert rate is not None
    assert [part.value is not None for part in rate.slices if part.group.key[0] == "rmia"] == [True]
    exhibits = [one for outcome in report.outcomes for one in outcome.exhibits]
    table = next(one for one in exhibits if "beside classifiers" in str(one.title))
    assert isinstance(table, Table)
    control = next(row for row in table.rows if "random half of both" in str(row[0]))
    assert float(str(control[2])) < 0.5 < float(str(control[3]))
    assert any("How the shadow models were made" in str(one.title) for one in exhibits)


def test_texts_that_were_never_read_are_at_chance(place: Path) -> None:
    report = audited(place, "stranger", 2, effort="thorough")
    found = areas(report)
    assert list(found) == ["rmia", "loss", "zlib", "min_k"], "LiRA needs four"
    assert found["rmia"].interval is not None
    assert found["rmia"].interval.low < 0.5 < found["rmia"].interval.high


def test_a_quick_audit_trains_none_and_says_so(place: Path) -> None:
    report = audited(place, "stranger", 8, effort="quick")
    assert "rmia" not in areas(report)
    assert "No shadow models (the effort quick trains none)" in notes(report)


def test_an_odd_number_is_refused() -> None:
    with pytest.raises(InputError, match="shadows must be an even number"):
        Memorisation(shadows=3)


def test_a_private_model_or_an_unknown_recipe_has_no_shadow_models(place: Path) -> None:
    model = open_model(place / "model.pt")
    assert model.require(RepeatableTraining).epochs == 20
    assert model.card is not None
    for change, reason in (
        ({"training": {}}, "does not say for how many epochs"),
        ({"ledger": {"epsilon": 1.0}}, "trained with differential privacy"),
    ):
        other = dataclasses.replace(model, card=model.card.model_copy(update=change))
        with pytest.raises(NotRun, match=reason):
            _ = other.require(RepeatableTraining).epochs


def test_the_work_of_a_shadow_model_can_be_sent_elsewhere_and_repeats(place: Path) -> None:
    model = open_model(place / "model.pt")
    able = model.require(CausalLanguageModel)
    ids = [able.tokens(text)[0].tolist() for text in sentences(12)]
    work = functools.partial(train_shadow, model, ids, sentences(12), 1)
    first = work(Shard(3, np.arange(6)), "cpu", silent)
    again = pickle.loads(pickle.dumps(work))(Shard(3, np.arange(6)), "cpu", silent)
    assert first.shape == (12,)
    assert np.array_equal(first, again)


def test_log_odds_are_those_of_the_geometric_mean() -> None:
    one = np.log(np.array([0.5, 0.125]))
    none = np.zeros(2)
    scores = TokenScores(np.zeros(2, np.int64), np.zeros((2, 2), np.int64), one, none, none, none, none > 0, 2)
    sure = dataclasses.replace(scores, log_probabilities=none)
    found = log_odds([scores, sure])
    assert found[0] == pytest.approx(np.log(0.25 / 0.75))
    assert np.isfinite(found[1])


def test_texts_of_an_author_and_texts_that_say_the_same_stay_together() -> None:
    texts = [*map(str, range(40)), "7", "39"]
    frames = [pd.DataFrame({"author": [*"aabb", *[None] * 36]}), pd.DataFrame({"author": ["a", None]})]
    found = units_of(frames, texts, "author")
    assert found[0] == found[1] == found[40] == found[7], "an author's text says what another says"
    assert found[2] == found[3] != found[0]
    assert found[39] == found[41]
    assert len(np.unique(found)) == 42 - 3 - 1 - 1
    assert np.array_equal(np.unique(found), np.arange(37))
    alone = units_of([frame.drop(columns="author") for frame in frames], texts, "author")
    assert len(np.unique(alone)) == 40
    with pytest.raises(NotRun, match="belong together"):
        _check_units(units_of(frames, ["same"] * 42, None))
