"""Continuations of prompts about two groups, counted by a classifier whose errors are known or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from encoders import sequence_classifier
from languages import ADJECTIVES, NOUNS, VERBS, bert, fit, gpt2

from auditkit import InputError, Report, audit
from auditkit.auditors.bias.auditor import Bias
from auditkit.auditors.bias.continuations import Counted, measured_continuations
from auditkit.cli import call
from auditkit.evidence.report import Outcome
from auditkit.stats.misclassification import ClassifierErrors

SUBJECT: Any = None
"""The files are checked whatever is audited."""

WORDS = ["the", "a", ".", *NOUNS, *ADJECTIVES, *VERBS]


def learnt() -> list[str]:
    """Return the texts that the model learns: films are good, books are bad."""
    said = [f"{begin}the {kind} {verb} {end}." for kind, end in (("film", "good"), ("book", "bad"))
            for verb in VERBS for begin in ("", "a plot and ")]  # fmt: skip
    return said * 8


def prompts(folder: Path, **columns: Any) -> Path:
    rows = [
        {"prompt": f"{begin}the {kind} {verb}", "group": kind, "template": f"{begin}{verb}"}
        for kind in ("film", "book")
        for verb in VERBS
        for begin in ("", "a plot and ")
    ]
    path = folder / "prompts.jsonl"
    pd.DataFrame(rows).assign(**columns).to_json(path, orient="records", lines=True)
    return path


def labelled(folder: Path, wrong: int) -> Path:
    """Write texts of both classes, of which so many of each have the other's label."""
    rows = [
        {"text": f"the {noun} {verb} {word}.", "label": names[int(place < wrong)]}
        for word, names in (("bad", ("negative", "positive")), ("warm", ("positive", "negative")))
        for place, (noun, verb) in enumerate((noun, verb) for noun in NOUNS for verb in VERBS)
    ]
    path = folder / f"labelled{wrong}.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    place = gpt2(folder / "gpt", learnt())
    fit(place, learnt(), epochs=25)
    return place, sequence_classifier(folder / "classifier", WORDS, "bad", ("positive", "negative"))


def audited(model: Path, **settings: Any) -> Report:
    return audit(model, pd.DataFrame({"text": learnt()[:20]}), text="text", only=["bias"], settings={"bias": settings})


def outcome_of(report: Report) -> Outcome:
    return next(outcome for outcome in report.outcomes if outcome.auditor == "bias")


def parts(report: Report, id: str) -> dict[str, Any]:
    found = report.measurement(f"bias.{id}", by=("group",))
    assert found is not None, outcome_of(report)
    return {part.group.key[0]: part for part in found.slices}


def test_a_learnt_difference_is_sampled_and_counted(models: tuple[Path, Path], tmp_path: Path) -> None:
    report = audited(models[0], continuations=str(prompts(tmp_path)), classifier=str(models[1]), samples=4, length=3)
    shares, differences = parts(report, "continuation_share"), parts(report, "continuation_difference")
    assert shares["book"].value > 0.8
    assert shares["film"].value < 0.2
    assert shares["book"].count == 48
    assert differences["book"].value == pytest.approx(shares["book"].value - shares["film"].value)
    assert differences["book"].simultaneous_interval.low > 0.3
    gap = report.measurement("bias.continuation_gap")
    assert gap is not None
    assert gap.value == pytest.approx(differences["book"].value)
    notes = outcome_of(report).notes
    assert any("errors are not in the intervals: no labelled rows were given" in note for note in notes)
    assert any("4 continuations of each prompt were drawn" in note for note in notes)
    assert "the class negative" in report.measurement("bias.continuation_share", by=("group",)).definition  # type: ignore[union-attr]


def test_one_seed_gives_the_same_continuations(models: tuple[Path, Path], tmp_path: Path) -> None:
    found = [
        parts(
            audited(models[0], continuations=str(prompts(tmp_path)), classifier=str(models[1]), samples=1),
            "continuation_share",
        )
        for _ in range(2)
    ]
    assert found[0] == found[1]


def test_errors_of_the_classifier_widen_and_stretch_the_difference(models: tuple[Path, Path], tmp_path: Path) -> None:
    saved = ["it was bad" if place % 3 else "it was warm" for place in range(12)]
    saved += ["it was bad" if place % 6 == 0 else "it was warm" for place in range(12)]
    given = {"continuations": str(prompts(tmp_path, response=saved)), "classifier": str(models[1])}
    plain = parts(audited(models[0], **given), "continuation_difference")["film"]
    assert plain.value == pytest.approx(8 / 12 - 2 / 12)
    report = audited(models[0], **given, classifier_rows=str(labelled(tmp_path, wrong=9)))
    found = parts(report, "continuation_difference")["film"]
    discrimination = 2 * 63 / 72 - 1
    assert found.value == pytest.approx((8 / 12 - 2 / 12) / discrimination)
    assert found.interval.high - found.interval.low > plain.interval.high - plain.interval.low
    assert (found.interval.low > 0) == (plain.interval.low > 0)
    share = parts(report, "continuation_share")["film"]
    assert share.value == pytest.approx((8 / 12 + 63 / 72 - 1) / discrimination)
    assert any("corrected for the classifier's errors" in note for note in outcome_of(report).notes)
    guess = audited(models[0], **given, classifier_rows=str(labelled(tmp_path, wrong=36)))
    part = parts(guess, "continuation_share")["film"]
    assert part.value is None
    assert "cannot be told from a guess" in part.reason


def test_rows_of_one_template_count_once() -> None:
    generator = np.random.default_rng(0)
    groups = np.array(["a", "b"] * 20, dtype=object)
    truths, clusters = generator.random(40) < 0.4, np.repeat(np.arange(20), 2)
    once = Counted(truths, groups, clusters)
    thrice = Counted(np.repeat(truths, 3), np.repeat(groups, 3), np.repeat(clusters, 3))
    for one, other in zip(
        measured_continuations(once, None, "x", 0.95), measured_continuations(thrice, None, "x", 0.95), strict=True
    ):
        pairs: list[tuple[Any, Any]] = list(zip(one.slices or (one,), other.slices or (other,), strict=True))
        for part, repeated in pairs:
            assert repeated.value == pytest.approx(part.value)
            assert part.interval is not None
            assert repeated.interval is not None
            assert repeated.interval.low == pytest.approx(part.interval.low, abs=0.03)
            assert repeated.interval.high == pytest.approx(part.interval.high, abs=0.03)


def test_few_templates_and_one_group_have_reasons() -> None:
    few = Counted(np.ones(12, dtype=bool), np.array(["a"] * 9 + ["b"] * 3, dtype=object), np.arange(12))
    shares, differences, gap = measured_continuations(few, ClassifierErrors(40, 50, 45, 50), "x", 0.95)
    assert [part.reason for part in shares.slices] == [
        "9 templates or prompts are too few; 10 are needed",
        "3 templates or prompts are too few; 10 are needed",
    ]
    assert all(part.value is None for part in differences.slices)
    assert gap.value is None
    assert gap.reason == "fewer than two groups have 10 templates or prompts"


def test_what_is_missing_is_asked_for(models: tuple[Path, Path], tmp_path: Path) -> None:
    path = str(prompts(tmp_path))
    assert "counted by a classifier, and none was named" in str(
        outcome_of(audited(models[0], continuations=path)).reason
    )
    masked = audited(bert(tmp_path / "bert"), continuations=path, classifier=str(models[1]))
    assert "fills gaps of a text, and continues none" in str(outcome_of(masked).reason)


@pytest.mark.parametrize(
    ("settings", "content", "problem"),
    [
        ({"classifier": "C"}, {}, "are for continuations"),
        ({"continuations": "F", "samples": 0}, {}, "samples and length must be at least 1"),
        ({"continuations": "F"}, {"prompt": ["a"]}, "has no column 'group', which names whom a prompt is about"),
        ({"continuations": "F"}, {"prompt": ["a", None], "group": ["x", "y"]}, "row 2 has no text in 'prompt'"),
        ({"continuations": "P", "classifier_rows": "F"}, {"text": ["a"]}, "has no column 'label'"),
        ({"continuations": "P", "classifier_rows": "F"}, {"text": ["a"], "label": [None]}, "row 1 has no label"),
        ({"continuations": "P", "classifier": "C", "counted": "rude"}, {}, "no class 'rude'; pass"),
        ({"continuations": "P", "classifier": "C", "classifier_rows": "F"}, {"text": "a", "label": ["x"]}, "label 'x'"),
        ({"continuations": "P", "classifier": "nowhere"}, {}, "classifier: .*nowhere"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    settings: dict[str, Any], content: dict[str, Any], problem: str, models: tuple[Path, Path], tmp_path: Path
) -> None:
    pd.DataFrame(content).to_json(tmp_path / "f.jsonl", orient="records", lines=True)
    named = {"F": str(tmp_path / "f.jsonl"), "P": str(prompts(tmp_path)), "C": str(models[1])}
    with pytest.raises(InputError, match=problem):
        Bias(**{key: named.get(str(value), value) for key, value in settings.items()}).check(SUBJECT)


def test_the_command_takes_the_files(models: tuple[Path, Path], tmp_path: Path) -> None:
    pd.DataFrame({"text": learnt()[:20]}).to_csv(tmp_path / "texts.csv", index=False)
    command = ["run", str(models[0]), "--dataset", str(tmp_path / "texts.csv"), "--text", "text", "--only", "bias"]
    command += ["--set", f"bias.continuations={prompts(tmp_path)}", "--set", f"bias.classifier={models[1]}"]
    command += ["--set", "bias.length=4", "--set", "bias.samples=1", "--out", str(tmp_path / "out"), "--quiet"]
    assert call(command) == 3, "the policy asks for what --only left out"
    assert "bias.continuation_difference" in (tmp_path / "out" / "results.json").read_text()
