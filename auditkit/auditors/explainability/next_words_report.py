"""A causal language model explained: which of the words before it make the next word of a text likelier, or less so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.auditors.explainability.checks_report import checks_table, failed_checks, stamp, trust_notes
from auditkit.auditors.explainability.cross_check import check_segments, not_computed_again
from auditkit.auditors.explainability.methods import METHODS, choose_method
from auditkit.auditors.explainability.methods_text import moved
from auditkit.auditors.explainability.next_words import (
    LONGEST_CONTEXT,
    WORDS,
    NextWordNetwork,
    NextWords,
    by_word,
    integrated_gradients,
    integrated_gradients_of_captum,
    left_out,
    next_words,
    rows_at_once,
)
from auditkit.auditors.explainability.segments import SegmentedRows, occlusion
from auditkit.auditors.explainability.segments_plan import SegmentPlan, planned_segments
from auditkit.auditors.explainability.segments_report import (
    CheckedMethod,
    change_of,
    sample_notes,
    settings_facts,
    trust_checks,
)
from auditkit.auditors.explainability.target_function import Floats, TargetFunction
from auditkit.auditors.explainability.term_attributions import Tokens, term_shares, words
from auditkit.auditors.explainability.texts import ATTENTION, words_chart
from auditkit.engine.subject import Subject
from auditkit.engine.texts import texts_of
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Column, Evidence, Exhibit, Facts, SliceChart, Table
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import CausalLanguageModel
from auditkit.schema.text import FIRST_WORD, PADDING

if TYPE_CHECKING:
    from auditkit.auditors.explainability.auditor import Explainability

FEWEST_TEXTS = 10
SHOWN = 8


def explain_next_words(subject: Subject, rows: NDArray[np.int64], settings: Explainability) -> Evidence:
    """Return the evidence about the words before one word of each text in `rows`, by the method asked for.

    Raises:
        NotRun: the model is no causal language model, or fewer than 10 texts have enough words.
    """
    asked, text_count = _asked(subject, rows, settings)
    plan = _plan(subject, asked, settings)
    method, parts, steps = plan.method, plan.parts, plan.steps
    if not METHODS[method].explanation:
        return _attention(subject, parts, asked, method)
    notes = [*plan.notes, *_left_out(text_count, len(asked.rows))]
    asked = _taken(asked, plan.chosen)
    attributions = _attribute(method, parts, steps)
    checked = CheckedMethod(method, parts, lambda name, part: _attribute(name, part, max(steps, 20)), moved)
    found, layers = trust_checks(subject, checked, attributions, trials=plan.trials)
    share = term_shares(
        words(subject, _tokens(asked, attributions)), METHODS[method].reference, level=subject.conf_level
    )
    exhibits: list[Exhibit] = [words_chart(share, stamp(found)), checks_table(found), *layers]
    if settings.show_rows:
        exhibits.append(_examples(subject, asked, parts, attributions, stamp(found)))
    exhibits += [
        _settings(subject, method, steps, asked, settings.continuation),
        _checked_by_captum(subject, parts, attributions, method, steps),
    ]
    return Evidence(
        measurements=[
            share,
            *(check.measurement for check in found),
            failed_checks(found, len(asked.rows), subject.conf_level),
        ],
        exhibits=exhibits,
        notes=[
            *notes,
            *trust_notes(found),
            *sample_notes(subject, "texts", len(asked.rows), show_rows=settings.show_rows),
        ],
    )


def planned_passes(subject: Subject, rows: NDArray[np.int64], settings: Explainability) -> float:
    """Return how many passes of a text the explanation of `rows` takes about.

    Raises:
        NotRun: as `explain_next_words`, or the budget does not pay for the least.
    """
    return _plan(subject, _asked(subject, rows, settings)[0], settings).passes


def _plan(subject: Subject, asked: NextWords, settings: Explainability) -> SegmentPlan:
    network = NextWordNetwork(subject.model.module).to(subject.device).eval()
    choice = choose_method(settings.method, kind="text", module=network)
    parts = _parts(subject, network, asked)
    explained = METHODS[choice[0]].explanation
    change = change_of(parts, Message("every word is left out")) if explained else np.zeros(len(asked.rows))
    return planned_segments(
        subject, choice, parts, change, lambda part, steps: _attribute(choice[0], part, steps).sum(axis=1)
    )


def _asked(subject: Subject, rows: NDArray[np.int64], settings: Explainability) -> tuple[NextWords, int]:
    """Return the words that are explained of the texts in `rows`, and how many texts these are.

    Raises:
        NotRun: the model is no causal language model, or fewer than 10 texts have enough words.
    """
    able = subject.audited.capability(CausalLanguageModel)
    if able is None:
        raise NotRun(Message("only the next word of a causal language model is explained, and this one fills gaps"))
    texts = texts_of(subject.data.frame.iloc[rows], subject.schema)
    asked = next_words(able, texts, settings.continuation, seed=subject.seed)
    if len(asked.rows) < FEWEST_TEXTS:
        raise NotRun(
            Message(
                "needs at least {fewest} texts with enough words, got {n:,}", fewest=FEWEST_TEXTS, n=len(asked.rows)
            )
        )
    return asked, len(texts)


def _checked_by_captum(subject: Subject, parts: SegmentedRows, attributions: Floats, method: str, steps: int) -> Facts:
    """Return what the card says of the attributions of a few texts that Captum computed once more."""
    return check_segments(
        method,
        "text",
        parts,
        attributions,
        work=subject.work,
        seed=subject.seed,
        second=lambda part: integrated_gradients_of_captum(part, steps=steps),
        steps=steps,
    )


def _parts(subject: Subject, network: NextWordNetwork, asked: NextWords) -> SegmentedRows:
    counts = np.array(list(map(len, asked.words)), dtype=np.int64)
    return SegmentedRows(
        decision=TargetFunction(network, subject.task),
        inputs=asked.rows,
        predicted=np.zeros(len(counts), dtype=np.int64),
        counts=counts,
        width=int(counts.max()),
        delete=left_out(network.size),
        device=subject.device,
    )


def _attribute(method: str, parts: SegmentedRows, steps: int) -> Floats:
    return occlusion(parts) if method == "occlusion" else integrated_gradients(parts, steps=steps)


def _taken(asked: NextWords, rows: NDArray[np.int64]) -> NextWords:
    return NextWords(asked.rows[rows], *([part[row] for row in rows] for part in asked[1:]))  # type: ignore[arg-type]


def _tokens(asked: NextWords, attributions: Floats) -> Tokens:
    """Return the words before the explained ones with their attributions, as `words` reads them."""
    codes: dict[str, int] = {}
    ids = np.full(attributions.shape, PADDING, dtype=np.int64)
    for row, found in enumerate(asked.words):
        ids[row, : len(found)] = [FIRST_WORD + codes.setdefault(word, len(codes)) for word in found]
    return Tokens(ids, attributions, tuple(codes))


def _left_out(given: int, explained: int) -> list[str]:
    if explained == given:
        return []
    return [Message("{n:,} of {given:,} texts have too few words to be explained.", n=given - explained, given=given)]


def _attention(subject: Subject, parts: SegmentedRows, asked: NextWords, method: str) -> Evidence:
    """Return the words that attention rests on where the next word is predicted, as what it is."""
    network = parts.decision.network
    assert isinstance(network, NextWordNetwork)
    at_once = rows_at_once(parts.inputs.shape[2], network.size)
    with torch.no_grad():
        received = [
            network.attention(rows.to(subject.device)).double().cpu().numpy()
            for rows in torch.from_numpy(parts.inputs).split(at_once)
        ]
    shares = by_word(parts.inputs, np.concatenate(received), parts.width)
    share = term_shares(
        words(subject, _tokens(asked, shares)),
        METHODS[method].reference,
        level=subject.conf_level,
        name="word_attention_share",
    )
    chart = SliceChart(title=Message("Attention by word"), note=ATTENTION, measurement=share.id, by=share.by)
    what = Message("the mean attention that a word receives where the next word is predicted, over heads and layers")
    return Evidence(
        measurements=[share],
        exhibits=[
            chart,
            settings_facts(subject, "texts", len(asked.rows), [(Message("Method"), what)]),
            not_computed_again(method, "text"),
        ],
        notes=[ATTENTION, *sample_notes(subject, "texts", len(asked.rows), show_rows=False)],
    )


def _settings(subject: Subject, method: str, steps: int, asked: NextWords, continuation: str | None) -> Facts:
    in_steps = Message(", {steps} Gauss-Legendre steps", steps=steps) if steps > 1 else ""
    place = (
        Message("a word of the text that was drawn by the seed")
        if continuation is None
        else Message("{continuation}, behind each text", continuation=f"'{continuation}'")
    )
    tokens = (asked.rows[:, WORDS] >= 0).sum(axis=1)
    facts = [
        (Message("Method"), f"{METHODS[method].title}{in_steps}"),
        (Message("The word that is explained"), place),
        (Message("Baseline"), Message("the mean embedding of all tokens in the place of each token of a word")),
        (
            Message("Words before it"),
            Message(
                "of at most {most} tokens; {median:.0f} tokens of words in the median text",
                most=LONGEST_CONTEXT,
                median=float(np.median(tokens)),
            ),
        ),
    ]
    return settings_facts(subject, "texts", len(asked.rows), facts)


def _examples(subject: Subject, asked: NextWords, parts: SegmentedRows, attributions: Floats, stamped: str) -> Table:
    """Return the texts whose explained word depends most on the words before it, with the words that weighed most."""
    values, change = parts.values(), parts.change()
    rows = []
    for row in np.argsort(-np.abs(change), kind="stable")[:SHOWN]:
        found, own = asked.words[row], attributions[row]
        order = np.argsort(-np.abs(own[: len(found)]), kind="stable")[:4]
        weights = ", ".join(f"{found[place]} {own[place]:+.2f}" for place in order)
        rows.append((" ".join(found), asked.explained[row], float(values[row]), float(change[row]), weights))
    return Table(
        title=Message("Single texts, and the words that weighed most in them"),
        note=Message("{stamped}Those whose explained word depends most on the words before it.", stamped=stamped),
        columns=(
            Column(name=Message("words before")),
            Column(name=Message("explained")),
            Column(name=Message("log-probability"), unit="nats"),
            Column(name=Message("more than without these words"), unit="nats"),
            Column(name=Message("words")),
        ),
        rows=tuple(rows),
    )
