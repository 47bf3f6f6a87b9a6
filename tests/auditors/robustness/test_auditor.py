"""Whole audits of robustness: known truths, every kind of model, answers that are not finite, limits, baselines."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from loans import Loans
from planted import images, reviews
from scipy import stats

from auditkit import Report, audit
from auditkit.auditors.robustness.auditor import Robustness
from auditkit.data.dataset import data_from_frame
from auditkit.errors import InputError
from auditkit.evidence.gate import judge_report
from auditkit.evidence.measurement import Curve, Measurement
from auditkit.evidence.policy import parse_policy
from auditkit.render.html.report import render_html
from auditkit.schema.infer import numeric_schema
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature
from auditkit.training.train import train

ONLY = ["robustness"]


def outcome(report: Report) -> Any:
    return next(outcome for outcome in report.outcomes if outcome.auditor == "robustness")


def value(report: Report, name: str, by: tuple[str, ...] = ()) -> Measurement:
    found = report.measurement(f"robustness.{name}", by)
    assert found is not None, name
    return found


class Linear(torch.nn.Module):
    """Says yes where 2 a - b > 0, with one output; `limit` turns larger inputs into NaN."""

    def __init__(self, limit: float = np.inf) -> None:
        super().__init__()
        self.limit = limit
        self.weight = torch.nn.Parameter(torch.tensor([2.0, -1.0]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs = inputs @ self.weight
        return torch.where(inputs.abs().amax(dim=1) > self.limit, torch.nan, outputs)[:, None]


def plane(count: int, *, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(0, 1, count), "b": rng.normal(0, 2, count)})
    frame["y"] = np.where(2 * frame["a"] - frame["b"] > 0, "yes", "no")
    frame["side"] = np.where(rng.random(count) < 0.3, "left", "right")
    return frame


SCHEMA = numeric_schema(["a", "b"], target="y", classes=["no", "yes"], sensitive=["side"])


def test_a_linear_model_has_the_flip_rates_of_the_closed_forms() -> None:
    frame = plane(4000)
    report = audit(Linear(), frame, schema=SCHEMA, only=ONLY, settings={"robustness": {"rows": 4000}}, device="cpu")
    scores = 2 * frame["a"].to_numpy() - frame["b"].to_numpy()
    spread = np.array([2 * frame["a"].std(ddof=0), frame["b"].std(ddof=0)])
    expected = {
        "numeric_noise": stats.norm.cdf(-np.abs(scores) / (0.1 * np.linalg.norm(spread))).mean(),
        "adversarial": (np.abs(scores) < 0.1 * spread.sum()).mean(),
    }
    for name, rate in expected.items():
        flips, lost = value(report, f"{name}_flip_rate"), value(report, f"{name}_accuracy_loss")
        assert flips.interval is not None
        assert flips.interval.low <= rate <= flips.interval.high
        assert lost.value == flips.value, "the model is right on every row as it is, so each flip is a loss"
    assert value(report, "adversarial_flip_rate").value == pytest.approx(expected["adversarial"], abs=1e-3)
    assert value(report, "no_answer_rate").value == 0


def test_every_number_has_a_count_an_interval_and_is_declared(loans: Loans) -> None:
    report = audit(loans.model, loans.test, only=ONLY, device="cpu")
    found = outcome(report)
    assert found.error is None
    for measurement in found.measurements:
        assert measurement.id in Robustness.measures
        assert measurement.count == 1000 or measurement.by
        assert measurement.by or measurement.interval is not None
        if measurement.by == ("group",):
            assert [part.group.text for part in measurement.slices] == ["north", "south"]
            assert sum(part.count for part in measurement.slices) == 1000
    curves = [exhibit for exhibit in found.exhibits if isinstance(exhibit, Curve)]
    assert len(curves) == 7
    for curve in curves[:-1]:
        assert [line.name for line in curve.lines] == ["all rows", "worst group"]
        for line in curve.lines:
            assert (line.x[0], line.y[0]) == (0.0, 0.0)
            assert line.low is not None
            assert line.high is not None
            assert all(low <= at <= high for low, at, high in zip(line.low, line.y, line.high, strict=True))
    page = render_html(report)
    assert "Attack along the gradient" in page
    assert "Effect of corrupted inputs" in page


def test_a_curve_passes_through_the_stated_number(loans: Loans) -> None:
    report = audit(loans.model, loans.test, only=ONLY, device="cpu")
    curve = next(exhibit for exhibit in outcome(report).exhibits if exhibit.title == "Missing values")
    assert isinstance(curve, Curve)
    at = curve.lines[0].x.index(0.1)
    assert curve.lines[0].y[at] == value(report, "missing_values_accuracy_loss").value


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(loans: Loans) -> None:
    first, again, other = (
        audit(loans.model, loans.test, only=ONLY, seed=seed, settings={"robustness": {"rows": 300}}, device="cpu")
        for seed in (0, 0, 1)
    )
    assert outcome(first).measurements == outcome(again).measurements
    assert outcome(first).exhibits == outcome(again).exhibits
    assert outcome(first).measurements != outcome(other).measurements
    assert "A random sample of 300 of 1,000 records was corrupted (seed 0)." in outcome(first).notes


def test_answers_that_are_not_finite_count_as_changed_and_as_wrong() -> None:
    report = audit(Linear(limit=9.0), plane(600), schema=SCHEMA, only=ONLY, device="cpu")
    found = outcome(report)
    assert found.error is None
    slipped = value(report, "unit_slip_flip_rate")
    beyond = value(report, "no_answer_rate")
    assert beyond.value is not None
    assert slipped.value is not None
    assert 0.3 < beyond.value < 1
    assert slipped.value > beyond.value * 0.8
    assert any("Unit errors, strength 3: to 59" in note and "no finite answer" in note for note in found.notes)
    assert any(note.startswith("Out-of-distribution inputs, numbers far off: 200 of 200") for note in found.notes)


def test_a_model_that_gives_scores_has_no_confidence() -> None:
    schema = Schema.model_validate({**SCHEMA.model_dump(), "output": "score", "threshold": 0.0})
    report = audit(Linear(), plane(300), schema=schema, only=ONLY, device="cpu")
    assert outcome(report).error is None
    assert value(report, "adversarial_flip_rate").value is not None
    assert report.measurement("robustness.odd_input_confidence", ("input",)) is None
    assert any("confidence in out-of-distribution inputs is left out" in note for note in outcome(report).notes)


class Rounded(Linear):
    """The same with outputs that have no gradient."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs).detach()


def test_without_gradients_only_the_attack_is_left_out() -> None:
    report = audit(Rounded(), plane(300), schema=SCHEMA, only=ONLY, device="cpu")
    attacked = value(report, "adversarial_flip_rate")
    assert attacked.value is None
    assert attacked.reason == "the model's output has no gradient with respect to its inputs"
    assert value(report, "numeric_noise_flip_rate").value is not None


def test_a_program_is_attacked_through_its_graph(tmp_path: Path) -> None:
    program = tmp_path / "linear.pt2"
    rows = {"inputs": {0: torch.export.Dim("rows")}}
    torch.export.save(torch.export.export(Linear().eval(), (torch.zeros(3, 2),), dynamic_shapes=rows), program)
    sha256 = "sha256:" + hashlib.sha256(program.read_bytes()).hexdigest()
    report = audit(program, plane(300), schema=SCHEMA, trust_model=sha256, only=ONLY, device="cpu")
    direct = audit(Linear(), plane(300), schema=SCHEMA, only=ONLY, device="cpu")
    assert value(report, "adversarial_flip_rate").value == value(direct, "adversarial_flip_rate").value


def test_a_regression_loses_in_its_own_unit() -> None:
    frame = plane(800)
    frame["y"] = 2 * frame["a"] - frame["b"]
    schema = Schema(
        features=tuple(Feature(name=name, kind="numeric") for name in ("a", "b")),
        target="y",
        task="regression",
        classes=(),
        output="value",
        sensitive=("side",),
    )
    report = audit(Linear(), frame, schema=schema, only=ONLY, device="cpu")
    assert outcome(report).error is None
    # The model is exact, so that the error added is the mean size of the noise it lets through.
    spread = np.hypot(2 * frame["a"].std(ddof=0), frame["b"].std(ddof=0))
    added = value(report, "numeric_noise_error_increase")
    assert added.interval is not None
    assert added.interval.low <= 0.1 * spread * np.sqrt(2 / np.pi) <= added.interval.high
    assert report.measurement("robustness.numeric_noise_flip_rate") is None
    assert value(report, "adversarial_flip_rate").value is None
    assert "Error added" in render_html(report)


def test_images_and_texts_are_corrupted_as_what_they_are(tmp_path: Path) -> None:
    corner, word = tmp_path / "corner.pt", tmp_path / "word.pt"
    train(data_from_frame(images(300)), target="label", sensitive=["camera"], out=corner, epochs=8, device="cpu")
    report = audit(corner, images(200, seed=1), only=ONLY, device="cpu")
    assert outcome(report).error is None
    assert value(report, "occlusion_accuracy_loss").count == 200
    assert value(report, "adversarial_flip_rate").value is not None
    assert {part.group.text for part in value(report, "odd_input_confidence", ("input",)).slices} >= {"random pixels"}
    train(data_from_frame(reviews(300)), target="label", text="text", out=word, device="cpu")
    report = audit(word, reviews(200, seed=1), only=ONLY, device="cpu")
    assert outcome(report).error is None
    lost = value(report, "dropped_words_accuracy_loss")
    assert lost.value is not None
    assert 0 < lost.value < 0.15, "the one word that decides is left out of a tenth of the texts that hold it"
    assert value(report, "capitals_flip_rate").value == 0
    reason = value(report, "adversarial_flip_rate").reason
    assert reason is not None
    assert reason.startswith("words are not numbers")


def test_limits_and_regressions_judge_it(loans: Loans) -> None:
    report = audit(loans.model, loans.test, only=ONLY, device="cpu")
    policy = parse_policy(
        """
        name = "robust"
        [[limit]]
        measurement = "robustness.missing_values_accuracy_loss"
        at_most = 0.5
        rationale = "r"
        [[limit]]
        measurement = "robustness.missing_values_accuracy_loss"
        by = ["group"]
        at_most = 0.5
        rationale = "r"
        [[limit]]
        measurement = "robustness.unit_slip_flip_rate"
        regression_at_most = 0.001
        rationale = "r"
        """,
        source="robust.toml",
    )
    judged = judge_report(report, policy, baseline=None, waivers=(), strict=False)
    assert [finding.verdict for finding in judged.findings if finding.limit.at_most] == ["pass", "pass", "pass"]


def test_nothing_is_measured_without_a_model(loans: Loans, tmp_path: Path) -> None:
    frame = pd.read_csv(loans.test).assign(decided="yes")
    report = audit(None, frame, prediction="decided", target="approved", only=ONLY)
    assert outcome(report).reason is not None
    assert "no model" in outcome(report).reason


def test_a_sample_of_one_row_is_refused() -> None:
    with pytest.raises(InputError, match="rows must be at least 2"):
        Robustness(rows=1)
    texts = {"prefixes": ("Here is a text:",), "synonyms": {}, "answers": ()}
    assert dataclasses.asdict(Robustness()) == {"rows": 2000, **texts}
