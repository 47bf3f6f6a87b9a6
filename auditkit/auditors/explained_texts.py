"""A network over texts explained: which words drive it, in which direction, and whether to believe it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from auditkit.attribution import parts
from auditkit.attribution.decision import Decision, Floats
from auditkit.auditors.trust import (
    GRADIENTS,
    RATIO_METHOD,
    checks_table,
    completeness_check,
    failed_checks,
    mean_check,
    stamp,
    trust_notes,
)
from auditkit.errors import NotRun
from auditkit.evidence.intervals import mean_interval, simultaneous_level
from auditkit.evidence.measurement import (
    Column,
    Evidence,
    Exhibit,
    Facts,
    Interval,
    Measurement,
    Slice,
    SliceChart,
    Table,
)
from auditkit.metrics.attributions import ratio_of_means
from auditkit.subject.subject import Subject
from auditkit.subject.tokens import FIRST_WORD, PADDING, UNKNOWN

WORDS_SHOWN = 15
ROWS_SHOWN = 5
SOURCE = f"{GRADIENTS}; captum.attr.LayerIntegratedGradients on the embeddings"


def explain_texts(
    subject: Subject,
    decision: Decision,
    embedding: torch.nn.Module,
    randomised: tuple[Decision, torch.nn.Module],
    rows: NDArray[np.int64],
    *,
    show_rows: bool,
) -> Evidence:
    """Return the evidence about the words of the texts in `rows`.

    `randomised` is the decision, and the embedding, of the same network with all of its weights shuffled.
    """
    level, device = subject.conf_level, subject.device
    ids, predicted = subject.inputs[rows].astype(np.int64), subject.predictions.labels[rows]

    alone = parts.without_words(ids, np.ones(ids.shape, dtype=bool))
    change = parts.values(decision, ids, predicted, device) - parts.values(decision, alone, predicted, device)
    if not change.any():
        raise NotRun("the model's output does not change when every word is replaced by the unknown word")
    few = parts.checked_rows(len(rows), seed=subject.seed)
    steps = parts.enough_steps(
        lambda count: parts.word_attributions(
            decision, embedding, ids[few], predicted[few], steps=count, device=device
        ),
        change[few],
    )
    attributions = parts.word_attributions(
        decision, embedding, ids, predicted, steps=steps, device=device, progress=subject.progress
    )
    lengths = (ids[few] != PADDING).sum(axis=1)

    def decide(deleted: NDArray[np.bool_]) -> Floats:
        return parts.values(decision, parts.without_words(ids[few], deleted), predicted[few], device)

    shuffled = parts.word_attributions(*randomised, ids[few], predicted[few], steps=steps, device=device)
    checks = [
        completeness_check(attributions.sum(axis=1) - change, change, SOURCE, level),
        mean_check(
            "deletion_advantage",
            parts.deletion_advantage(decide, attributions[few], lengths, seed=subject.seed),
            "higher",
            0.0,
            "Samek et al. 2017, arXiv:1509.06321; words",
            level,
        ),
        mean_check(
            "randomised_weights_correlation",
            parts.rank_correlations(attributions[few], shuffled, lengths),
            "lower",
            0.8,
            "Adebayo et al. 2018, arXiv:1810.03292; all layers randomised; signed, over words",
            level,
        ),
    ]
    stamped = stamp(checks)
    vocabulary = subject.schema.features[0].vocabulary
    sums, sizes = _per_word(ids, attributions, len(vocabulary)), _per_word(ids, np.abs(attributions), len(vocabulary))
    common = np.flatnonzero(_row_counts(sizes) >= subject.min_group)
    common = common[common >= FIRST_WORD]
    names = [vocabulary[word - FIRST_WORD] for word in common]
    measurements = [
        _word_shares(sizes, common, names, level=level),
        _unknown_rate(ids, level=level),
        *(check.measurement for check in checks),
        failed_checks(checks, len(rows), level),
    ]
    exhibits: list[Exhibit] = [
        SliceChart(
            title="Share of attribution by word",
            note=f"{stamped}The words that weigh most over all texts, whichever way.",
            measurement="explainability.word_attribution_share",
            by=("word",),
        )
    ]
    if subject.schema.task == "binary":
        positive = subject.schema.classes[-1]
        measurements.insert(0, _word_directions(sums, sizes, common, names, level=level))
        exhibits.insert(
            0,
            SliceChart(
                title=f"Words that speak for and against {subject.schema.target} = {positive}",
                note=f"{stamped}What a word adds to the {_explained(subject)} of a text that holds it, on average.",
                measurement="explainability.word_attribution",
                by=("word",),
            ),
        )
    exhibits.append(checks_table(checks))
    if show_rows:
        exhibits.append(_examples(subject, rows, ids, attributions))
    exhibits.append(
        Facts(
            title="How the attributions were made",
            rows=(
                ("Method", f"layer integrated gradients on the embeddings, {steps} Gauss-Legendre steps, Captum"),
                ("Explained", f"the {_explained(subject)}"),
                ("Baseline", "the same text with every word replaced by the unknown word"),
                ("Sample", f"{len(rows):,} of {len(subject.labels):,} texts, drawn with seed {subject.seed}"),
                ("Words", f"those in at least {subject.min_group} explained texts: {len(common):,}"),
            ),
        )
    )
    notes = trust_notes(checks)
    if len(rows) < len(subject.labels):
        notes.append(f"A seeded sample of {len(rows):,} of {len(subject.labels):,} texts was explained.")
    if show_rows:
        notes.append("Single texts of the audited data are shown, as --show-rows asks.")
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _explained(subject: Subject) -> str:
    if subject.schema.task != "binary":
        return "logit of the predicted class"
    what = "probability" if subject.schema.output == "probabilities" else "log-odds"
    return f"{what} of {subject.schema.target} = {subject.schema.classes[-1]}"


def _per_word(ids: NDArray[np.int64], weights: Floats, word_count: int) -> sparse.csc_array:
    """Return what each word adds up to in each text: (rows, ids), with an entry wherever the text holds the word."""
    held = ids != PADDING
    row = np.broadcast_to(np.arange(len(ids))[:, None], ids.shape)[held]
    shape = (len(ids), FIRST_WORD + word_count)
    return sparse.coo_array((weights[held], (row, ids[held])), shape=shape).tocsc()


def _row_counts(by_word: sparse.csc_array) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = np.diff(by_word.indptr).astype(np.int64)
    return counts


def _word_directions(
    sums: sparse.csc_array, sizes: sparse.csc_array, common: NDArray[np.int64], names: list[str], *, level: float
) -> Measurement:
    """Return `explainability.word_attribution`: the mean attribution of a word over the texts that hold it."""
    together = simultaneous_level(level, len(common))
    slices = []
    for word, name in zip(common, names, strict=True):
        held = sums.data[sums.indptr[word] : sums.indptr[word + 1]]
        mean, variance = held.mean(), held.var(ddof=1)
        low, high = (float(end) for end in mean_interval(mean, variance, len(held), level))
        wide_low, wide_high = (float(end) for end in mean_interval(mean, variance, len(held), together))
        slices.append(
            Slice(
                name=name,
                value=float(mean),
                count=len(held),
                interval=Interval(low=low, high=high, level=level, method="Student's t over texts"),
                simultaneous_interval=Interval(
                    low=wide_low,
                    high=wide_high,
                    level=level,
                    method=f"Student's t over texts, Sidak over {len(common):,} words",
                ),
            )
        )
    slices.sort(key=lambda part: -(part.value or 0.0))
    shown = slices if len(slices) <= 2 * WORDS_SHOWN else slices[:WORDS_SHOWN] + slices[-WORDS_SHOWN:]
    return Measurement(
        id="explainability.word_attribution",
        by=("word",),
        unit="number",
        better="neither",
        count=sums.shape[0],
        slices=tuple(shown),
        source=SOURCE,
        reason=None if shown else "no word occurs in enough texts",
    )


def _word_shares(sizes: sparse.csc_array, common: NDArray[np.int64], names: list[str], *, level: float) -> Measurement:
    """Return `explainability.word_attribution_share`: the words with the largest share of all absolute attribution."""
    totals = np.asarray(sizes.sum(axis=0)).reshape(-1)[common]
    chosen = np.argsort(-totals, kind="stable")[:WORDS_SHOWN]
    per_row = np.asarray(sizes.sum(axis=1), dtype=np.float64).reshape(-1)
    slices: list[Slice] = []
    if len(chosen):
        columns = sizes[:, common[chosen]].toarray()
        value, low, high = ratio_of_means(columns, per_row, level=level)
        # The words were chosen among all: the intervals that allow for it hold for every one of them.
        _, wide_low, wide_high = ratio_of_means(columns, per_row, level=level, family_size=len(common))
        counts = _row_counts(sizes)
        for place, index in enumerate(chosen):
            slices.append(
                Slice(
                    name=names[index],
                    value=float(value[place]),
                    count=int(counts[common[index]]),
                    interval=Interval(
                        low=float(low[place]), high=float(min(high[place], 1)), level=level, method=RATIO_METHOD
                    ),
                    simultaneous_interval=Interval(
                        low=float(wide_low[place]),
                        high=float(min(wide_high[place], 1)),
                        level=level,
                        method=f"{RATIO_METHOD}, Bonferroni over {len(common):,} words",
                    ),
                )
            )
    return Measurement(
        id="explainability.word_attribution_share",
        by=("word",),
        unit="share",
        better="neither",
        count=sizes.shape[0],
        slices=tuple(slices),
        source=SOURCE,
        reason=None if slices else "no word occurs in enough texts",
    )


def _unknown_rate(ids: NDArray[np.int64], *, level: float) -> Measurement:
    """Return `explainability.unknown_word_rate`: the share of tokens that the vocabulary does not hold."""
    unknown, tokens = (ids == UNKNOWN).sum(axis=1).astype(float), (ids != PADDING).sum(axis=1).astype(float)
    value, low, high = ratio_of_means(unknown[:, None], tokens, level=level)
    return Measurement(
        id="explainability.unknown_word_rate",
        value=float(value[0]),
        unit="rate",
        better="lower",
        count=len(ids),
        interval=Interval(low=float(low[0]), high=float(min(high[0], 1)), level=level, method=RATIO_METHOD),
        source="in-house: what the model cannot see, no explanation can show",
    )


def _examples(subject: Subject, rows: NDArray[np.int64], ids: NDArray[np.int64], attributions: Floats) -> Table:
    """Return prototypes of each class and the worst errors, with the words that weighed most in them."""
    labels, predictions = subject.labels[rows], subject.predictions
    classes = subject.schema.classes
    sureness = predictions.probabilities[rows].max(axis=1)
    right = predictions.labels[rows] == labels
    chosen: list[tuple[str, int]] = []
    for code, name in enumerate(classes):
        members = np.flatnonzero(right & (labels == code))
        best = members[np.argsort(-sureness[members], kind="stable")][:ROWS_SHOWN]
        chosen += [(f"surest {name}", int(row)) for row in best]
    wrong = np.flatnonzero(~right)
    worst = wrong[np.argsort(-sureness[wrong], kind="stable")][:ROWS_SHOWN]
    chosen += [("worst error", int(row)) for row in worst]
    texts = subject.data.frame[subject.schema.features[0].name]
    vocabulary = subject.schema.features[0].vocabulary
    table = []
    for what, row in chosen:
        order = np.argsort(-np.abs(attributions[row]), kind="stable")[:4]
        weights = [
            f"{vocabulary[ids[row, place] - FIRST_WORD] if ids[row, place] >= FIRST_WORD else '(unknown)'} "
            f"{attributions[row, place]:+.2f}"
            for place in order
            if ids[row, place] != PADDING
        ]
        text = str(texts.iloc[rows[row]])
        table.append(
            (
                what,
                text if len(text) <= 200 else f"{text[:199]}…",
                classes[labels[row]],
                classes[predictions.labels[rows][row]],
                float(sureness[row]),
                ", ".join(weights),
            )
        )
    return Table(
        title="Single texts, and the words that weighed most in them",
        note="Chosen by how sure the model is: right ones of each class, and the worst errors.",
        columns=(
            Column(name="chosen as"),
            Column(name="text"),
            Column(name="label"),
            Column(name="predicted"),
            Column(name="probability", unit="rate"),
            Column(name="words"),
        ),
        rows=tuple(table),
    )
