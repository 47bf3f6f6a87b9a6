"""Regressions from end to end: people's hours of work, predicted, from the data set to every number of the report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from keys import compared
from sklearn import metrics as oracle

import auditkit
from auditkit.auditors.data_quality.auditor import DataChecks
from auditkit.auditors.fairness.auditor import Fairness
from auditkit.auditors.performance.auditor import Performance
from auditkit.auditors.privacy.auditor import Privacy
from auditkit.auditors.weak_spots.auditor import WeakSpots
from auditkit.cli import call
from auditkit.demo.census import write_census
from auditkit.errors import InputError
from auditkit.evidence.report import Outcome, Report, read_report
from auditkit.models.formats.opening import open_model
from auditkit.training.dp import dp_sgd
from auditkit.training.dp.accounting import Ledger
from auditkit.training.dp.dp_sgd import fit_private


@dataclass(frozen=True)
class Hours:
    """A model of the hours that people work, and its data."""

    model: Path
    train: Path
    test: Path


@pytest.fixture(scope="module")
def hours(tmp_path_factory: pytest.TempPathFactory) -> Hours:
    folder = tmp_path_factory.mktemp("hours")
    paths = []
    for whole, count in zip(write_census(folder), (1500, 800), strict=True):
        path = whole.with_stem(f"{whole.stem}_part")
        pd.read_csv(whole, dtype=str, nrows=count, keep_default_na=False).to_csv(path, index=False)
        paths.append(path)
    model = folder / "hours.pt"
    flags = ["--target", "hours_per_week", "--task", "regression", "--sensitive", "sex", "--drop", "income"]
    assert call(["train", "--dataset", str(paths[0]), *flags, "--out", str(model), "--epochs", "5", "--quiet"]) == 0
    return Hours(model, *paths)


def run(hours: Hours, out: Path, *flags: str) -> tuple[int, Report]:
    code = call(["run", str(hours.model), "--dataset", str(hours.test), "--quiet", "--out", str(out), *flags])
    return code, read_report(out / "results.json")


def by_name(report: Report) -> dict[str, Outcome]:
    return {outcome.auditor: outcome for outcome in report.outcomes}


def test_every_auditor_judges_a_regression_or_says_why_not(hours: Hours, tmp_path: Path) -> None:
    code, report = run(hours, tmp_path / "out", "--train-dataset", str(hours.train), "--shadows", "2", "--epsilon", "8")
    assert code in (0, 1)
    outcomes = by_name(report)
    assert {name: outcome.error for name, outcome in outcomes.items() if outcome.error} == {}
    reasons = {name: outcome.reason for name, outcome in outcomes.items() if outcome.reason}
    others = {"generation", "language", "memorisation", "synthetic", "bias", "private_training"}
    assert set(reasons) == {"tradeoff", "identity_terms", *others}
    assert reasons["tradeoff"] == "a regression predicts numbers, and there are no classes to score"
    assert outcomes["fairness"].verdict is None
    assert report.subject.schema_["task"] == "regression"
    for outcome in outcomes.values():
        assert {measurement.id for measurement in outcome.measurements} <= set(outcome.measures or ())
    for id in ("data.mean_label", "leakage.membership_auc", "performance.r2"):
        found = report.measurement(id)
        assert found is not None, id
        assert found.value is not None, id
    worth = report.measurement("privacy.mean_absolute_error", ("retraining",))
    assert worth is not None
    assert [part.group.text for part in worth.slices] == ["original", "epsilon 8"]
    page = (tmp_path / "out/report.html").read_text()
    assert "How far off the predictions are" in page
    assert "in the unit of hours_per_week" in page
    # A second run with another policy takes no forward pass, and gives the same numbers.
    _, again = run(hours, tmp_path / "again", "--only", "performance", "--policy", "default")
    assert any("predicted again and agree" in note for note in again.subject.notes)
    assert by_name(again)["performance"].measurements == outcomes["performance"].measurements


def test_numbers_are_those_of_scikit_learn_in_the_unit_of_the_target(hours: Hours) -> None:
    model = open_model(hours.model)
    assert (model.schema.output, model.schema.classes) == ("value", ())
    frame = pd.read_csv(hours.test, dtype=str, keep_default_na=False)
    with torch.no_grad():
        values = model.module(torch.from_numpy(model.schema.encode(frame))).numpy()[:, 0].astype(np.float64)
    predictions = values * model.schema.target_scale + model.schema.target_mean
    labels = frame["hours_per_week"].astype(float).to_numpy()
    assert 35 < predictions.mean() < 45
    report = auditkit.audit(hours.model, hours.test, auditors=[Performance()])
    for name, metric in (("mean_absolute_error", oracle.mean_absolute_error), ("r2", oracle.r2_score)):
        found = report.measurement(f"performance.{name}")
        assert found is not None
        assert found.value == pytest.approx(metric(labels, predictions), rel=1e-4)


def test_a_schema_says_how_its_task_was_told(hours: Hours, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["schema", "infer", str(hours.train), "--target", "fnlwgt"]) == 0
    out, err = capsys.readouterr()
    assert "task: regression, since 'fnlwgt' holds" in err
    assert (json.loads(out)["task"], json.loads(out)["output"]) == ("regression", "value")
    assert call(["schema", "infer", str(hours.train), "--target", "age"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "multiclass", "74 whole numbers may be classes"
    assert call(["schema", "infer", str(hours.train), "--target", "age", "--task", "regression"]) == 0
    assert 35 < json.loads(capsys.readouterr().out)["target_mean"] < 42
    for task, words in (("regression", "'sex' is numeric, but line 2 holds"), ("multiclass", "has 2 classes")):
        assert call(["schema", "infer", str(hours.train), "--target", "sex", "--task", task]) == 2
        assert words in capsys.readouterr().err


def test_packing_keeps_a_regression(hours: Hours, tmp_path: Path) -> None:
    model = open_model(hours.model)
    assert model.card is not None
    torch.save(model.module.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "schema.json").write_text(model.schema.model_dump_json())
    packed = tmp_path / "packed.safetensors"
    flags = ["--architecture", "mlp", "--architecture-args", json.dumps(model.card.arguments)]
    flags += ["--schema", str(tmp_path / "schema.json"), "--out", str(packed), "--quiet"]
    assert call(["pack", str(tmp_path / "weights.pt"), *flags]) == 0
    assert open_model(packed).schema == model.schema
    reports = [auditkit.audit(path, hours.test, auditors=[Performance()]) for path in (hours.model, packed)]
    assert reports[0].outcomes[1].measurements == reports[1].outcomes[1].measurements


def plain(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Rows of two columns and a target that is their sum, and whose predictions err in one group."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(50, 9, rows), "b": rng.normal(0, 2, rows), "g": rng.choice(["x", "y"], rows)})
    frame["y"] = frame["a"] + frame["b"]
    frame["said"] = frame["y"] + rng.normal(0, 1, rows) + 3 * (frame["g"] == "y")
    return frame


class Sum(torch.nn.Module):
    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.sum(dim=1)


def test_a_foreign_model_of_one_output_predicts_the_target_as_it_is(tmp_path: Path) -> None:
    frame = plain()[["a", "b", "g", "y"]]
    for task in ("regression", None):
        report = auditkit.audit(Sum(), frame, target="y", sensitive=["g"], task=task, auditors=[Performance()])
        found = report.measurement("performance.mean_absolute_error")
        assert found is not None
        assert found.value == pytest.approx(0, abs=1e-4)
        assert "The model's output was taken for y in its own unit: task regression." in report.subject.notes
    program = tmp_path / "sum.pt2"
    batch = torch.export.Dim("rows", min=2)
    exported = torch.export.export(Sum().eval(), (torch.zeros(3, 2),), dynamic_shapes=({0: batch},))
    torch.export.save(exported, program)
    with pytest.raises(InputError) as refused:
        auditkit.audit(program, frame, target="y", sensitive=["g"], task="regression")
    trust = str(refused.value).partition("--trust-model ")[2].split()[0].rstrip(".")
    report = auditkit.audit(
        program, frame, target="y", sensitive=["g"], task="regression", trust_model=trust, auditors=[Performance()]
    )
    found = report.measurement("performance.r2")
    assert found is not None
    assert found.value == pytest.approx(1)


def test_recorded_predictions_are_audited_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "said.csv"
    frame = plain()
    frame.loc[3, "said"] = np.nan
    frame.to_csv(path, index=False)
    command = ["run", "--dataset", str(path), "--target", "y", "--sensitive", "g", "--prediction", "said", "--quiet"]
    assert call([*command, "--task", "regression", "--out", str(tmp_path / "out")]) in (0, 1)
    report = read_report(tmp_path / "out/results.json")
    assert {outcome.error for outcome in report.outcomes} == {None}
    gap = report.measurement("fairness.mean_error_difference", ("g",))
    assert gap is not None
    assert compared(gap) == ("x", "y")
    assert gap.interval is not None
    assert 2.5 < gap.interval.low < 3 < gap.interval.high < 3.5
    assert "1 of 400 rows have no value in said and were left out." in report.subject.notes
    capsys.readouterr()
    for flags, words in (
        (["--score", "a"], "neither scores nor a threshold"),
        (["--classes", "a,b"], "a regression has no classes"),
        (["--reference-group", "g=x"], "which a regression task has not"),
        (["--top-k", "5"], "top_k needs two classes"),
    ):
        assert call([*command, "--task", "regression", *flags, "--out", str(tmp_path / "none")]) == 2
        assert words in capsys.readouterr().err


def test_outputs_that_are_no_numbers_stop_the_audit_with_their_count() -> None:
    class Breaks(torch.nn.Module):
        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            return torch.where(rows[:, 0] > 60, torch.nan, rows[:, 0])

    frame = plain()[["a", "b", "y"]]
    wrong = int((frame["a"] > 60).sum())
    with pytest.raises(InputError, match=f"{wrong} of 400 rows have NaN or infinite outputs"):
        auditkit.audit(Breaks(), frame, target="y", task="regression")


def test_where_a_regression_is_far_off_is_found() -> None:
    frame = plain(4000)
    frame["place"] = np.random.default_rng(1).choice(["p", "q", "r", "s"], 4000)
    frame["said"] += np.random.default_rng(2).normal(0, 8, 4000) * (frame["place"] == "q")
    found = auditkit.audit(
        None, frame, prediction="said", target="y", task="regression", auditors=[WeakSpots()]
    ).measurement("weak_spots.error_rate", ("slice",))
    assert found is not None
    assert found.slices[0].group.text == "place = q"
    honest = frame.assign(said=frame["y"] + np.random.default_rng(3).normal(size=4000))
    nothing = auditkit.audit(
        None, honest, prediction="said", target="y", task="regression", auditors=[WeakSpots()]
    ).measurement("weak_spots.error_rate", ("slice",))
    assert nothing is not None
    assert nothing.slices == ()


def test_a_column_that_gives_the_number_away_is_found_on_any_scale() -> None:
    frame = plain(2000)
    frame["y"] = np.exp(frame["a"] / 5)  # a long tail
    frame["copy"] = -(frame["y"] ** 3)
    frame["noise"] = np.random.default_rng(5).normal(size=2000)
    frame["id"] = [f"row{place}" for place in range(2000)]
    report = auditkit.audit(
        None, frame, prediction="said", target="y", task="regression", sensitive=["g"], auditors=[DataChecks()]
    )
    found = report.measurement("data.single_column_r2", ("column",))
    assert found is not None
    values = {part.group.text: part.value or 0.0 for part in found.slices}
    assert min(values["copy"], values["a"]) > 0.99
    assert max(abs(values[name]) for name in ("noise", "id", "g")) < 0.1
    warned = [finding.measurement for finding in report.findings if finding.verdict == "warn"]
    assert "data.single_column_r2" in warned
    means = report.measurement("data.mean_label", ("g",))
    assert means is not None
    expected = frame.groupby("g")["y"].mean()
    assert {part.group.text: part.value for part in means.slices} == pytest.approx(expected.to_dict())


@pytest.mark.parametrize("learned_by_heart", [False, True])
def test_a_claim_about_a_regression_is_tested_from_the_last_weights(
    hours: Hours, monkeypatch: pytest.MonkeyPatch, learned_by_heart: bool
) -> None:
    """Canaries are rows with a number three deviations off; a training that only claims to be private shows them."""

    def by_heart(module: torch.nn.Module, inputs: object, labels: object, *more: object, **options: object) -> Ledger:
        ledger = fit_private(module, inputs, labels, *more, **options)  # type: ignore[arg-type]
        rows, numbers = torch.as_tensor(inputs), torch.as_tensor(labels).float()
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(300):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(module(rows)[:, 0], numbers).backward()
            optimizer.step()
        return ledger

    if learned_by_heart:
        monkeypatch.setattr(dp_sgd, "fit_private", by_heart)
    report = auditkit.audit(
        hours.model, hours.test, training_data=hours.train, auditors=[Privacy(epsilon=(0.5,), canaries=75)]
    )
    bounds = report.measurement("privacy.black_box_audited_epsilon", ("retraining",))
    assert bounds is not None
    assert bounds.count == 75
    assert ((bounds.slices[0].value or 0) > 0.5) == learned_by_heart


def test_inspecting_retraining_and_mitigating(hours: Hours, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["inspect", str(hours.model), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    abilities = {ability["auditor"]: ability for ability in told["abilities"]}
    assert "no classes to score" in abilities["tradeoff"]["reason"]
    assert all(abilities[name]["able"] for name in ("performance", "fairness", "leakage", "privacy", "explainability"))
    assert call(["inspect", str(hours.model)]) == 0
    assert "hours_per_week: a number; returns value" in capsys.readouterr().out
    command = ["retrain", str(hours.model), "--epsilon", "8", "--epochs", "2", "--out", str(tmp_path), "--quiet"]
    assert call([*command, "--train-dataset", str(hours.train)]) == 0
    private = next(tmp_path.glob("*-eps8.pt"))
    assert open_model(private).schema.task == "regression"
    capsys.readouterr()
    command = ["mitigate", str(hours.model), "--dataset", str(hours.test), "--train-dataset", str(hours.train)]
    assert call([*command, "--sensitive", "sex", "--out", str(tmp_path / "m.pt")]) == 2
    assert "two classes" in capsys.readouterr().err


def test_equal_predictions_make_no_gap() -> None:
    frame = plain()
    frame["said"] = 50.0
    report = auditkit.audit(
        None, frame, prediction="said", target="y", task="regression", sensitive=["g"],
        auditors=[Fairness(), Performance()],
    )  # fmt: skip
    gap = report.measurement("fairness.mean_prediction_difference", ("g",))
    assert gap is not None
    assert (gap.value, gap.interval) == (0, None)
    assert gap.reason == "all rows are alike, which says nothing of the spread that an interval needs"
    r2 = report.measurement("performance.r2")
    assert r2 is not None
    assert r2.value is not None
    assert r2.value <= 0


@pytest.mark.parametrize("kind", ["text", "image"])
def test_texts_and_images_have_numbers_too(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    if kind == "text":
        words = np.array(["good", "bad", "fine", "poor", "nice", "dull"])
        worth = np.array([3, -3, 1, -2, 2, -1])
        drawn = rng.integers(0, 6, (500, 5))
        frame = pd.DataFrame({"told": [" ".join(words[row]) for row in drawn], "y": worth[drawn].sum(1) + 0.5})
        flags = ["--text", "told"]
    else:
        pixels = rng.normal(size=(500, 16))
        frame = pd.DataFrame(pixels, columns=[f"p{place}" for place in range(16)]).assign(y=pixels[:, :4].sum(1))
        flags = ["--image", "4x4"]
    frame["y"] += rng.normal(0, 0.1, 500)
    frame.iloc[:400].to_csv(tmp_path / "train.csv", index=False)
    frame.iloc[400:].to_csv(tmp_path / "test.csv", index=False)
    model = tmp_path / "model.pt"
    command = ["train", "--dataset", str(tmp_path / "train.csv"), "--target", "y", *flags, "--epochs", "8"]
    assert call([*command, "--out", str(model), "--quiet"]) == 0
    assert open_model(model).schema.task == "regression", "told from numbers that are not whole"
    out = tmp_path / "out"
    assert call(["run", str(model), "--dataset", str(tmp_path / "test.csv"), "--quiet", "--out", str(out)]) in (0, 1)
    report = read_report(out / "results.json")
    assert {outcome.error for outcome in report.outcomes} == {None}
    assert by_name(report)["explainability"].measurements
