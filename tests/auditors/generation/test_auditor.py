"""Generators whose truth is planted: unseen real rows, copies, and a generator that forgot two classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from generators import Stored, digits, frame_of, schema_of

from auditkit import Report, audit, gate
from auditkit.auditors.generation import material
from auditkit.auditors.generation.features import FeatureSpace, learnt_space
from auditkit.cli import call
from auditkit.evidence.policy import parse_policy


def report_of(generator: Stored, training: np.ndarray, classes: np.ndarray, unseen: pd.DataFrame) -> Report:
    frame = frame_of(training, classes)
    return audit(
        generator,
        unseen,
        schema=schema_of(frame),
        training_data=frame,
        only=["generation", "memorisation", "performance"],
        settings={"generation": {"rows": 500}, "memorisation": {"samples": 400}},
    )


@pytest.fixture(scope="module")
def parts() -> dict[str, np.ndarray]:
    images, classes = digits()
    return {
        "training": images[:600],
        "training_classes": classes[:600],
        "unseen": images[600:1100],
        "unseen_classes": classes[600:1100],
        "fresh": images[1100:],
        "fresh_classes": classes[1100:],
    }


@pytest.fixture(scope="module")
def reports(parts: dict[str, np.ndarray]) -> dict[str, Report]:
    unseen = frame_of(parts["unseen"], parts["unseen_classes"])
    kept = ~np.isin(parts["fresh_classes"], ["1", "8"])
    generators = {
        "real": Stored(parts["fresh"]),
        "copies": Stored(parts["training"], noise=0.01),
        "forgetful": Stored(parts["fresh"][kept]),
        "some copies": Stored(parts["fresh"], copies=parts["training"], share=0.3),
    }
    training, classes = parts["training"], parts["training_classes"]
    return {name: report_of(made, training, classes, unseen) for name, made in generators.items()}


@pytest.fixture(scope="module", autouse=True)
def learnt_once() -> Iterator[None]:
    """Train the classifier of the same rows and seed once: it gives the same weights each time."""
    known: dict[bytes, FeatureSpace] = {}

    def learnt(rows: np.ndarray, labels: np.ndarray, *, seed: int, device: torch.device) -> FeatureSpace:
        key = rows.tobytes() + bytes(seed)
        if key not in known:
            known[key] = learnt_space(rows, labels, seed=seed, device=device)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(material, "learnt_space", learnt)
        yield


def value(report: Report, id: str) -> float:
    found = report.measurement(id)
    assert found is not None
    assert found.value is not None
    return found.value


def test_unseen_real_rows_reach_the_ceiling_and_are_no_copies(reports: dict[str, Report]) -> None:
    report = reports["real"]
    for quality in ("precision", "recall", "coverage"):
        short = report.measurement(f"generation.{quality}_shortfall")
        assert short is not None
        assert short.interval is not None
        assert short.interval.low < 0.05
        assert abs(value(report, f"generation.{quality}_shortfall")) < 0.06
    excess = report.measurement("memorisation.near_copy_excess")
    assert excess is not None
    assert excess.interval is not None
    assert excess.interval.low <= 0.0 <= excess.interval.high
    assert value(report, "memorisation.exact_copy_share") == 0.0


def test_copies_reach_every_quality_and_are_found(reports: dict[str, Report]) -> None:
    report = reports["copies"]
    assert value(report, "generation.precision_shortfall") < 0.05
    assert value(report, "generation.coverage_shortfall") < 0.05
    excess = report.measurement("memorisation.near_copy_excess")
    assert excess is not None
    assert excess.interval is not None
    assert excess.interval.low > 0.8
    assert value(report, "memorisation.authenticity_shortfall") > 0.4


def test_a_share_of_copies_lies_in_its_interval(reports: dict[str, Report]) -> None:
    exact = reports["some copies"].measurement("memorisation.exact_copy_share")
    assert exact is not None
    assert exact.interval is not None
    assert exact.interval.low <= 0.3 <= exact.interval.high


def test_forgotten_classes_are_found_by_name(reports: dict[str, Report]) -> None:
    report = reports["forgetful"]
    short = report.measurement("generation.coverage_shortfall", ("class",))
    shares = report.measurement("generation.class_share_difference", ("class",))
    assert short is not None
    assert shares is not None
    lost = {part.group.key[0] for part in short.slices if part.value is not None and part.value > 0.4}
    assert lost == {"1", "8"}
    missing = {part.group.key[0] for part in shares.slices if part.interval is not None and part.interval.high < -0.02}
    assert missing == {"1", "8"}


def test_a_generator_that_forgot_two_classes_fails_for_these(reports: dict[str, Report]) -> None:
    report = reports["forgetful"]
    assert report.verdict == "fail"
    failed = {(one.measurement, one.group.key) for one in report.findings if one.group and one.verdict == "fail"}
    assert failed >= {("generation.class_share_ratio", ("1",)), ("generation.class_share_ratio", ("8",))}
    assert {key for _, key in failed} == {("1",), ("8",)}
    recall = report["generation.recall", "class"]
    assert {part.group.key for part in recall.slices if part.value is not None and part.value < 0.7} <= {("1",), ("8",)}
    diversity = reports["real"]["generation.class_diversity_ratio", "class"]
    assert all(part.value is not None and 0.8 < part.value < 1.25 for part in diversity.slices)


def test_membership_is_at_chance_for_a_generator_that_never_saw_the_rows(reports: dict[str, Report]) -> None:
    for name in ("membership_roc_auc", "blind_roc_auc"):
        area = reports["real"][f"memorisation.{name}"].interval
        assert area is not None
        assert area.low < 0.5 < area.high
    rare = reports["real"]["memorisation.membership_true_positive_rate_at_0_1_percent"]
    assert rare.value is None
    assert rare.definition.startswith("share of training rows")
    told = reports["copies"]["memorisation.membership_roc_auc"].interval
    assert told is not None
    assert told.low > 0.6  # 400 samples are copies of about half of the 600 rows


def test_whatever_the_policy_quality_does_not_pass_beside_copies(reports: dict[str, Report]) -> None:
    alone = """[[limit]]
    measurement = "generation.precision"
    at_least = 0.5
    rationale = "The samples are good."
    """
    found = gate(reports["copies"], parse_policy(alone, source="own.toml")).findings
    assert [one.verdict for one in found] == ["inconclusive"]
    assert "was not judged" in found[0].message
    beside = (
        alone
        + """[[limit]]
    measurement = "memorisation.near_copy_excess"
    at_most = 0.02
    rationale = "No copies."
    """
    )
    policy = parse_policy(beside, source="own.toml")
    judged = gate(reports["copies"], policy)
    assert judged.verdict == "fail"
    assert {one.measurement: (one.verdict, one.held_by) for one in judged.findings} == {
        "memorisation.near_copy_excess": ("fail", None),
        "generation.precision": ("inconclusive", "memorisation.near_copy_excess"),
    }
    assert {one.verdict for one in gate(reports["real"], policy).findings} == {"pass"}


def test_auditors_of_predictions_say_why_they_do_not_run(reports: dict[str, Report]) -> None:
    outcome = next(one for one in reports["real"].outcomes if one.auditor == "performance")
    assert outcome.error is None
    assert outcome.reason is not None
    assert "generates rows" in outcome.reason


def test_the_same_seed_gives_the_same_numbers(
    reports: dict[str, Report], parts: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(material, "learnt_space", learnt_space)
    unseen = frame_of(parts["unseen"], parts["unseen_classes"])
    again = report_of(Stored(parts["fresh"]), parts["training"], parts["training_classes"], unseen)
    for one, other in zip(reports["real"].outcomes, again.outcomes, strict=True):
        assert one.measurements == other.measurements


def test_quality_does_not_pass_beside_copies_or_without_a_look_for_them(
    reports: dict[str, Report], parts: dict[str, np.ndarray]
) -> None:
    assert reports["real"].verdict == "pass"
    copied = {finding.measurement: finding for finding in reports["copies"].findings}
    assert reports["copies"].verdict == "fail"
    assert copied["generation.precision_shortfall"].verdict == "inconclusive"
    assert "does not count" in copied["generation.precision_shortfall"].message
    alone = audit(
        Stored(parts["fresh"]),
        frame_of(parts["unseen"], parts["unseen_classes"]),
        schema=schema_of(frame_of(parts["training"], parts["training_classes"])),
        only=["generation"],
        settings={"generation": {"rows": 200}},
    )
    quality = {one.verdict for one in alone.findings if one.measurement.startswith("generation.")}
    assert "inconclusive" in quality
    assert quality <= {"inconclusive", "fail", "not_run"}  # too few rows of some class
    assert alone.verdict == "error"  # limits on memorisation that nothing measured


@pytest.mark.parametrize("target", ["digit", None])
def test_a_generator_is_audited_by_every_auditor_or_told_why_not(
    parts: dict[str, np.ndarray], target: str | None
) -> None:
    frame = frame_of(parts["training"][:200], parts["training_classes"][:200])
    schema = schema_of(frame)
    if target is None:
        frame = frame.drop(columns=[schema.target])
        schema = schema.model_copy(update={"target": None, "classes": ()})
    report = audit(Stored(parts["fresh"]), frame, schema=schema, skip=["generation", "memorisation"])
    assert [outcome.error for outcome in report.outcomes if outcome.error] == []
    assert report.measurement("data.row_count") is not None


def test_the_frontier_sets_quality_by_class_and_copies_beside_each_budget(tmp_path: Path) -> None:
    images, classes = digits()
    pixels = (images * 255).astype(np.uint8)
    training, unseen = frame_of(pixels[:300], classes[:300]), frame_of(pixels[300:500], classes[300:500])
    np.savez(tmp_path / "train.npz", features=pixels[:300], digit=classes[:300])
    command = ["train", "--dataset", str(tmp_path / "train.npz"), "--target", "digit", "--architecture", "vae"]
    small = ["--architecture-args", '{"channels": 4, "latent_width": 4}', "--epochs", "3", "--quiet"]
    assert call([*command, "--out", str(tmp_path / "vae.pt"), *small]) == 0
    report = audit(
        tmp_path / "vae.pt",
        unseen,
        training_data=training,
        only=["generation"],
        settings={"generation": {"rows": 200, "epsilon": (8.0,)}},
    )
    (outcome,) = (outcome for outcome in report.outcomes if outcome.auditor == "generation")
    assert (outcome.error, outcome.reason) == (None, None)
    spent = report["generation.private_epsilon", "retraining"].slices
    assert [part.group.key for part in spent] == [("epsilon 8",)]
    assert 0 < (spent[0].value or 0) <= 8
    for name in ("precision", "recall", "coverage", "near_copy_excess"):
        beside = report[f"generation.private_{name}", "retraining"].slices
        assert [part.group.key for part in beside] == [("original",), ("epsilon 8",)]
    same = report["generation.private_coverage", "retraining"].slices[0].value
    assert same == report["generation.coverage"].value
    by_class = report["generation.private_coverage", "retraining", "class"]
    assert len({part.group.key[1] for part in by_class.slices}) == 10
    titles = [str(exhibit.title) for exhibit in outcome.exhibits]
    assert "Quality and copies at each privacy budget" in titles
    assert "What latent values do" in titles
