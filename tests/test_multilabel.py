"""A multi-label model from training to report: own and foreign networks, recorded decisions, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from keys import group
from sklearn import metrics as sklearn_metrics

import auditkit
from auditkit.cli import call
from auditkit.data.dataset import data_from_frame
from auditkit.engine.replay import replay
from auditkit.errors import InputError
from auditkit.evidence.report import Report, read_report
from auditkit.evidence.version1 import from_version_1
from auditkit.models.cache import Cache
from auditkit.render.html.report import render_html
from auditkit.schema.schema import Schema
from auditkit.training.train import train

LABELS = ["rain", "snow"]
ONLY = ["data", "performance", "fairness", "weak_spots"]


def weather(rows: int = 1200, seed: int = 0) -> Any:
    draws = np.random.default_rng(seed)
    x, z = draws.normal(size=(2, rows))
    return pd.DataFrame(
        {
            "x": x,
            "z": z,
            "place": draws.choice(["hill", "vale"], rows),
            "rain": (x + draws.normal(size=rows) > 0).astype(int),
            "snow": np.where(x - z + draws.normal(size=rows) > 1, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("multilabel") / "model.pt"
    model, record = train(
        data_from_frame(weather()),
        target=("rain", "snow"),
        sensitive=["place"],
        out=path,
        epochs=30,
        architecture_args={"hidden": [8]},
    )
    assert record["row_count"] == 1200
    return model


def test_inspect_estimates_the_cost_of_what_can_run_alone(trained: Any, tmp_path: Path) -> None:
    weather().to_csv(tmp_path / "rows.csv", index=False)
    found = auditkit.inspect_model(trained.path, dataset=tmp_path / "rows.csv")
    able = {ability.auditor for ability in found.abilities if ability.able}
    assert {"performance", "weak_spots", "robustness", "explainability"} <= able
    assert not {"tradeoff", "identity_terms"} & able
    assert [cost.part for cost in found.costs][:3] == ["predictions", "explainability", "robustness"]


def found(report: Report) -> Any:
    return {(m.id, m.by): m for outcome in report.outcomes for m in outcome.measurements}


def truth(frame: pd.DataFrame) -> Any:
    return np.column_stack([frame["rain"], frame["snow"] == "yes"]).astype(int)


def test_a_trained_model_is_audited_label_by_label(trained: Any) -> None:
    frame = weather(seed=1)
    report = auditkit.audit(trained, frame, only=ONLY)
    assert trained.schema.task == "multilabel"
    assert (trained.schema.target, trained.schema.classes) == (("rain", "snow"), ("rain", "snow"))
    with torch.inference_mode():
        logits = trained.module(torch.from_numpy(trained.schema.encode(frame))).double().numpy()
    labels, chosen = truth(frame), logits >= 0
    measured = found(report)
    gap = measured["fairness.demographic_parity_difference", ("place",)]
    assert len(gap.replicates) >= 10, "what a baseline on the same rows is compared with in pairs"
    auc = sklearn_metrics.roc_auc_score(labels, logits, average=None)
    assert auc.min() > 0.7
    assert [part.value for part in measured["performance.roc_auc", ("label",)].slices] == pytest.approx(auc)
    assert measured["performance.roc_auc", ()].value == pytest.approx(auc.mean())
    assert measured["performance.exact_match_rate", ()].value == sklearn_metrics.accuracy_score(labels, chosen)
    assert measured["data.base_rate", ("label",)].slices[1].value == labels[:, 1].mean()
    assert {part.group.text for part in measured["fairness.selection_rate", ("place", "label")].slices} == {
        f"{place} & {label}" for place in ("hill", "vale") for label in LABELS
    }
    assert ("fairness.demographic_parity_difference", ("place",)) in measured
    outcomes = {outcome.auditor: outcome for outcome in report.outcomes}
    assert all(outcomes[name].error is None for name in ONLY)
    assert outcomes["weak_spots"].reason is None


def test_the_report_is_chinese_throughout_where_it_is_asked_for(trained: Any) -> None:
    report = auditkit.audit(trained, weather(seed=1), training_data=weather(), threshold=0.4)
    page = render_html(report, "zh")
    assert "没有译文" not in page  # the note that counts texts without a translation
    assert "完全匹配率" in page


def test_every_auditor_runs_or_says_why_not(trained: Any) -> None:
    report = auditkit.audit(trained, weather(rows=300, seed=2), training_data=weather(rows=300))
    assert [outcome.auditor for outcome in report.outcomes if outcome.error] == []
    assert {o.auditor for o in report.outcomes if o.reason is None} == {
        "data", "performance", "weak_spots", "fairness", "proxies", "explainability", "robustness"
    }  # fmt: skip


def test_what_labels_rest_on_is_found_label_by_label(trained: Any) -> None:
    measured = found(auditkit.audit(trained, weather(seed=4), only=["explainability"]))
    by_label = {
        part.group.key: part.value for part in measured["explainability.attribution_share", ("column", "label")].slices
    }
    assert by_label["x", "rain"] == max(share for (_, label), share in by_label.items() if label == "rain")
    assert by_label["z", "rain"] < by_label["z", "snow"]
    assert measured["explainability.completeness_error", ()].value < 0.05


def test_noise_costs_exact_matches_and_turns_labels(trained: Any) -> None:
    measured = found(auditkit.audit(trained, weather(seed=4), only=["robustness"]))
    turned = measured["robustness.adversarial_flip_rate", ()].value
    lost = measured["robustness.out_of_range_accuracy_loss", ()].value
    assert 0 < turned < 1
    assert 0 < lost < measured["robustness.out_of_range_flip_rate", ()].value


def test_rows_with_a_wrong_label_are_searched_for_weak_spots() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.integers(0, 2, 2000) for name in ("rain", "snow", "a", "b")})
    frame["where"] = rng.choice(["hill", "vale", "coast"], 2000)
    frame["a"], frame["b"] = frame.rain, frame.snow
    off = (frame["where"] == "vale") & (rng.random(2000) < 0.5)
    frame.loc[off, "b"] = 1 - frame.loc[off, "b"]
    report = auditkit.audit(None, frame, prediction=("a", "b"), target=("rain", "snow"), only=["weak_spots"])
    (spot,) = found(report)["weak_spots.error_rate", ("slice",)].slices
    assert "vale" in spot.group.text
    assert spot.value == pytest.approx(0.5, abs=0.1)


def test_rows_without_one_of_the_labels_count_in_what_needs_none(trained: Any) -> None:
    frame = weather(rows=300)
    frame.loc[[3, 5], "snow"] = None
    report = auditkit.audit(trained, frame, only=["performance"])
    assert any(note.startswith("298 of 300 rows have a label in column rain, snow") for note in report.subject.notes)
    assert report.subject.dataset.audited_row_count == 300
    assert found(report)["performance.exact_match_rate", ()].count == 298


def test_a_threshold_decides_on_every_label_and_predictions_are_kept(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    weather(rows=400).to_csv(path, index=False)
    cache = Cache(folder=tmp_path / "kept", key=b"k" * 32)
    first, again = (auditkit.audit(trained, path, only=["fairness"], threshold=0.3, cache=cache) for _ in range(2))
    rates = [found(report)["fairness.selection_rate", ("place", "label")].slices for report in (first, again)]
    assert rates[0] == rates[1]
    assert any("predicted again and agree" in note for note in again.subject.notes)
    usual = found(auditkit.audit(trained, path, only=["fairness"]))["fairness.selection_rate", ("place", "label")]
    assert all(low.value > half.value for low, half in zip(rates[0], usual.slices, strict=True))


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_a_network_of_others_has_a_sigmoid_for_each_label(output: str) -> None:
    frame = weather(rows=400)[["x", "z", "rain", "snow"]]
    layers = [torch.nn.Linear(2, 2)] + ([torch.nn.Sigmoid()] if output == "probabilities" else [])
    module = torch.nn.Sequential(*layers)
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[2.0, 0.0], [1.0, -1.0]]))  # type: ignore[operator]  # torch types what a module holds as Tensor | Module
        module[0].bias.copy_(torch.tensor([0.0, -1.0]))  # type: ignore[operator]  # torch types what a module holds as Tensor | Module
    report = auditkit.audit(module, frame, target=("rain", "snow"), task="multilabel", only=["performance"])
    assert report.subject.schema_["output"] == output
    chosen = np.column_stack([2 * frame["x"] >= 0, frame["x"] - frame["z"] >= 1])
    expected = sklearn_metrics.hamming_loss(truth(frame), chosen)
    assert found(report)["performance.hamming_loss", ()].value == pytest.approx(expected)


def test_recorded_decisions_name_a_column_for_each_label() -> None:
    frame = weather(rows=400)
    frame["rain_said"], frame["snow_said"] = np.where(frame["x"] > 0, "yes", "no"), (frame["x"] > 1).astype(int)
    report = auditkit.audit(
        None, frame, prediction=("rain_said", "snow_said"), target=("rain", "snow"), sensitive=["place"], only=ONLY
    )
    chosen = np.column_stack([frame["x"] > 0, frame["x"] > 1])
    measured = found(report)
    expected = sklearn_metrics.f1_score(truth(frame), chosen, average="macro")
    assert measured["performance.f1_score", ()].value == pytest.approx(expected)
    assert ("performance.roc_auc", ()) not in measured
    columns = {
        part.group.text.partition(" & ")[0]
        for part in measured["data.single_column_roc_auc", ("column", "label")].slices
    }
    assert columns == {"x", "z", "place"}
    frame["rain_p"], frame["snow_p"] = 0.25, np.linspace(0, 1, 400)
    scored = auditkit.audit(None, frame, prediction=("rain_p", "snow_p"), target=("rain", "snow"), only=["performance"])
    assert found(scored)["performance.roc_auc", ("label",)].slices[0].value == 0.5


def test_a_column_that_gives_one_label_away_is_warned_of() -> None:
    frame = weather(rows=400)
    frame["said"], frame["gauge"] = frame["rain"], frame["rain"]
    frame["said_too"] = frame["snow"]
    report = auditkit.audit(None, frame, prediction=("said", "said_too"), target=("rain", "snow"), only=["data"])
    warned = [
        (finding.by, finding.group)
        for finding in report.findings
        if finding.measurement == "data.single_column_roc_auc" and finding.verdict == "warn"
    ]
    assert warned == [(("column", "label"), group("gauge", "rain", by=("column", "label")))]


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"target": ("rain", "hail")}, "'hail' is not a column"),
        ({"target": ("rain", "x")}, "column 'x' is boolean"),
        ({"target": ("rain", "rain")}, "two different label columns"),
        ({"target": "rain", "task": "multilabel"}, "at least two different label columns"),
        ({"target": ("rain", "snow"), "classes": ["a", "b"]}, "no classes but its label columns"),
        ({"target": ("rain", "snow"), "task": "binary"}, "task"),
        ({"target": ("rain", "snow"), "output": "score"}, "several labels|score"),
        ({"target": ("rain", "snow"), "top_k": 5}, "two classes"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], match: str) -> None:
    frame = weather(rows=100).drop(columns="place")
    with pytest.raises(InputError, match=match):
        auditkit.audit(torch.nn.Linear(2, 2), frame, only=["performance"], **settings)


def test_settings_and_columns_that_do_not_fit_a_model_are_refused(trained: Any) -> None:
    frame = weather(rows=100)
    with pytest.raises(InputError, match="which a multilabel task has not"):
        auditkit.audit(trained, frame, settings={"fairness": {"reference_group": ("place=hill",)}}, only=["fairness"])
    with pytest.raises(InputError, match="must name 2 label columns"):
        auditkit.audit(trained, frame, target="rain", only=["performance"])
    with pytest.raises(InputError, match="for each of the 2 labels"):
        auditkit.audit(None, frame, prediction="rain", target=("rain", "snow"), only=["performance"])
    with pytest.raises(ValueError, match="is its label columns"):
        Schema.model_validate({**trained.schema.model_dump(), "target": "rain"})


def test_several_labels_are_learnt_with_differential_privacy(tmp_path: Path) -> None:
    model, record = train(
        data_from_frame(weather(rows=600)), target=("rain", "snow"), out=tmp_path / "m.pt", epochs=3, epsilon=8.0,
        drop=["place"], architecture_args={"hidden": [8]},
    )  # fmt: skip
    assert record["epsilon"] <= 8.0
    measured = found(auditkit.audit(model, weather(seed=3), only=["performance"]))
    assert measured["performance.roc_auc", ()].value > 0.6


def test_a_label_column_may_have_a_comma_in_its_name(tmp_path: Path) -> None:
    frame = weather(rows=300).rename(columns={"rain": "rain,snow"})
    frame["said"], frame["snow_said"] = (frame["x"] > 0).astype(int), (frame["x"] > 1).astype(int)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    command = ["run", "--dataset", str(tmp_path / "rows.csv"), "--sensitive", "place", "--quiet", "--to", "html"]
    one = [*command, "--target", "rain,snow", "--prediction", "said", "--out", str(tmp_path / "one")]
    several = [*command, "--target", "rain,snow", "--target", "snow", "--prediction", "said"]
    assert call(one) in (0, 1)
    assert call([*several, "--prediction", "snow_said", "--out", str(tmp_path / "several")]) in (0, 1)
    alone, both = (read_report(tmp_path / name) for name in ("one", "several"))
    assert (alone.subject.schema_["target"], alone.subject.schema_["task"]) == ("rain,snow", "binary")
    assert (both.subject.schema_["target"], both.subject.schema_["task"]) == (["rain,snow", "snow"], "multilabel")
    assert {part.group.key for part in found(both)["performance.accuracy", ("label",)].slices} == {
        ("rain,snow",),
        ("snow",),
    }
    assert call(["gate", str(tmp_path / "several"), "--baseline", str(tmp_path / "several")]) in (0, 1)
    again, departed = replay(both, model=None, dataset=tmp_path / "rows.csv")
    assert (again.subject.schema_["target"], departed) == (["rain,snow", "snow"], [])


def test_labels_that_the_first_version_joined_are_read(trained: Any) -> None:
    joined = {**trained.schema.model_dump(mode="json"), "target": "rain,snow"}
    assert Schema.model_validate(joined) == trained.schema
    document = {"subject": {"schema": joined}, "schema_version": 1}
    assert from_version_1(document, "old")["subject"]["schema"]["target"] == ["rain", "snow"]
