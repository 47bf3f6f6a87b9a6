"""A network over texts explained: which words drive it, in which direction, and whether to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from auditkit.auditors.explainability.checks_report import checks_table, failed_checks, stamp, trust_notes
from auditkit.auditors.explainability.cross_check import check_segments, not_computed_again
from auditkit.auditors.explainability.methods import METHODS, choose_method, credited
from auditkit.auditors.explainability.methods_text import attribute_words, moved
from auditkit.auditors.explainability.segments import SegmentedRows
from auditkit.auditors.explainability.segments_plan import SegmentPlan, planned_segments
from auditkit.auditors.explainability.segments_report import (
    CheckedMethod,
    change_of,
    sample_notes,
    segmented_rows,
    settings_facts,
    shown_rows,
    trust_checks,
)
from auditkit.auditors.explainability.statistics import ratio_interval, ratio_of_means
from auditkit.auditors.explainability.target_function import Floats
from auditkit.auditors.explainability.term_attributions import (
    Terms,
    phrases,
    term_directions,
    term_shares,
    tokens_of,
    words,
)
from auditkit.engine.subject import Subject
from auditkit.engine.texts import shortened
from auditkit.evidence.measurement import Column, Evidence, Exhibit, Facts, Measurement, SliceChart, Table
from auditkit.evidence.messages import Message, number, span
from auditkit.modalities.base import OWN_TOKENIZER, Texts
from auditkit.models.capabilities import Differentiable
from auditkit.schema.text import PADDING, UNKNOWN

if TYPE_CHECKING:
    from auditkit.auditors.explainability.auditor import Explainability

ROWS_SHOWN = 5

ATTENTION = Message(
    "Attention is shown as attention: which words the network reads most, not which of them "
    "decide. It is no explanation, and no trust check is made (Jain & Wallace 2019, "
    "arXiv:1902.10186)."
)


def explain_texts(subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability) -> Evidence:
    """Return the evidence about the words of the texts in `rows`, by the method that is asked for, or the default."""
    show_rows = settings.show_rows and bool(subject.task.classes)
    slopes = subject.audited.capability(Differentiable) is not None
    plan = _plan(subject, module, rows, settings)
    method, parts, steps, rows = plan.method, plan.parts, plan.steps, rows[plan.chosen]
    ids, read = parts.inputs, subject.modality.texts
    assert read is not None
    unknown = _unknown_rate(ids, read, level=subject.conf_level)
    if not METHODS[method].explanation:
        return _shown_attention(subject, parts, rows, method, unknown)
    attributions = attribute_words(method, parts, steps=steps, progress=subject.progress)

    def attribute(name: str, part: SegmentedRows) -> Floats:
        return attribute_words(name, part, steps=max(steps, 20))

    checked = CheckedMethod(method, parts, attribute, moved if slopes else None)
    found, layers = trust_checks(subject, checked, attributions, trials=plan.trials)
    definition = METHODS[method].reference
    tokens = tokens_of(subject, rows, ids, attributions)
    by_word = words(subject, tokens)
    share = term_shares(by_word, definition, level=subject.conf_level)
    directed = _directions(subject, by_word, phrases(subject, tokens), definition)
    measurements = [
        *credited([*directed, share], method, "text"),
        unknown,
        *credited([check.measurement for check in found], method, "text"),
        failed_checks(found, len(rows), subject.conf_level),
    ]
    exhibits: list[Exhibit] = [*_direction_charts(subject, directed, stamp(found)), words_chart(share, stamp(found))]
    exhibits += [checks_table(found), *layers]
    if show_rows:
        exhibits.append(_examples(subject, rows, ids, attributions, stamp(found)))
    exhibits += [
        _settings(subject, method, steps, read, word_count=len(by_word.names), row_count=len(rows)),
        check_segments(method, "text", parts, attributions, work=subject.work, seed=subject.seed, steps=steps),
    ]
    return Evidence(
        measurements=measurements,
        exhibits=exhibits,
        notes=[*plan.notes, *trust_notes(found), *sample_notes(subject, "texts", len(rows), show_rows=show_rows)],
    )


def _directions(subject: Subject, by_word: Terms, by_phrase: Terms, definition: str) -> list[Measurement]:
    """Return which way words, and phrases if there are any, move the score of the positive class, if there is one."""
    if subject.task.positive is None:
        return []
    kinds = [by_word, *([by_phrase] if len(by_phrase.names) else [])]
    return [term_directions(terms, definition, level=subject.conf_level) for terms in kinds]


def passes_of_texts(subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability) -> float:
    """Return how many passes `explain_texts` takes about."""
    return _plan(subject, module, rows, settings).passes


def _plan(subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability) -> SegmentPlan:
    ids = subject.inputs[rows].astype(np.int64)
    parts = segmented_rows(subject, module, rows, ids, subject.modality.segments(ids, ids))
    read = subject.modality.texts
    assert read is not None
    change = change_of(parts, read.deletion)
    slopes = subject.audited.capability(Differentiable) is not None
    choice = choose_method(settings.method, kind="text", module=module, has_gradient=slopes)

    def sums(part: SegmentedRows, steps: int) -> Floats:
        return np.asarray(attribute_words(choice[0], part, steps=steps).sum(axis=1))

    return planned_segments(subject, choice, parts, change, sums)


def words_chart(share: Measurement, stamped: str) -> SliceChart:
    """Return the chart of the words that weigh most, with the stamp before its note."""
    return SliceChart(
        title=Message("Share of attribution by word"),
        note=Message(
            "{stamp}{first} The words that weigh most over all texts, whichever way.",
            stamp=stamped,
            first=_first(share),
        ),
        measurement=share.id,
        by=share.by,
    )


def _settings(subject: Subject, method: str, steps: int, read: Texts, *, word_count: int, row_count: int) -> Facts:
    """Return how the words were explained, and against which baseline."""
    in_steps = Message(", {steps} Gauss-Legendre steps", steps=steps) if steps > 1 else ""
    facts = [
        (Message("Method"), f"{METHODS[method].title}{in_steps}"),
        (Message("Baseline"), read.baseline),
        (
            Message("Words"),
            Message(
                "those in at least {min_group} explained texts: {names_count:,}",
                min_group=subject.min_group,
                names_count=word_count,
            ),
        ),
    ]
    return settings_facts(subject, "texts", row_count, facts)


def _shown_attention(
    subject: Subject, parts: SegmentedRows, rows: NDArray[np.int64], method: str, unknown: Measurement
) -> Evidence:
    """Return the words that attention rests on, as what it is."""
    received = attribute_words(method, parts, progress=subject.progress)
    by_word = words(subject, tokens_of(subject, rows, parts.inputs, received))
    share = term_shares(by_word, METHODS[method].reference, level=subject.conf_level, name="word_attention_share")
    chart = SliceChart(title=Message("Attention by word"), note=ATTENTION, measurement=share.id, by=share.by)
    facts = [(Message("Method"), Message("the mean attention that a word receives, over words, heads and layers"))]
    return Evidence(
        measurements=[share, unknown],
        exhibits=[
            chart,
            settings_facts(subject, "texts", len(received), facts),
            not_computed_again(method, "text"),
        ],
        notes=[ATTENTION, *sample_notes(subject, "texts", len(received), show_rows=False)],
    )


def _first(share: Measurement) -> str:
    """Say which word weighs most."""
    if not share.slices:
        return ""
    first = share.slices[0]
    evidence = Message(" ({interval})", interval=span(first.interval, "share")) if first.interval is not None else ""
    share_of_all = number(first.value or 0.0, "share")
    return Message(
        "The word that weighs most is '{text}': {share_of_all} of all attribution{evidence}.",
        text=first.group.text,
        share_of_all=share_of_all,
        evidence=evidence,
    )


def _direction_charts(subject: Subject, directed: Sequence[Measurement], stamped: str) -> list[Exhibit]:
    outcome = f"{subject.schema.target} = {subject.task.positive}"
    return [
        SliceChart(
            title=Message(
                "{capitalize}s that speak for and against {outcome}",
                capitalize=Message("Word") if measurement.by[0] == "word" else Message("Phrase"),
                outcome=outcome,
            ),
            note=Message(
                "{stamped}{part} adds to {target} of a text that holds it, on average.",
                stamped=stamped,
                part=Message("What a word") if measurement.by[0] == "word" else Message("What a phrase"),
                target=subject.task.target_name(),
            ),
            measurement=measurement.id,
            by=measurement.by,
        )
        for measurement in directed
    ]


def _unknown_rate(ids: NDArray[np.int64], read: Texts, *, level: float) -> Measurement:
    """Return `explainability.unknown_word_rate`: the share of tokens that the vocabulary does not hold."""
    definition = Message("in-house: what the model cannot see, no explanation can show")
    if read.vocabulary is None:
        return Measurement(
            id="explainability.unknown_word_rate",
            unit="rate",
            better="lower",
            count=len(ids),
            definition=definition,
            reason=OWN_TOKENIZER,
        )
    unknown, tokens = (ids == UNKNOWN).sum(axis=1).astype(float), (ids != PADDING).sum(axis=1).astype(float)
    value, low, high = ratio_of_means(unknown[:, None], tokens, level=level)
    return Measurement(
        id="explainability.unknown_word_rate",
        value=float(value[0]),
        unit="rate",
        better="lower",
        count=len(ids),
        interval=ratio_interval(low[0], high[0], level),
        definition=definition,
    )


def _examples(
    subject: Subject, rows: NDArray[np.int64], ids: NDArray[np.int64], attributions: Floats, stamped: str
) -> Table:
    """Return prototypes of each class and the worst errors, with the words that weighed most in them."""
    sureness = subject.predictions.probabilities[rows].max(axis=1)

    def surest(members: NDArray[np.int64]) -> NDArray[np.int64]:
        return members[np.argsort(-sureness[members], kind="stable")][:ROWS_SHOWN]

    typical, worst, _ = shown_rows(subject, rows, surest, ROWS_SHOWN)
    chosen = [(Message("surest {name}", name=name), row) for name, row in typical] + [
        (Message("worst error"), row) for row in worst
    ]
    feature, classes = subject.schema.features[0], subject.schema.classes
    table = []
    for what, row in chosen:
        order = np.argsort(-np.abs(attributions[row]), kind="stable")[:4]
        weights = [
            f"{feature.word(ids[row, place]) or '(unknown)'} {attributions[row, place]:+.2f}"
            for place in order
            if ids[row, place] != PADDING
        ]
        text = str(subject.data.frame[feature.name].iloc[rows[row]])
        table.append(
            (
                what,
                shortened(text),
                classes[subject.labels[rows[row]]],
                classes[subject.predictions.labels[rows[row]]],
                float(sureness[row]),
                ", ".join(weights),
            )
        )
    return Table(
        title=Message("Single texts, and the words that weighed most in them"),
        note=Message(
            "{stamped}Chosen by how sure the model is: right ones of each class, and the worst errors.", stamped=stamped
        ),
        columns=(
            Column(name=Message("chosen as")),
            Column(name=Message("text")),
            Column(name=Message("label")),
            Column(name=Message("predicted")),
            Column(name=Message("probability"), unit="rate"),
            Column(name=Message("words")),
        ),
        rows=tuple(table),
    )
