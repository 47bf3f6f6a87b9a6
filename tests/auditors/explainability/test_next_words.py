"""The next word of a causal language model, explained: against transformers, against Captum, and as an audit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from captum.attr import LayerIntegratedGradients
from languages import bert, causal_network, gpt2, opened, sentences

import auditkit
from auditkit.auditors.explainability.next_words import (
    EXPLAINED,
    IDS,
    WORDS,
    NextWordNetwork,
    NextWords,
    by_word,
    integrated_gradients,
    left_out,
    next_words,
)
from auditkit.auditors.explainability.segments import SegmentedRows, occlusion
from auditkit.auditors.explainability.target_function import TargetFunction
from auditkit.evidence.measurement import Facts
from auditkit.models.capabilities import CausalLanguageModel
from auditkit.tasks.base import task_for

TEXTS = [text.split(" and ")[0] + ", and so on." for text in sentences(40, seed=3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpt2(tmp_path_factory.mktemp("gpt2"), TEXTS, seed=4)


def explained(folder: Path, texts: list[str], continuation: str | None = None) -> tuple[NextWords, SegmentedRows]:
    model = opened(folder, texts)
    able = model.require(CausalLanguageModel)
    asked = next_words(able, texts, continuation, seed=0)
    network = NextWordNetwork(model.module).eval()
    counts = np.array(list(map(len, asked.words)))
    parts = SegmentedRows(
        TargetFunction(network, task_for(model.schema)), asked.rows, np.zeros(len(counts), dtype=np.int64), counts,
        int(counts.max()), left_out(network.size), torch.device("cpu"),
    )  # fmt: skip
    return asked, parts


def test_occlusion_is_what_transformers_says_of_a_text_with_the_mean_embedding_in_a_words_place(folder: Path) -> None:
    asked, parts = explained(folder, TEXTS[:6], continuation="slow film")
    network = causal_network(folder)
    table = network.get_input_embeddings().weight.detach()
    attributions = occlusion(parts)
    for row in range(len(asked.rows)):
        known = asked.rows[row, WORDS] != -2
        ids, words, marks = (torch.from_numpy(part[known]) for part in asked.rows[row])
        assert marks.sum() >= 2, "both words of the continuation"

        def chance(gone: int | None, ids: torch.Tensor = ids, words: torch.Tensor = words) -> float:
            values = table[ids].clone()
            if gone is not None:
                values[words == gone] = table.mean(dim=0)
            logits = network(inputs_embeds=values[None]).logits[0].log_softmax(dim=-1).detach()
            return float(sum(logits[place - 1, ids[place]] for place in torch.nonzero(marks)[:, 0]))  # noqa: B023

        own = [chance(None) - chance(number) for number in range(len(asked.words[row]))]
        np.testing.assert_allclose(attributions[row, : len(own)], own, atol=2e-5)
        assert not attributions[row, len(own) :].any()


def test_integrated_gradients_are_those_of_captum_and_complete(folder: Path) -> None:
    _, parts = explained(folder, TEXTS)
    found = integrated_gradients(parts, steps=20)
    np.testing.assert_allclose(found.sum(axis=1), parts.change(), atol=1e-4)
    network = parts.decision.network
    assert isinstance(network, NextWordNetwork)
    bare = parts.delete(parts.inputs, parts.exists)
    rows, empty = torch.from_numpy(parts.inputs[:8]), torch.from_numpy(bare[:8])

    def of_ids(ids: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = network(torch.stack([ids, others[:, 0], others[:, 1]], dim=1))[:, 0]
        return found

    captum = LayerIntegratedGradients(of_ids, network.embedding)
    theirs = captum.attribute(
        rows[:, IDS], empty[:, IDS], additional_forward_args=(rows[:, WORDS:],), n_steps=20, method="gausslegendre"
    )
    tokens = theirs.sum(dim=-1).double().numpy()
    np.testing.assert_allclose(found[:8], by_word(parts.inputs[:8], tokens, parts.width), atol=1e-5)


def test_the_explained_word_is_one_of_the_text_and_the_words_before_it_are_named(folder: Path) -> None:
    asked, parts = explained(folder, [*TEXTS, "Too short.", ""])
    assert len(asked.rows) == len(TEXTS)
    for text, words, told, row in zip(TEXTS, asked.words, asked.explained, asked.rows, strict=True):
        begin = text.index(" ".join(words[:2]))
        assert text[begin:].lower().startswith(" ".join(words[:3]))
        assert told in text
        assert (row[EXPLAINED] * (row[WORDS] >= 0)).sum() == 0, "no explained token is left out"
    assert (parts.counts >= 3).all()


def audited(folder: Path, texts: list[str], **settings: object) -> auditkit.Report:
    frame = pd.DataFrame({"text": texts})
    return auditkit.audit(folder, frame, text="text", only=["explainability"], settings={"explainability": settings})


def test_an_audit_of_a_language_model_explains_it_with_its_trust_checks(folder: Path) -> None:
    report = audited(folder, TEXTS, rows=12)
    (outcome,) = [one for one in report.outcomes if one.auditor == "explainability"]
    assert outcome.reason is None
    assert outcome.error is None
    share = report.measurement("explainability.word_attribution_share", ("word",))
    assert share is not None
    assert "the" in [part.group.key[0] for part in share.slices]
    for name in ("completeness_error", "infidelity", "randomised_weights_correlation", "failed_trust_checks"):
        found = report.measurement(f"explainability.{name}")
        assert found is not None, name
        assert found.value is not None, name
    words = report.model_dump_json()
    assert "the log-probability of the next word" in words


def test_attention_is_shown_as_shares_and_never_checked(folder: Path) -> None:
    report = audited(folder, TEXTS, rows=20, method="attention")
    share = report.measurement("explainability.word_attention_share", ("word",))
    assert share is not None
    assert all(0 < (part.value or 0) < 1 for part in share.slices)
    assert report.measurement("explainability.failed_trust_checks") is None
    (card,) = [
        one
        for outcome in report.outcomes
        for one in outcome.exhibits
        if isinstance(one, Facts) and "Captum" in one.title
    ]
    assert dict(card.rows) == {"Not compared": "Captum does not compute attention weights"}


def test_what_cannot_be_explained_is_refused_with_the_reason(folder: Path, tmp_path: Path) -> None:
    report = audited(bert(tmp_path / "bert"), ["the good film was slow and the plot was dull"] * 12)
    assert "only the next word of a causal language model" in str(reason_of(report))
    report = audited(folder, ["one word"] * 12)
    assert "at least 10 texts with enough words, got 0" in str(reason_of(report))


def reason_of(report: auditkit.Report) -> str:
    (found,) = [one.reason for one in report.outcomes if one.auditor == "explainability"]
    return str(found)
