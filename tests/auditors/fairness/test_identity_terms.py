"""Models whose treatment of a term is known: the auditor must say what it is, and nothing where there is nothing."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from keys import compared
from torch import nn

from auditkit import Report, audit
from auditkit.errors import InputError
from auditkit.schema.schema import Schema
from auditkit.schema.table import Feature

VOCABULARY = ("he", "she", "his", "her", "jack", "french", "korean", "film", "was", "good", "bad", "told", "me", "it")
TERMS = {"faith": {"source": "here", "groups": {"a": ["good"], "b": ["bad"]}, "templates": ["it was {}", "{} film"]}}


class Weighed(nn.Module):
    """The log-odds of a text are the sum of its words' weights: the effect of a swap is known."""

    def __init__(self, **weights: float) -> None:
        super().__init__()
        self.weight = nn.Embedding(len(VOCABULARY) + 2, 1)
        with torch.no_grad():
            self.weight.weight.zero_()
            for word, weight in weights.items():
                self.weight.weight[2 + VOCABULARY.index(word)] = weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        odds: torch.Tensor = (self.weight(ids)[..., 0] * (ids > 0)).sum(dim=1, keepdim=True)
        return odds


def audited(module: nn.Module, texts: list[str], **settings: object) -> Report:
    feature = Feature(name="text", kind="text", tokenizer="words", vocabulary=VOCABULARY, length=8)
    schema = Schema(features=(feature,), target="label", task="binary", classes=("no", "yes"))
    frame = pd.DataFrame({"text": texts, "label": np.resize(["yes", "no"], len(texts))}, dtype=object)
    return audit(
        module, frame, schema=schema, only=["identity_terms"], settings={"identity_terms": settings}, device="cpu"
    )


TEXTS = ["She told me the film was good", "his film was bad", "Jack told me", "it was good"] * 10


def test_a_planted_word_is_found_with_its_size() -> None:
    report = audited(Weighed(she=-2.0, her=-2.0), TEXTS)
    gap = report.measurement("identity_terms.sentence_score_gap", ("gender",))
    assert gap is not None
    assert compared(gap) == ("female", "male")
    # Every text loses sigma(0) - sigma(-2): half of it has "she", half "his".
    assert gap.value == pytest.approx(0.5 - 1 / (1 + np.exp(2)))
    assert gap.count == 20
    flips = report.measurement("identity_terms.decision_flip_rate", ("gender",))
    assert flips is not None
    assert flips.value == 1.0
    templates = report.measurement("identity_terms.template_score_gap", ("gender",))
    assert templates is not None
    assert compared(templates) == ("female", "male")
    findings = [finding.message for outcome in report.outcomes for finding in outcome.findings]
    assert any("Sentence score gap: female against male (gender). Gap 38.1 points" in message for message in findings)


def test_a_model_that_ignores_the_terms_has_no_gap() -> None:
    report = audited(Weighed(good=1.0, bad=-1.0), TEXTS)
    gap = report.measurement("identity_terms.sentence_score_gap", ("gender",))
    assert gap is not None
    assert gap.interval is not None
    assert (gap.value, gap.interval.low) == (0, 0)
    assert gap.interval.high == pytest.approx(1 - 0.025 ** (1 / gap.count))  # they may matter in texts not seen
    flips = report.measurement("identity_terms.decision_flip_rate", ("gender",))
    assert flips is not None
    assert flips.value == 0


def test_terms_that_the_vocabulary_lacks_are_said_and_not_compared() -> None:
    report = audited(Weighed(jack=1.0), ["Alan told me"] * 20)
    gap = report.measurement("identity_terms.sentence_score_gap", ("name",))
    assert gap is not None
    assert gap.value is None
    assert gap.reason == "the model can tell the versions of only 0 audited texts apart"
    known = report.measurement("identity_terms.known_term_rate", ("name",))
    assert known is not None
    assert {part.group.text: part.value for part in known.slices} == {"African American": 0, "European American": 0.05}


def test_own_terms_are_added() -> None:
    report = audited(Weighed(bad=-3.0), TEXTS, terms=TERMS)
    gap = report.measurement("identity_terms.template_score_gap", ("faith",))
    assert gap is not None
    assert gap.reason == "the model can tell the versions of only 1 terms or templates apart"
    sentences = report.measurement("identity_terms.sentence_score_gap", ("faith",))
    assert sentences is not None
    assert compared(sentences) == ("b", "a")
    assert report.measurement("identity_terms.sentence_score_gap", ("gender",)) is not None
    with pytest.raises(InputError, match=r"identity terms \[x\]: groups"):
        audited(Weighed(), TEXTS, terms={"x": {"source": ""}})


def test_no_audited_text_is_in_the_report() -> None:
    texts = ["she told me it was a secretword"] * 20
    assert "secretword" not in audited(Weighed(she=1.0), texts).to_json()


def test_a_model_of_a_table_is_not_run() -> None:
    frame = pd.DataFrame({"x": np.linspace(-1, 1, 30), "label": [0, 1] * 15})
    report = audit(nn.Linear(1, 2), frame, target="label", only=["identity_terms"], device="cpu")
    reasons = {outcome.auditor: outcome.reason for outcome in report.outcomes}
    assert "does not read text" in (reasons["identity_terms"] or "")
    assert json.loads(report.to_json())["exit_code"] in (0, 5)
