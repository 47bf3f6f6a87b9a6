"""Perplexity, bits per byte and calibration of tiny models: by hand, by a plain loop, and as they must behave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from languages import bert, causal_network, fit, gpt2, sentences
from tokenizers import Tokenizer

import auditkit
from auditkit import Report
from auditkit.auditors.language.rates import calibration_error, mean, perplexity, weighted_by
from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement
from auditkit.stats.sampling import SIMPLE, Sampling


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = gpt2(tmp_path_factory.mktemp("gpt2"), sentences(200), positions=256)
    fit(place, sentences(300), epochs=3)
    return place


def frame_of(count: int = 120) -> pd.DataFrame:
    """Return texts of two groups, the second in words that the model never read, by authors of three texts each."""
    texts = sentences(count, seed=9)
    texts[1::2] = [text.translate(str.maketrans("aeiou", "iouae")) for text in texts[1::2]]
    groups = np.array(["plain", "dialect"])[np.arange(count) % 2]
    return pd.DataFrame({"text": texts, "dialect": groups, "author": np.arange(count) // 6})


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    # Occlusion takes a third of the passes; tests/auditors/explainability/test_next_words.py has the usual method.
    few = {"explainability": {"rows": 10, "method": "occlusion"}, "robustness": {"rows": 20}}
    return auditkit.audit(folder, frame_of(), text="text", sensitive=["dialect"], cluster="author", settings=few)


def measured(report: Report, id: str, by: tuple[str, ...] = ()) -> Measurement:
    found = report.measurement(id, by)
    assert found is not None, id
    return found


def test_perplexity_and_bits_are_those_of_a_plain_loop(report: Report, folder: Path) -> None:
    network, tokenizer = causal_network(folder), Tokenizer.from_file(str(folder / "tokenizer.json"))
    nats, tokens, bytes_ = 0.0, 0, 0
    for text in frame_of()["text"]:
        ids = torch.tensor([[0, *tokenizer.encode(text).ids]])
        with torch.no_grad():
            nats -= float(network(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).sum())
        tokens, bytes_ = tokens + ids.shape[1] - 1, bytes_ + len(text.encode())
    assert measured(report, "language.perplexity").value == pytest.approx(np.exp(nats / tokens), rel=1e-4)
    assert measured(report, "language.bits_per_byte").value == pytest.approx(nats / np.log(2) / bytes_, rel=1e-4)


def test_a_dialect_that_was_never_read_costs_more_bits(report: Report) -> None:
    groups = {part.group.key[0]: part for part in measured(report, "language.bits_per_byte", ("dialect",)).slices}
    assert groups["dialect"].value is not None
    assert groups["plain"].value is not None
    assert groups["dialect"].value > 2 * groups["plain"].value
    gap = measured(report, "language.bits_per_byte_difference", ("dialect",))
    assert gap.value == pytest.approx(groups["dialect"].value - groups["plain"].value)
    assert gap.interval is not None
    assert gap.interval.low > 0.25
    assert gap.compared is not None
    assert [group.key for group in gap.compared] == [("plain",), ("dialect",)]


def test_every_other_auditor_copes_with_a_language_model(report: Report) -> None:
    errors = {outcome.auditor: outcome.error for outcome in report.outcomes if outcome.error}
    assert errors == {}
    assert report.subject.model is not None
    assert report.policy.name
    reasons = {outcome.auditor: str(outcome.reason) for outcome in report.outcomes if outcome.reason}
    assert "probabilities to the tokens" in reasons["performance"]
    assert not {"language", "explainability", "robustness"} & set(reasons)
    json.loads(report.model_dump_json())


def test_a_masked_model_is_measured_too(tmp_path: Path) -> None:
    report = auditkit.audit(bert(tmp_path), frame_of(40), text="text", only=["language"])
    value = measured(report, "language.perplexity").value
    assert value is not None
    assert 10 < value < 200, "weights that were never fitted know little of 38 tokens"
    exhibits = [one for outcome in report.outcomes for one in outcome.exhibits]
    facts = next(one for one in exhibits if one.kind == "facts")
    unknown = {str(name): value for name, value in facts.rows}["unknown tokens"]
    assert int(str(unknown).replace(",", "")) > 100, "the dialect's words are unknown"


def test_a_text_weighs_by_its_bytes() -> None:
    values, sizes = np.array([1.0, 3.0]), np.array([30.0, 10.0])
    found = mean(values, values, (0.95,), weighted_by(sizes, SIMPLE))
    assert found.value == pytest.approx((1 * 30 + 3 * 10) / 40)
    assert perplexity(values, values, (), weighted_by(sizes, SIMPLE)).value == pytest.approx(np.exp(1.5))


def test_calibration_of_probabilities_that_hold_is_within_chance() -> None:
    rng = np.random.default_rng(0)
    promised = rng.uniform(0.1, 0.9, 4000)
    texts = Sampling(None, np.repeat(np.arange(200), 20))
    right = calibration_error((rng.random(4000) < promised).astype(float), promised, (0.95,), texts)
    assert right.bounds[0] is not None
    assert right.bounds[0][0] < 0.01
    wrong = calibration_error((rng.random(4000) < promised - 0.1).astype(float), promised, (0.95,), texts)
    assert wrong.value == pytest.approx(0.1, abs=0.03)


@pytest.mark.slow
def test_the_interval_of_bits_per_byte_covers_with_authors_of_their_own_style() -> None:
    """300 data sets of 30 authors with 4 texts each: an author's texts are alike, and long ones differ from short."""
    covered = naive = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        authors = np.repeat(np.arange(30), 4)
        sizes = rng.lognormal(4, 0.7, 120)
        style = rng.normal(0, 0.4, 30)[authors]
        bits = np.abs(2 + style + rng.normal(0, 0.2, 120)) + 0.1 * np.log(sizes / np.exp(4))
        truth = 2 + 0.1 * 0.7**2  # the mean of log sizes weighted by the sizes is 4 + 0.7**2
        for clusters in (authors, None):
            found = mean(bits, bits, (0.95,), weighted_by(sizes, Sampling(None, clusters)))
            bound = found.bounds[0]
            assert bound is not None
            inside = bound[0] <= truth <= bound[1]
            covered += inside and clusters is not None
            naive += inside and clusters is None
    assert covered / 300 >= 0.91
    assert naive / 300 < 0.85, "without the authors the interval is too narrow, which the simulation must show"


@pytest.mark.slow
@pytest.mark.parametrize(("off", "texts"), [(0.1, 200), (0.05, 100), (0.0, 200)])
def test_the_interval_of_the_calibration_error_covers_over_texts(off: float, texts: int) -> None:
    """200 data sets of texts with 20 tokens each, whose likeliest token is right more often than promised."""
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng((seed, 6))
        clusters = np.repeat(np.arange(texts), 20)
        promised = np.clip(rng.beta(1.2, 3, len(clusters)), 0.02, 0.9)
        hits = (rng.random(len(clusters)) < promised + off).astype(float)
        bound = calibration_error(hits, promised, (0.95,), Sampling(None, clusters)).bounds[0]
        assert bound is not None
        inside += bound[0] <= off <= bound[1]
    assert inside / 200 >= 0.92


def test_a_request_without_texts_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="pass --text COLUMN"):
        auditkit.audit(folder, frame_of())
    with pytest.raises(InputError, match="text column 'texts' is not in"):
        auditkit.audit(folder, frame_of(), text="texts")


def test_a_text_longer_than_a_window_is_read_whole_and_not_said_to_be_cut(folder: Path) -> None:
    long = " ".join(sentences(200, seed=4))
    frame = pd.DataFrame({"text": [long, *sentences(30, seed=5)]})
    report = auditkit.audit(folder, frame, text="text", only=["language"])
    assert measured(report, "language.bits_per_byte").value is not None
    assert not [note for note in (*report.subject.notes, *report.subject.encoding) if " cut " in note]
