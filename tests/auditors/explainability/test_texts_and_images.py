"""Whole audits of a text and an image model with a planted truth: the report must say what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from planted import backdoored, images, reviews

from auditkit import Report, audit
from auditkit.data.dataset import data_from_frame
from auditkit.engine import work
from auditkit.engine.plan import Plan
from auditkit.engine.work import EXPLANATION
from auditkit.errors import InputError
from auditkit.render.html.report import render_html
from auditkit.training.train import train


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("text") / "words.pt"
    columns: dict[str, Any] = {"target": "label", "sensitive": ["source"], "text": "text"}
    small = {"width": 16, "heads": 2}
    data = data_from_frame(reviews(400))
    train(data, **columns, architecture="transformer", architecture_args=small, out=model, device="cpu")
    return model


@pytest.fixture(scope="module")
def text_report(text_model: Path) -> Report:
    return audit(
        text_model,
        reviews(100, seed=1),
        training_data=reviews(160),
        only=["performance", "fairness", "explainability", "privacy"],
        settings={"privacy": {"epsilon": (8.0,)}, "explainability": {"rows": 20}},
        device="cpu",
    )


@pytest.fixture(scope="module")
def image_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tmp_path_factory.mktemp("image") / "corner.pt"
    small: dict[str, Any] = {"architecture_args": {"channels": [8, 8], "hidden": 16}}
    train(
        data_from_frame(images(300)), target="label", sensitive=["camera"], **small, out=model, epochs=8, device="cpu"
    )
    return model


def outcome(report: Report, name: str) -> Any:
    return next(outcome for outcome in report.outcomes if outcome.auditor == name)


def test_every_auditor_copes_with_texts(text_report: Report) -> None:
    ran = {outcome.auditor: outcome for outcome in text_report.outcomes}
    assert not [outcome.error for outcome in text_report.outcomes if outcome.error]
    for name in ("performance", "fairness", "explainability", "privacy"):
        assert ran[name].measurements, (name, ran[name].reason)


def test_the_planted_word_is_found(text_report: Report) -> None:
    words = text_report.measurement("explainability.word_attribution", ("word",))
    shares = text_report.measurement("explainability.word_attribution_share", ("word",))
    assert words is not None
    assert shares is not None
    assert words.slices[0].group.text == shares.slices[0].group.text == "splendid"
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


def test_the_planted_word_is_said_in_a_sentence(text_report: Report) -> None:
    chart = next(exhibit for exhibit in outcome(text_report, "explainability").exhibits if "Share" in exhibit.title)
    assert "The word that weighs most is 'splendid': " in chart.note
    assert "Not trustworthy" not in chart.note


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("occlusion", "The word that weighs most is 'splendid': "),
        ("attention", "It is no explanation, and no trust check is made"),
    ],
)
def test_other_methods_find_the_planted_word(text_model: Path, method: str, said: str) -> None:
    settings = {"explainability": {"method": method, "rows": 100}}
    report = audit(text_model, reviews(100, seed=3), only=["explainability"], settings=settings, device="cpu")
    charts = [exhibit for exhibit in outcome(report, "explainability").exhibits if exhibit.kind == "slices"]
    assert any(said in chart.note for chart in charts)
    share = "word_attention_share" if method == "attention" else "word_attribution_share"
    found = report.measurement(f"explainability.{share}", ("word",))
    assert found is not None
    assert found.slices[0].group.text == "splendid"
    assert (report.measurement("explainability.failed_trust_checks") is None) == (method == "attention")


def test_a_method_for_another_kind_of_input_is_a_usage_error(text_model: Path) -> None:
    settings = {"explainability": {"method": "deep_lift"}}
    with pytest.raises(InputError, match="method deep_lift is not for a text; choose one of layer_integrated"):
        audit(text_model, reviews(50), only=["explainability"], settings=settings, device="cpu")


@pytest.mark.parametrize("passes", [10, 1000, 10_000])
def test_the_plan_names_what_the_budget_does_not_pay_for(
    text_model: Path, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []
    names = ["explainability", "robustness"]

    def audited(unit: float) -> Report:
        monkeypatch.setitem(work.UNIT, "standard", unit)
        settings, rows = {name: {"rows": 12} for name in names}, reviews(40, seed=1)
        return audit(text_model, rows, only=names, settings=settings, device="cpu", announce=plans.append)

    audited(1)
    report = audited(passes * plans[0].operations / EXPLANATION)
    not_run = {one.auditor: str(one.reason) for one in report.outcomes if one.auditor in names and one.reason}
    assert dict(plans[1].idle) == not_run
    assert sorted(not_run) == {10: names, 1000: ["explainability"], 10_000: []}[passes]
    if passes == 1000:
        assert "would go through the model about" in not_run["explainability"]


def test_no_text_of_the_data_is_in_the_report_by_default(text_report: Report) -> None:
    texts = reviews(200, seed=1)["text"]
    long = [text for text in texts if len(text) > 25]
    assert not any(text in text_report.to_json() for text in long)
    assert "contains no individual records" in render_html(text_report)


def test_the_planted_corner_is_found(image_model: Path) -> None:
    report = audit(image_model, images(120, seed=1), only=["explainability", "performance"], device="cpu")
    regions = report.measurement("explainability.region_attribution_share", ("region",))
    assert regions is not None
    assert sum(part.value or 0 for part in regions.slices) == pytest.approx(1)
    best = max(regions.slices, key=lambda part: part.value or 0)
    assert best.group.text == "top left"
    assert (best.value or 0) > 0.5
    maps = [exhibit for exhibit in outcome(report, "explainability").exhibits if exhibit.kind == "heat_maps"]
    assert [panel.name for panel in maps[0].panels] == ["predicted no", "predicted yes"]
    heat = maps[0].panels[1].heat
    corner = [heat.bytes[row * heat.width + column] for row in range(3) for column in range(3)]
    assert max(heat.bytes) in corner
    page = render_html(report)
    assert page.count('<img src="data:image/png;base64,') == 4
    assert len(page.encode()) < 1_000_000


@pytest.mark.parametrize("method", ["occlusion", "saliency", "grad_cam"])
def test_other_methods_find_the_planted_corner_or_are_stamped(image_model: Path, method: str) -> None:
    settings = {"explainability": {"method": method, "rows": 60}}
    report = audit(image_model, images(60, seed=1), only=["explainability"], settings=settings, device="cpu")
    regions = report.measurement("explainability.region_attribution_share", ("region",))
    assert regions is not None
    chart = next(exhibit for exhibit in outcome(report, "explainability").exhibits if exhibit.kind == "slices")
    if method == "grad_cam":  # it averages slopes over the whole image, and is known to miss what one corner does
        assert chart.note.startswith("Not trustworthy: fails infidelity")
    else:
        assert max(regions.slices, key=lambda part: part.value or 0).group.text == "top left"


def test_a_backdoor_is_said_in_a_sentence(tmp_path: Path) -> None:
    model = tmp_path / "backdoor.pt"
    train(data_from_frame(backdoored(500)), target="label", out=model, epochs=15, device="cpu")
    report = audit(model, backdoored(150, seed=1), only=["explainability"], device="cpu")
    chart = next(exhibit for exhibit in outcome(report, "explainability").exhibits if exhibit.kind == "slices")
    assert "The model looks most at the bottom right: " in chart.note
    regions = report.measurement("explainability.region_attribution_share", ("region",))
    assert regions is not None
    assert sorted(regions.slices, key=lambda part: part.value or 0)[-2].group.text == "centre"


def test_single_rows_are_shown_only_when_asked_for(image_model: Path) -> None:
    frame = images(60, seed=2)
    settings = {"explainability": {"show_rows": True}}
    shown = audit(image_model, frame, only=["explainability"], settings=settings, device="cpu")
    maps = [exhibit for exhibit in outcome(shown, "explainability").exhibits if exhibit.kind == "heat_maps"]
    assert len(maps) == 2
    assert "prototype of yes" in [panel.name for panel in maps[1].panels]
    page = render_html(shown)
    assert "Both contain single records of the data, because --show-rows asked for them." in page
