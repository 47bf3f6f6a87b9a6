"""Whole audits of a text and an image model with a planted truth: the report must say what it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import images, reviews

from auditkit import Report, audit
from auditkit.render.html import render_html
from auditkit.subject.data import data_from_frame
from auditkit.training.train import train


@pytest.fixture(scope="module")
def text_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("text")
    data, model = data_from_frame(reviews(400)), folder / "words.pt"
    train(data, target="label", sensitive=["source"], text="text", architecture="transformer", out=model, device="cpu")
    return audit(
        model,
        reviews(200, seed=1),
        training_data=reviews(160),
        only=["performance", "fairness", "explainability", "privacy"],
        settings={"privacy": {"epsilon": (20.0,)}},
        device="cpu",
    )


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("image") / "corner.pt"
    train(data_from_frame(images(300)), target="label", sensitive=["camera"], out=model, epochs=8, device="cpu")
    return model


def outcome(report: Report, name: str):
    return next(outcome for outcome in report.outcomes if outcome.auditor == name)


def test_every_auditor_copes_with_texts(text_report: Report):
    ran = {outcome.auditor: outcome for outcome in text_report.outcomes}
    assert not [outcome.error for outcome in text_report.outcomes if outcome.error]
    for name in ("performance", "fairness", "explainability", "privacy"):
        assert ran[name].measurements, (name, ran[name].reason)


def test_the_planted_word_is_found(text_report: Report):
    words = text_report.measurement("explainability.word_attribution", ("word",))
    shares = text_report.measurement("explainability.word_attribution_share", ("word",))
    assert words is not None
    assert shares is not None
    assert words.slices[0].name == shares.slices[0].name == "splendid"
    assert words.slices[0].interval is not None
    assert words.slices[0].interval.low > 1
    assert all(part.count >= 10 for part in words.slices)
    assert (shares.slices[0].value or 0) > 2 * (shares.slices[1].value or 0)  # half of the texts do without it
    failed = text_report.measurement("explainability.failed_trust_checks")
    assert failed is not None
    assert failed.value == 0
    unknown = text_report.measurement("explainability.unknown_word_rate")
    assert unknown is not None
    assert unknown.value == 0


def test_no_text_of_the_data_is_in_the_report_by_default(text_report: Report):
    texts = reviews(200, seed=1)["text"]
    long = [text for text in texts if len(text) > 25]
    assert not any(text in text_report.to_json() for text in long)
    assert "No row of the data is in either" in render_html(text_report)


def test_the_planted_corner_is_found(image_model: Path):
    report = audit(image_model, images(120, seed=1), only=["explainability", "performance"], device="cpu")
    regions = report.measurement("explainability.region_attribution_share", ("region",))
    assert regions is not None
    assert sum(part.value or 0 for part in regions.slices) == pytest.approx(1)
    best = max(regions.slices, key=lambda part: part.value or 0)
    assert best.name == "top left"
    assert (best.value or 0) > 0.5
    maps = [exhibit for exhibit in outcome(report, "explainability").exhibits if exhibit.kind == "heat_maps"]
    assert [panel.name for panel in maps[0].panels] == ["predicted no", "predicted yes"]
    heat = maps[0].panels[1].heat
    corner = [heat.bytes[row * heat.width + column] for row in range(3) for column in range(3)]
    assert max(heat.bytes) in corner
    page = render_html(report)
    assert page.count('<img src="data:image/png;base64,') == 4
    assert len(page.encode()) < 1_000_000


def test_single_rows_are_shown_only_when_asked_for(image_model: Path):
    frame = images(60, seed=2)
    settings = {"explainability": {"show_rows": True}}
    shown = audit(image_model, frame, only=["explainability"], settings=settings, device="cpu")
    maps = [exhibit for exhibit in outcome(shown, "explainability").exhibits if exhibit.kind == "heat_maps"]
    assert len(maps) == 2
    assert "prototype of yes" in [panel.name for panel in maps[1].panels]
    page = render_html(shown)
    assert "Single rows of the data are in both, as --show-rows asked." in page
