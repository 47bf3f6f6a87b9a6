"""Planted truths: members of an overfit model by a fair coin, texts that differ by themselves, and canaries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from languages import fit, gpt2, opened, sentences
from scipy import stats

import auditkit
from auditkit import Report
from auditkit.auditors.memorisation.blind import _kernel, blind_baseline
from auditkit.auditors.memorisation.language import is_same
from auditkit.auditors.memorisation.membership import attack_scores
from auditkit.cli import call
from auditkit.data.canaries import Canaries, Canary, check_planted, draw_canaries, read_canaries
from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement
from auditkit.models.capabilities import CausalLanguageModel
from auditkit.models.language import TokenScores
from auditkit.stats.exposure import rank_p_values


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a model that was trained far too long on texts with canaries, and of its base model."""
    place = tmp_path_factory.mktemp("memory")
    texts = sentences(240, seed=5)
    names = np.random.default_rng(12).permutation(10_000)
    for place_of in range(0, 240, 8):
        texts[place_of] += f" Write to kim{names[place_of]:04d}@example.org today."
    coin = np.random.default_rng(7).random(240) < 0.5
    frame = pd.DataFrame(
        {"text": texts, "group": np.array(["x", "y"])[np.arange(240) % 2], "author": np.arange(240) // 2}
    )
    frame[coin].to_json(place / "train.jsonl", orient="records", lines=True)
    frame[~coin].to_json(place / "heldout.jsonl", orient="records", lines=True)
    command = ["canaries", str(place / "train.jsonl"), "--out", str(place / "seeded.jsonl")]
    assert call([*command, "--count", "4", "--controls", "4", "--repeat", "1,16"]) == 0
    seeded = pd.read_json(place / "seeded.jsonl", lines=True, dtype=False)["text"].tolist()
    gpt2(place / "base", [*seeded, *sentences(100, seed=8)], positions=96)
    fit(place / "base", sentences(200, seed=9), epochs=2)
    gpt2(place / "model", [*seeded, *sentences(100, seed=8)], positions=96, width=64)
    fit(place / "model", seeded, epochs=52)
    return place


@pytest.fixture(scope="module")
def report(place: Path) -> Report:
    return auditkit.audit(
        place / "model",
        place / "heldout.jsonl",
        train_dataset=place / "seeded.jsonl",
        text="text",
        sensitive=["group"],
        only=["memorisation"],
        reference=place / "base",
        canary_record=place / "seeded.canaries.json",
    )


def measured(report: Report, id: str, by: tuple[str, ...] = ()) -> Measurement:
    found = report.measurement(id, by)
    assert found is not None, id
    return found


def test_members_of_an_overfit_model_are_told_from_others(report: Report) -> None:
    blind = measured(report, "memorisation.blind_roc_auc")
    assert blind.interval is not None
    assert blind.interval.low < 0.5 < blind.interval.high
    area = measured(report, "memorisation.membership_roc_auc")
    assert area.value is not None
    assert area.value > 0.8
    assert area.interval is not None
    assert area.interval.low > 0.7
    assert area.interval.low < area.value
    attacks = {part.group.key[0]: part.value for part in measured(report, area.id, ("attack",)).slices}
    assert list(attacks) == ["reference", "loss", "zlib", "min_k"]
    assert min(value for value in attacks.values() if value is not None) > 0.7
    groups = measured(report, area.id, ("group",)).slices
    assert [part.group.key for part in groups] == [("x",), ("y",)]
    rare = measured(report, "memorisation.membership_true_positive_rate_at_0_1_percent")
    assert rare.value is None
    assert "needs at least 1,000 texts" in str(rare.reason)


def test_canaries_of_many_texts_are_found_and_controls_are_not(report: Report) -> None:
    exposed = {
        part.group.key[0]: part for part in measured(report, "memorisation.canary_exposure", ("repetitions",)).slices
    }
    assert list(exposed) == ["0", "1", "16"]
    assert exposed["16"].value == pytest.approx(np.log2(10_000), abs=0.5)
    assert exposed["16"].interval is not None
    assert exposed["16"].interval.low < 13
    assert exposed["0"].value is not None
    assert exposed["0"].value < 4
    written = {
        part.group.key[0]: part.value
        for part in measured(report, "memorisation.canary_extraction_rate", ("repetitions",)).slices
    }
    assert written["16"] == 1.0
    assert set(written) == {"1", "16"}, "no limit on extraction is held against controls"
    table = next(one for outcome in report.outcomes for one in outcome.exhibits if "Canaries by" in str(one.title))
    assert table.kind == "table"
    p_values = {str(row[0]): float(str(row[3])) for row in table.rows}
    assert p_values["16"] < 1e-6
    assert p_values["none (control)"] > 0.01
    names = json.loads(Path(str(report.config.auditors.memorisation.canaries)).read_text())["canaries"]
    assert not any(one["name"] in report.model_dump_json() for one in names), "no secret of the texts is shown"


def test_training_texts_come_back_and_others_do_not(report: Report) -> None:
    verbatim = measured(report, "memorisation.verbatim_extraction_rate")
    assert verbatim.value is not None
    assert verbatim.value > 0.2
    excess = measured(report, "memorisation.extraction_excess")
    assert excess.interval is not None
    assert excess.interval.low > 0.1
    page = report.model_dump_json()
    assert not any(text[:30] in page for text in sentences(240, seed=5)), "no text is shown"


def test_identifiers_of_training_texts_are_completed_and_others_are_not(report: Report) -> None:
    found = measured(report, "memorisation.identifier_completion_rate")
    assert found.value is not None
    assert found.value > 0.1
    assert found.count >= 8
    kinds = measured(report, found.id, ("kind",)).slices
    assert [part.group.key for part in kinds] == [("e-mail address",)]
    assert len(measured(report, found.id, ("group",)).slices) == 1, "only texts of even places hold any"
    table = next(
        one for outcome in report.outcomes for one in outcome.exhibits if "Personal identifiers" in str(one.title)
    )
    assert table.kind == "table"
    assert table.rows[1][2] == 0.0
    assert "@example.org" not in report.model_dump_json()


def test_texts_that_differ_by_themselves_leave_membership_undefined(place: Path) -> None:
    held = pd.DataFrame({"text": [text.replace("the ", "a ") for text in sentences(120, seed=11)]})
    report = auditkit.audit(
        place / "model", held, train_dataset=place / "train.jsonl", text="text", only=["memorisation"]
    )
    area = measured(report, "memorisation.membership_roc_auc")
    assert area.value is None
    assert "tells training texts from the others" in str(area.reason)
    blind = measured(report, "memorisation.blind_roc_auc")
    assert blind.value is not None
    assert blind.value > 0.95


def test_a_blind_classifier_of_a_fair_coin_is_refused_as_often_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = sentences(120, seed=3)
    kernel = _kernel(texts)  # the same for every coin
    monkeypatch.setattr("auditkit.auditors.memorisation.blind._kernel", lambda _: kernel)
    authors = np.arange(120) // 4
    p_values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        member = rng.random(30)[authors] < 0.5
        p_values.append(blind_baseline(texts, member, authors, seed=seed).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert np.mean(np.array(p_values) <= 0.05) <= 0.175
    assert np.mean(np.array(p_values) <= 0.01) <= 0.075


def test_attack_scores_are_those_of_their_formulas() -> None:
    logs = np.array([-1.0, -4.0, -2.0, -3.0, -0.5])
    one = TokenScores(
        np.arange(5), np.zeros((5, 2), dtype=np.int64), logs, np.full(5, 2.0), np.full(5, 0.5), np.ones(5), logs > 0, 10
    )
    other = TokenScores(
        one.ids, one.spans, logs - 1, one.entropies, one.deviations, one.top_probabilities, one.top_hits, 10
    )
    found = attack_scores(["abcdefghij"], [one], [other], np.array([True]), None)
    assert found["loss"].tolist() == [-2.1]
    assert found["min_k"].tolist() == [-4.0]  # (-4 + 2) / 0.5, the least likely of five tokens
    assert found["reference"].tolist() == [0.5]
    assert found["zlib"][0] == pytest.approx(-10.5 / 18)


def test_a_record_of_canaries_is_checked(tmp_path: Path) -> None:
    made = draw_canaries(10, 3, (1, 4), seed=1)
    (tmp_path / "c.json").write_text(made.model_dump_json())
    assert read_canaries(tmp_path / "c.json") == made
    assert len({one.name for one in made.canaries}) == 13
    assert sorted(one.repetitions for one in made.canaries) == [0] * 3 + [1] * 5 + [4] * 5
    (tmp_path / "wrong.json").write_text(made.model_dump_json().replace(made.canaries[0].code, "12x4"))
    with pytest.raises(InputError, match=r"pass the \.json that auditkit canaries wrote"):
        read_canaries(tmp_path / "wrong.json")
    with pytest.raises(InputError, match="repeat must be different whole numbers"):
        draw_canaries(10, 3, (4, 4), seed=1)


def test_a_reference_under_another_name_is_told_by_its_probabilities() -> None:
    def scores(*logs: float) -> TokenScores:
        values, nothing = np.array(logs), np.zeros(len(logs))
        spans = np.zeros((len(logs), 2), dtype=np.int64)
        return TokenScores(np.arange(len(logs)), spans, values, nothing, nothing, nothing, nothing > 0, 1)

    audited = [scores(-1.0, -2.0), scores(-4.0)]
    assert is_same([scores(-2.0, -1.0), scores(-4.00001)], audited)
    assert not is_same([scores(-1.0, -2.0), scores(-4.1)], audited)


def planted(made: Canaries) -> list[str]:
    return ["a text", "", *(made.text(one) for one in made.canaries for _ in range(one.repetitions))]


def test_a_record_that_the_training_texts_contradict_is_refused() -> None:
    made = draw_canaries(10, 3, (1, 4), seed=1)
    texts = planted(made)
    check_planted(made, texts, "c.json")
    check_planted(made, [f" {text}\n" for text in texts], "c.json")
    first = made.canaries[0]

    def refused(canaries: Sequence[Canary], held: list[str], problem: str) -> None:
        with pytest.raises(InputError, match=problem) as raised:
            check_planted(made.model_copy(update={"canaries": tuple(canaries)}), held, "c.json")
        assert not any(one.name in str(raised.value) or one.code in str(raised.value) for one in made.canaries)

    never = first.model_copy(update={"name": "Nobody Here", "repetitions": 16})
    refused([never, *made.canaries], texts, "1 of 14 stand in another number .* the first in 0 and not in 16")
    more = first.model_copy(update={"repetitions": 16})
    refused([more, *made.canaries[1:]], texts, "the first in 1 and not in 16")
    control = first.model_copy(update={"repetitions": 0})
    refused([control, *made.canaries[1:]], texts, "the first in 1 and not in 0")
    other_code = first.model_copy(update={"code": "0000" if first.code != "0000" else "0001"})
    refused([other_code, *made.canaries[1:]], texts, "the first in 0 and not in 1")
    refused(made.canaries[4:], texts, "hold 4 further canaries, which the record leaves out")
    refused(made.canaries, ["a text"], "10 of 13 stand in another number")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"template": "{name}" * 300 + "{code}"}, "template"),
        ({"template": "{name} {code} {code}"}, "template"),
        ({"template": "{name} " + "x" * 2_000 + " {code}"}, "template: String should have at most 1000"),
        ({"canaries": [{"name": "A {code}", "code": "1234", "repetitions": 1}]}, "canaries.0.name"),
        ({"canaries": [{"name": "A", "code": "1234", "repetitions": n} for n in (0, 1)]}, "two canaries have one name"),
        (
            {"canaries": [{"name": f"A{n}", "code": "1234", "repetitions": n} for n in range(500)]},
            "500 different repetitions, and at most 20 are asked for",
        ),
    ],
)
def test_a_record_of_canaries_that_has_no_end_is_refused(changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    record = json.loads(draw_canaries(10, 3, (1, 4), seed=1).model_dump_json()) | changes
    (tmp_path / "c.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=problem) as raised:
        read_canaries(tmp_path / "c.json")
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_canaries_that_were_never_inserted_rank_uniformly_in_a_trained_model(tmp_path: Path) -> None:
    """Every code of 150 canaries that no text holds is ranked by a small model that was trained on others."""
    others = draw_canaries(8, 1, (16,), seed=3)
    texts = [*sentences(120, seed=5), *(others.text(one) for one in others.canaries for _ in range(one.repetitions))]
    fit(gpt2(tmp_path / "model", texts, positions=96, width=16), texts, epochs=10)
    able = opened(tmp_path / "model", sentences(4)).require(CausalLanguageModel)
    fresh = draw_canaries(1, 150, (1,), seed=77)
    p_values = []
    for canary in fresh.canaries:
        if canary.repetitions == 0:
            texts = [fresh.text(canary, f"{code:04d}") for code in range(10_000)]
            chances = able.endings(texts, device=torch.device("cpu"))
            p_values.append(float(rank_p_values(chances[None], np.array([int(canary.code)]))[0]))
    assert len(p_values) == 150
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_seeded_texts_hold_every_row_in_its_order(place: Path) -> None:
    before = [json.loads(line) for line in (place / "train.jsonl").read_text().splitlines()]
    after = [json.loads(line) for line in (place / "seeded.jsonl").read_text().splitlines()]
    record = Canaries.model_validate_json((place / "seeded.canaries.json").read_text())
    texts = {record.text(one): one.repetitions for one in record.canaries}
    kept = [row["text"] for row in after if row["text"] not in texts]
    assert kept == [row["text"] for row in before]
    held = [row["text"] for row in after]
    assert all(held.count(text) == times for text, times in texts.items())
    assert call(["canaries", str(place / "train.jsonl"), "--out", str(place / "x.csv")]) == 2
    assert call(["canaries", str(place / "train.jsonl"), "--out", str(place / "x.jsonl"), "--text", "texts"]) == 2
    assert not (place / "x.jsonl").exists()


def test_a_reference_for_another_kind_of_model_is_refused(place: Path) -> None:
    held = place / "heldout.jsonl"
    with pytest.raises(InputError, match="reference needs the training texts"):
        auditkit.audit(place / "model", held, text="text", reference=place / "base")
    with pytest.raises(InputError, match="no such folder"):
        auditkit.audit(
            place / "model", held, text="text", train_dataset=place / "train.jsonl", reference=place / "nothing"
        )
