"""How a language model holds when the beginning of a text gets worse: the rest of it, and what it says next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.robustness import statistics
from auditkit.auditors.robustness.contexts import FEWEST_WORDS, ContextChange, Divided, context_changes, divided
from auditkit.engine.breakdowns import breakdowns_of
from auditkit.engine.sampling import sample_rows
from auditkit.engine.subject import Subject
from auditkit.engine.texts import texts_of
from auditkit.engine.work import CORRUPTIONS
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Column, Evidence, Measurement, SliceTable, Table
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import CausalLanguageModel, LanguageModel
from auditkit.stats import sampled
from auditkit.stats.estimates import Breakdown, Estimate, Quantity, measure
from auditkit.stats.sampling import SIMPLE, Sampling

if TYPE_CHECKING:
    from auditkit.auditors.robustness.auditor import Robustness

Floats = NDArray[np.float64]
FEWEST_TEXTS = 10
ADDED = Message(
    "added bits that the model needs for a byte of the second half of a text (UTF-8) when the first half is changed. "
)
NEXT = Message("share of texts whose likeliest next token changes when the first half is changed. ")
CHOSEN = Message("share of texts of which another answer is the most probable one, per byte, when they are changed. ")


class Said(NamedTuple):
    """What a model says of texts, (texts,): bits for a byte of their ends, NaN for none, and a code of what is next."""

    bits: Floats
    chosen: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Asked:
    """The texts that are changed: their places among the audited rows, and each in two parts.

    With `answers` these are what is chosen among, behind the whole text.
    """

    subject: Subject
    rows: NDArray[np.int64]
    parts: Sequence[Divided]
    answers: tuple[str, ...]

    def said(self, beginnings: Sequence[str]) -> Said:
        """Return what the model says when the texts begin so."""
        if self.answers:
            scores = [self._bits(beginnings, [f" {answer}"] * len(beginnings)) for answer in self.answers]
            return Said(np.full(len(beginnings), np.nan), np.argmin(scores, axis=0).astype(np.int64))
        return Said(self._bits(beginnings, [part.ending for part in self.parts]), self._next(beginnings))

    def _bits(self, beginnings: Sequence[str], endings: Sequence[str]) -> Floats:
        """Return the bits for a byte of each ending behind its beginning, from its first token on."""
        subject = self.subject
        able = subject.model.require(LanguageModel)
        texts = [begin + end for begin, end in zip(beginnings, endings, strict=True)]
        found = able.score(texts, device=subject.device, progress=subject.progress)
        return np.array(
            [
                -one.log_probabilities[one.spans[:, 1] > len(begin)].sum() / np.log(2) / len(end.encode())
                for one, begin, end in zip(found, beginnings, endings, strict=True)
            ]
        )

    def _next(self, beginnings: Sequence[str]) -> NDArray[np.int64]:
        """Return the likeliest token behind each beginning; -1 for all where the model cannot continue a text."""
        able = self.subject.audited.capability(CausalLanguageModel)
        if able is None:
            return np.full(len(beginnings), -1, dtype=np.int64)
        prompts = [able.tokens(text)[0].tolist() for text in beginnings]
        return able.greedy(prompts, 1, device=self.subject.device, progress=self.subject.progress)[:, 0]


def passes_of_text(settings: Robustness) -> int:
    """Return how often a text goes through the model: as it is, and changed in every way at every strength.

    Each time its end is scored and the next token asked for, or each of the answers is scored.
    """
    changes = context_changes([], settings.synonyms, settings.prefixes, seed=0)
    return (len(settings.answers) or 2) * (1 + sum(len(change.strengths) for change in changes))


def language_evidence(subject: Subject, settings: Robustness) -> Evidence:
    """Change the beginnings of a sample of texts in every way, and measure what it does, overall and by group.

    Raises:
        NotRun: fewer than 10 texts have enough words.
    """
    wanted = min(settings.rows, len(subject.labels))
    drawn = sample_rows(subject, subject.work.rows(wanted, passes_of_text(settings), CORRUPTIONS))
    texts = texts_of(subject.data.frame.iloc[drawn], subject.schema)
    parts = [divided(text, whole=bool(settings.answers)) for text in texts]
    kept = np.array([place for place, part in enumerate(parts) if part is not None], dtype=np.int64)
    if len(kept) < FEWEST_TEXTS:
        raise NotRun(
            Message(
                "needs at least {fewest} texts of {words} words or more, got {n:,}",
                fewest=FEWEST_TEXTS,
                words=FEWEST_WORDS,
                n=len(kept),
            )
        )
    asked = Asked(subject, drawn[kept], [part for part in parts if part is not None], settings.answers)
    beginnings = [part.beginning for part in asked.parts]
    before = asked.said(beginnings)
    changes = context_changes(beginnings, settings.synonyms, settings.prefixes, seed=subject.seed)
    tried: list[tuple[ContextChange, list[Said]]] = []
    for done, change in enumerate(changes, 1):
        subject.progress(done / (len(changes) + 1), change.title.lower())
        tried.append((change, [asked.said(change.at(strength)) for strength in change.strengths]))
    notes = [
        Message(
            "The {part} of {n:,} of {count:,} texts was changed; {short:,} of those drawn have under {words} words.",
            part=Message("whole") if settings.answers else Message("first half"),
            n=len(kept), count=len(subject.labels), short=len(drawn) - len(kept), words=FEWEST_WORDS,
        ),
        *subject.work.limited(len(drawn), wanted),
    ]  # fmt: skip
    breakdowns = [Breakdown(min_group=subject.min_group, sampling=subject.sampling)]
    breakdowns += [breakdown for breakdown, _ in breakdowns_of(subject, 1, notes)]
    measurements = [
        one
        for change, after in tried
        for breakdown in breakdowns
        for one in _measured(change, before, after[0], breakdown.take(asked.rows), subject.conf_level, settings)
    ]
    measured = {one.id for one in measurements}
    tables = [
        SliceTable(
            title=Message("Changed beginnings by {column}", column=column),
            measurements=tuple(sorted(measured)),
            by=(column,),
        )
        for column in subject.sensitive
    ]
    return Evidence(measurements=measurements, exhibits=[_table(before, tried), *tables], notes=notes)


def _measured(
    change: ContextChange, before: Said, after: Said, breakdown: Breakdown, level: float, settings: Robustness
) -> Iterator[Measurement]:
    how = Message("{means} Strength {strength:.0f} %.", means=change.means, strength=100 * change.strengths[0])
    known = np.flatnonzero(np.isfinite(before.bits) & np.isfinite(after.bits))
    if len(known):
        added = (after.bits - before.bits)[known]
        quantity = Quantity(f"robustness.{change.name}_bits_per_byte_increase", "number", "lower", ADDED + how)
        yield measure(quantity, _mean, added, added, breakdown.take(known), level)
    if (before.chosen >= 0).all():
        definition = (CHOSEN if settings.answers else NEXT) + how
        quantity = Quantity(f"robustness.{change.name}_flip_rate", "rate", "lower", definition)
        yield measure(quantity, _changed, before.chosen, after.chosen, breakdown, level)


def _mean(added: Floats, _: Floats, levels: Sequence[float], sampling: Sampling = SIMPLE) -> Estimate:
    """Return the weighted mean of what is added, paired by text: 0 is ideal."""
    return sampled.mean_estimate(added, levels, sampling)


def _changed(
    before: NDArray[np.int64], after: NDArray[np.int64], levels: Sequence[float], sampling: Sampling = SIMPLE
) -> Estimate:
    """Return the share of texts of which another token or answer is chosen than before: 0 is ideal."""
    if sampling.is_simple:
        return statistics.flip_rate(before, after, levels)
    weights, changed = sampling.weights_of(len(before)), (before != after).astype(np.float64)
    value = float((weights * changed).sum() / weights.sum())
    return sampled.rate_estimate(value, weights * (changed - value) / weights.sum(), levels, sampling)


def _table(before: Said, tried: Sequence[tuple[ContextChange, list[Said]]]) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for change, answers in tried:
        for strength, after in zip(change.strengths, answers, strict=True):
            added = after.bits - before.bits
            rows.append(
                (
                    change.title,
                    strength,
                    float(np.nanmean(added)) if np.isfinite(added).any() else None,
                    float((after.chosen != before.chosen).mean()) if (before.chosen >= 0).all() else None,
                )
            )
    return Table(
        title=Message("Effect of changed beginnings"),
        note=Message(
            "The end of each text stays as it is; it is scored behind its beginning, and behind the changed one. The "
            "first strength of each change is the one that is measured by group."
        ),
        columns=(
            Column(name=Message("Change")),
            Column(name=Message("Strength"), unit="rate"),
            Column(name=Message("Bits per byte added"), unit="number"),
            Column(name=Message("Choices changed"), unit="rate"),
        ),
        rows=tuple(rows),
    )
