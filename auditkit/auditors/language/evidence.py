"""From the scores of tokens to measurements by group, their gaps, and a calibration curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.language.rates import calibration_error, mean, perplexity, scored_texts, weighted_by
from auditkit.engine.breakdowns import breakdowns_of
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Evidence, Exhibit, Facts, Measurement, SliceChart, SliceTable, Unit
from auditkit.evidence.messages import Message, title
from auditkit.models.capabilities import LanguageModel
from auditkit.models.language import TokenScores
from auditkit.stats import calibration
from auditkit.stats.distances import mean_gap_measurement
from auditkit.stats.estimates import Breakdown, Quantity, Statistic, measure
from auditkit.stats.sampling import Sampling

BITS = Message(
    "bits that the model needs for a byte of text (UTF-8): comparable between models whatever their tokens; weighted "
    "by the bytes of each text"
)
PERPLEXITY = Message(
    "exponential of the mean negative log-probability of a token (Jelinek et al. 1977); not comparable between models "
    "of different tokens"
)
CALIBRATION = Message(
    "difference of the probability of the likeliest next token and the share in which it is the true one, over 15 bins "
    "(Guo et al. 2017)"
)
GAPS = {
    "bits_per_byte": Message("highest minus lowest bits per byte of a group"),
    "calibration_error": Message("highest minus lowest calibration error of a group"),
}
UNKNOWN = ("[UNK]", "<unk>")
Given = tuple[NDArray[np.float64], NDArray[np.float64]]


def language_evidence(subject: Subject, intersections: int) -> Evidence:
    """Measure all texts, each group, and the largest gaps between groups.

    Raises:
        NotRun: no text has a token whose probability is known.
    """
    scores = subject.token_scores
    texts = scored_texts(scores)
    if not len(texts.rows):
        raise NotRun(Message("no text has a token whose probability is known"))
    bits, nats = texts.nats / np.log(2) / texts.bytes, texts.nats / texts.tokens
    token_rows = np.repeat(texts.rows, texts.tokens.astype(np.int64))
    hits = np.concatenate([scores[row].top_hits for row in texts.rows]).astype(np.float64)
    promised = np.concatenate([scores[row].top_probabilities for row in texts.rows])
    level = subject.conf_level
    measurements: list[Measurement] = []

    def measured(breakdown: Breakdown) -> None:
        part = breakdown.take(texts.rows)
        by_bytes = replace(part, sampling=weighted_by(texts.bytes, part.sampling))
        by_tokens = replace(part, sampling=weighted_by(texts.tokens, part.sampling))
        kept, among = _of_tokens(breakdown, token_rows)
        quantities: tuple[tuple[str, Statistic, Given, Breakdown, Unit, Message], ...] = (
            ("bits_per_byte", mean, (bits, bits), by_bytes, "number", BITS),
            ("perplexity", perplexity, (nats, nats), by_tokens, "number", PERPLEXITY),
            (
                "calibration_error",
                calibration_error,
                (hits[kept], promised[kept]),
                among,
                "rate_difference",
                CALIBRATION,
            ),
        )
        for name, statistic, given, rows, unit, definition in quantities:
            quantity = Quantity(f"language.{name}", unit, "lower", definition)
            measurements.append(measure(quantity, statistic, *given, rows, level))
            if breakdown.columns and name in GAPS:
                difference = Quantity(f"language.{name}_difference", unit, "lower", GAPS[name])
                measurements.append(mean_gap_measurement(difference, statistic, *given, rows, level=level))

    notes: list[str] = []
    measured(Breakdown(min_group=subject.min_group, sampling=subject.sampling))
    exhibits: list[Exhibit] = [_read(subject, scores), _curve(hits, promised, subject)]
    for breakdown, by in breakdowns_of(subject, intersections, notes):
        measured(breakdown)
        exhibits += _exhibits(breakdown.columns, by)
    empty = len(scores) - len(texts.rows)
    if empty:
        notes.append(
            Message("{empty:,} of {count:,} texts have no token and were left out.", empty=empty, count=len(scores))
        )
    exhibits.sort(key=lambda exhibit: exhibit.kind == "slice_table")
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _of_tokens(breakdown: Breakdown, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Breakdown]:
    """Return the places of the tokens of groups with enough texts, and their breakdown.

    `rows` has the text of each token. The tokens of a text are a cluster, or part of its cluster.
    """
    kept = np.arange(len(rows))
    if breakdown.codes is not None:
        sizes = np.bincount(breakdown.codes[np.unique(rows)], minlength=len(breakdown.names))
        kept = np.flatnonzero(sizes[breakdown.codes[rows]] >= breakdown.min_group)
    rows, sampling = rows[kept], breakdown.sampling
    clusters = rows if sampling.clusters is None else sampling.clusters[rows]
    weights = None if sampling.weights is None else sampling.weights[rows]
    codes = None if breakdown.codes is None else breakdown.codes[rows]
    units = np.unique(clusters, return_inverse=True)[1]
    return kept, replace(breakdown, codes=codes, sampling=Sampling(weights, units))


def _read(subject: Subject, scores: list[TokenScores]) -> Facts:
    """Return how texts were read: tokens, bytes, windows and unknown tokens."""
    able = subject.model.require(LanguageModel)
    start, context = able.start, able.context
    names = subject.schema.features[0].vocabulary
    counted = sum(len(one.ids) for one in scores)
    unknown = [code for code, name in enumerate(names) if name in UNKNOWN]
    strange = sum(int(np.isin(one.ids, unknown).sum()) for one in scores)
    long = sum(len(one.ids) + 1 > context for one in scores)
    before = Message("none: the first token of a text has no score") if not start else names[start[0]]
    return Facts(
        title=Message("How the texts were read"),
        note=Message("Unknown tokens are easy to predict, so that they make a model look better than it is."),
        rows=(
            (Message("tokens scored"), f"{counted:,}"),
            (Message("bytes of text"), f"{sum(one.byte_count for one in scores):,}"),
            (Message("tokens read at once"), f"{context:,}"),
            (Message("texts read in several windows that overlap by half"), f"{long:,}"),
            (Message("token before a text"), before),
            (Message("unknown tokens"), f"{strange:,}"),
        ),
    )


def _curve(hits: NDArray[np.float64], promised: NDArray[np.float64], subject: Subject) -> Exhibit:
    """Return the calibration curve of the likeliest tokens, without a band: tokens of a text are not independent."""
    bins = calibration.bin_probabilities(hits > 0, promised)
    found = calibration.curve(bins, class_count=3, level=subject.conf_level, min_group=subject.min_group)
    lines = tuple(line.model_copy(update={"low": None, "high": None}) for line in found.lines)
    heading = Message("Calibration: probability of the likeliest next token")
    note = Message("{bins} bins of equal width.", bins=len(bins.rows))
    return found.model_copy(update={"title": heading, "note": note, "lines": lines})


def _exhibits(columns: tuple[str, ...], by: str) -> list[Exhibit]:
    heading = Message("{what} by {by}", what=title("language.bits_per_byte"), by=by)
    chart = [SliceChart(title=heading, measurement="language.bits_per_byte", by=columns)] if len(columns) == 1 else []
    ids = ("language.bits_per_byte", "language.perplexity", "language.calibration_error")
    return [*chart, SliceTable(title=Message("Language model by {by}", by=by), measurements=ids, by=columns)]
