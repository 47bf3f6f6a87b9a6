"""What a model gives away about its training rows, end to end on a small data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from loans import Loans, write_loans
from torch import nn

import auditkit
from auditkit.auditors.privacy.leakage import Leakage, recipe_of
from auditkit.errors import InputError
from auditkit.models.formats.opening import open_model
from auditkit.schema.infer import infer_schema
from auditkit.tasks.base import task_for


def outcome_of(report: auditkit.Report) -> auditkit.evidence.report.Outcome:
    return next(outcome for outcome in report.outcomes if outcome.auditor == "leakage")


@pytest.fixture(scope="module")
def report(loans: Loans) -> auditkit.Report:
    return auditkit.audit(
        loans.model, loans.test, training_data=loans.train, auditors=[Leakage(shadows=8)], limit=900, seed=1
    )


def test_every_declared_number_is_there_with_its_interval(report: auditkit.Report) -> None:
    for id in Leakage.measures:
        if "_copy_" in id:  # there are no samples of a generator
            continue
        measurement = report.measurement(id, ("column",) if id.startswith("leakage.attribute_") else ())
        assert measurement is not None, id
        if id == "leakage.true_positive_rate_at_0_1_percent":
            continue
        if id.startswith("leakage.attribute_"):
            assert [part.group.text for part in measurement.slices] == ["group", "region"]
            assert all(part.simultaneous_interval is not None for part in measurement.slices)
            continue
        assert measurement.value is not None, id
        assert measurement.interval is not None
        assert measurement.interval.low <= measurement.value <= measurement.interval.high
    for by in (("attack",), ("class",), ("group",), ("region",)):
        assert report.measurement("leakage.membership_auc", by) is not None


def test_controls_read_as_chance(report: auditkit.Report) -> None:
    for id in ("leakage.shuffled_control_auc", "leakage.split_control_auc"):
        measurement = report.measurement(id)
        assert measurement is not None
        assert measurement.interval is not None
        assert measurement.interval.low <= 0.5 <= measurement.interval.high
    assert not any("control fails" in note for note in outcome_of(report).notes)


def test_a_rate_that_so_few_rows_cannot_show_has_a_reason(report: auditkit.Report) -> None:
    measurement = report.measurement("leakage.true_positive_rate_at_0_1_percent")
    assert measurement is not None
    assert measurement.value is None
    assert "one in 1,000" in (measurement.reason or "")


def test_the_recipe_is_that_of_the_card(loans: Loans, report: auditkit.Report) -> None:
    model = open_model(loans.model)
    recipe = recipe_of(model)
    assert recipe is not None
    assert model.card is not None
    assert recipe.epochs == model.card.training["best_epoch"]
    how = next(part for part in outcome_of(report).exhibits if part.title == "How the shadow models were made")
    assert isinstance(how, auditkit.Facts)
    assert dict(how.rows)["Recipe from"] == "the model's card"


def test_a_model_that_learned_its_rows_by_heart_is_found_out() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(900, 6)), columns=list("abcdef"))
    frame["y"] = rng.integers(0, 2, 900)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 128), nn.ReLU(), nn.Linear(128, 2))
    train, test = frame.iloc[:300], frame.iloc[300:]
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    inputs, labels = (
        torch.tensor(train.iloc[:, :6].to_numpy(), dtype=torch.float32),
        torch.tensor(train["y"].to_numpy()),
    )
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs), labels).backward()
        optimizer.step()
    report = auditkit.audit(module, test, target="y", training_data=train, auditors=[Leakage(shadows=0)])
    area = report.measurement("leakage.membership_auc")
    assert area is not None
    assert (area.value or 0) > 0.75
    notes = outcome_of(report).notes
    assert any("only the LOSS attack" in note for note in notes)
    assert any("Nothing but the word" in note for note in notes)


@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_a_hidden_column_that_the_model_learned_by_heart_is_guessed(task: str) -> None:
    """Labels that depend on a coin hidden in the row: only memory can tell the coin, and only of training rows."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1600, 6)).round(3), columns=list("abcdef"))
    frame["coin"] = rng.choice(["heads", "tails"], 1600)
    frame["y"] = rng.integers(0, 2, 1600) if task == "classes" else rng.normal(20, 5, 1600)
    schema = infer_schema(frame, target="y", sensitive=("coin",))
    assert bool(schema.classes) == (task == "classes")
    train, test = frame.iloc[:800], frame.iloc[800:]
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(schema.input_width, 256), nn.ReLU(), nn.Linear(256, 2 if schema.classes else 1))
    inputs, labels = (
        torch.tensor(schema.encode(train)),
        torch.tensor(task_for(schema).learnt(task_for(schema).encode_labels(train))),
    )
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        if schema.classes:
            loss = nn.functional.cross_entropy(module(inputs), labels)
        else:
            loss = nn.functional.mse_loss(module(inputs)[:, 0], labels.float())
        loss.backward()
        optimizer.step()
    report = auditkit.audit(module, test, schema=schema, training_data=train, auditors=[Leakage(shadows=0)])
    memory = report.measurement("leakage.attribute_memory", ("column",))
    assert memory is not None
    (coin,) = memory.slices
    assert coin.interval is not None
    assert coin.interval.low > 0.05
    groups = report.measurement("leakage.attribute_advantage", ("coin",))
    assert groups is not None
    assert [part.group.text for part in groups.slices] == ["heads", "tails"]
    table = next(part for part in outcome_of(report).exhibits if part.title == "Guessing sensitive columns")
    assert isinstance(table, auditkit.Table)
    assert [row[1] for row in table.rows] == ["all groups alike", "heads", "tails"]
    assert any("Another attacker may find more" in note for note in outcome_of(report).notes)


class Corner(nn.Module):
    """Answers by one pixel of an image, which no label depends on."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pixel = x[:, 0, 0, 0]
        return torch.stack([-pixel, pixel], dim=1)


def test_an_image_whose_answer_gives_the_sensitive_column_away_is_found_out_and_is_no_memory() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 100, (900, 4, 4), dtype=np.uint8)
    camera = rng.choice(["left", "right"], 900)
    pictures[camera == "left", 0, 0] = 250
    frame = pd.DataFrame({"image": list(pictures), "camera": camera, "label": rng.choice(["yes", "no"], 900)})
    schema = infer_schema(frame, target="label", sensitive=("camera",), image=(1, 4, 4))
    report = auditkit.audit(
        Corner(), frame.iloc[:450], schema=schema, training_data=frame.iloc[450:], auditors=[Leakage(shadows=0)]
    )
    found = {}
    for what in ("advantage", "control_advantage", "memory"):
        measurement = report.measurement(f"leakage.attribute_{what}", ("column",))
        assert measurement is not None
        found[what] = measurement.slices[0]
    assert found["advantage"].value == pytest.approx(0.5, abs=0.12)  # from a coin's guess to certainty
    assert found["control_advantage"].value == pytest.approx(0.5, abs=0.12)
    assert found["memory"].interval is not None
    assert found["memory"].interval.low <= 0 <= found["memory"].interval.high
    assert any("but not the image itself" in note for note in outcome_of(report).notes)


@pytest.mark.parametrize("name", ["attack", "class", "column"])
def test_a_sensitive_column_called_as_a_breakdown_of_the_auditor_is_said_and_not_compared(name: str) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(400, 2)), columns=["a", "b"]).assign(
        **{name: rng.choice(["u", "v"], 400), "sex": rng.choice(["F", "M"], 400), "y": rng.integers(0, 2, 400)}
    )
    torch.manual_seed(0)
    module = nn.Linear(2, 2)
    data: dict[str, Any] = {"target": "y", "sensitive": [name, "sex"], "training_data": frame.iloc[200:]}
    report = auditkit.audit(module, frame.iloc[:200], auditors=[Leakage(shadows=0)], **data)
    outcome = outcome_of(report)
    assert outcome.error is None
    assert sum(f"The column {name} has the name of a breakdown of this auditor" in note for note in outcome.notes) == 1
    by = {measurement.by for measurement in outcome.measurements if measurement.id == "leakage.membership_auc"}
    assert {("class",), ("sex",)} <= by


def test_the_wrong_training_rows_are_said_and_show_nothing(loans: Loans) -> None:
    report = auditkit.audit(loans.model, loans.test, training_data=loans.test, auditors=[Leakage(shadows=0)])
    outcome = outcome_of(report)
    assert outcome.reason is not None
    assert "must not be the training rows" in outcome.reason


def test_without_training_rows_it_is_not_run(loans: Loans) -> None:
    outcome = outcome_of(auditkit.audit(loans.model, loans.test, auditors=[Leakage()]))
    assert outcome.reason == "no training data; pass --train-dataset FILE"


@pytest.mark.parametrize("settings", [{"shadows": 3}, {"shadows": -2}])
def test_settings_are_validated(settings: dict[str, int]) -> None:
    with pytest.raises(InputError):
        Leakage(**settings)


def test_samples_of_a_generator_that_copies_are_found_out(loans: Loans, tmp_path: Path) -> None:
    train, test = pd.read_csv(loans.train), pd.read_csv(loans.test)
    fresh = pd.read_csv(write_loans(tmp_path / "more.csv", row_count=300, seed=99))
    copied, honest = tmp_path / "copied.csv", tmp_path / "honest.csv"
    pd.concat([train.iloc[:150], fresh.iloc[:150]]).drop(columns="approved").to_csv(copied, index=False)
    fresh.drop(columns="approved").to_csv(honest, index=False)
    values = {}
    for path in (copied, honest):
        report = auditkit.audit(loans.model, test, training_data=train, samples=path, auditors=[Leakage(shadows=0)])
        found = [
            report.measurement(f"leakage.{id}") for id in ("exact_copy_share", "near_copy_share", "near_copy_excess")
        ]
        values[path] = [np.nan if part.value is None else part.value for part in found if part is not None]
        table = next(part for part in outcome_of(report).exhibits if part.title.startswith("Copies of training rows"))
        assert isinstance(table, auditkit.Table)
    assert values[copied][0] == pytest.approx(0.5, abs=0.01)
    assert values[copied][2] > 0.1
    assert values[honest][0] == pytest.approx(0.0, abs=0.01)
    fresh.iloc[:20].to_csv(honest, index=False)
    with pytest.raises(InputError, match="at least 100 rows"):
        auditkit.audit(loans.model, test, training_data=train, samples=honest, auditors=[Leakage()])


class Mute(nn.Module):
    """Answers alike whatever the text."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(x), 2)


def test_copied_and_nearly_copied_texts_are_found_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"word{index}" for index in range(400)])

    def texts(count: int) -> list[str]:
        return [" ".join(rng.choice(vocabulary, 20)) for _ in range(count)]

    frame = pd.DataFrame({"text": texts(800), "label": rng.choice(["yes", "no"], 800)})
    train, test = frame.iloc[:400], frame.iloc[400:]
    copied = train["text"].iloc[:100].str.upper().tolist()  # the case of letters hides no copy
    nearly = [text.rsplit(" ", 2)[0] + " and more" for text in train["text"].iloc[100:200]]
    path = tmp_path / "samples.csv"
    pd.DataFrame({"text": [*copied, *nearly, *texts(200)]}).to_csv(path, index=False)
    report = auditkit.audit(
        Mute(),
        test,
        schema=infer_schema(train, target="label", text="text"),
        training_data=train,
        samples=path,
        auditors=[Leakage(shadows=0)],
    )
    found = [report.measurement(f"leakage.{id}") for id in ("exact_copy_share", "near_copy_share", "near_copy_excess")]
    assert [part.value for part in found if part is not None] == pytest.approx([0.25, 0.5, 0.5], abs=0.02)
    assert any("by their words and pairs of neighbouring words" in note for note in outcome_of(report).notes)
