"""How a text's score moves when the words that name a group of people in it are swapped for another group's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.fairness.term_groups import (
    SLOT,
    TermGroups,
    check_term_groups,
    read_term_groups,
    shipped_term_groups,
)
from auditkit.engine.subject import Subject
from auditkit.engine.work import SWAPS
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import (
    Column,
    Evidence,
    Exhibit,
    Facts,
    Group,
    Interval,
    Measurement,
    Slice,
    SliceChart,
    Table,
)
from auditkit.evidence.messages import Message
from auditkit.modalities.base import OWN_TOKENIZER, Texts
from auditkit.models.predict import predict
from auditkit.schema.text import cased_words
from auditkit.stats.intervals import proportion_interval, simultaneous_level
from auditkit.stats.paired import differences_from_mean, paired_gap

Floats = NDArray[np.float64]

SOURCE = Message("Kiritchenko & Mohammad 2018, arXiv:1805.04508; Garg et al. 2019, arXiv:1809.10610")
T_METHODS = {
    "template": Message("Student's t over terms or templates that are scored once for each group"),
    "sentence": Message("Student's t over audited texts that are scored once for each group"),
}


@dataclass(frozen=True)
class Versions:
    """The texts whose versions the model can tell apart, as it reads them: (texts, groups, length).

    `positions`, (texts,), are theirs among all texts, and `clusters`, (texts,), number what belongs together.
    """

    positions: NDArray[np.int64]
    inputs: NDArray[np.int64]
    clusters: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Rewritten:
    """The versions of an attribute's templates and of audited texts; of all texts `holding_count` hold a term.

    `filled` are the templates, one for each term in it, and `most` is how many audited texts the budget pays for.
    """

    attribute: str
    groups: TermGroups
    filled: Sequence[str]
    templates: Versions
    sentences: Versions
    holding_count: int
    most: int


@dataclass(frozen=True)
class Scored:
    """The texts whose versions the model can tell apart: their positions, (texts,), and scores, (texts, groups).

    `clusters`, (texts,), numbers what belongs together: an interval is over clusters.
    """

    positions: NDArray[np.int64]
    scores: Floats
    clusters: NDArray[np.int64]

    def means(self) -> Floats:
        """Return the mean scores of the texts that belong together: (clusters, groups)."""
        found = [self.scores[self.clusters == cluster].mean(axis=0) for cluster in np.unique(self.clusters)]
        return np.array(found).reshape(-1, self.scores.shape[1])


@dataclass(frozen=True, kw_only=True)
class IdentityTerms:
    """Swaps names, genders and origins in templates and in at most `rows` audited texts, and measures the score.

    `terms` adds attributes to those that auditkit ships, or replaces one of the same name; each is a table of a
    `source`, `groups` with as many terms each, and `templates` (auditkit/auditors/fairness/term_groups.toml).
    """

    rows: int = 2000
    terms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    requires: ClassVar = ("predictions", "model")
    read_from_file: ClassVar = {"terms": read_term_groups}
    measures: ClassVar = tuple(
        f"identity_terms.{name}"
        for name in (
            "template_score_difference",
            "template_score_gap",
            "sentence_score_difference",
            "sentence_score_gap",
            "decision_flip_rate",
            "known_term_rate",
        )
    )

    def __post_init__(self) -> None:
        """Refuse a sample of nothing, and terms that do not match."""
        if self.rows < 1:
            raise InputError(f"rows must be at least 1, got {self.rows}.")
        check_term_groups(self.terms)

    def passes(self, subject: Subject) -> float:
        """Return how often a text goes through the model: once for each version of a text that it can tell apart.

        Raises:
            NotRun: the model scores no texts of two classes, or the budget pays for no text.
        """
        read = _scored_texts(subject)
        rewritten = self._rewritten(subject, read)
        return sum(
            float(np.prod(part.inputs.shape[:2])) for one in rewritten for part in (one.templates, one.sentences)
        )

    def audit(self, subject: Subject) -> Evidence:
        """Score every version of the templates and of the audited texts that hold a term."""
        read = _scored_texts(subject)
        _ = subject.predictions.probabilities  # a model without probabilities is not run, with that reason
        measurements: list[Measurement] = []
        exhibits: list[Exhibit] = []
        notes: list[str] = []
        facts: list[tuple[str, str]] = []
        for one in self._rewritten(subject, read):
            attribute, groups = one.attribute, one.groups
            templates, sentences = _scored(subject, one.templates), _scored(subject, one.sentences)
            found = [
                *_measured("template", attribute, groups, templates, subject, least=2),
                *_measured("sentence", attribute, groups, sentences, subject, least=subject.min_group),
                _flips(attribute, sentences, subject),
                _known(attribute, groups, read, subject.conf_level),
            ]
            measurements += found
            exhibits += _charts(attribute, found)
            if len(templates.scores):
                exhibits.append(_templates_table(attribute, groups, one.filled, templates))
            facts.append((attribute.capitalize(), _compared_texts(groups, templates, sentences, one.holding_count)))
            if one.holding_count > one.most:
                notes.append(
                    Message(
                        "A seeded sample of {rows:,} of {holding_count:,} texts with terms of {attribute} is compared.",
                        rows=one.most,
                        holding_count=one.holding_count,
                        attribute=attribute,
                    )
                )
        exhibits.append(
            Facts(
                title=Message("Which texts were compared"),
                note=Message(
                    "Only texts whose versions the model can tell apart: a term that its vocabulary does not "
                    "hold is read as an unknown word."
                ),
                rows=tuple(facts),
            )
        )
        return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)

    def _rewritten(self, subject: Subject, read: Texts) -> Iterator[Rewritten]:
        """Yield for each attribute the versions of its templates and of the audited texts that hold a term."""
        chosen = np.random.default_rng(subject.seed).permutation(len(subject.labels))
        texts = subject.data.frame[read.column].iloc[chosen]
        tokens = [cased_words(text) if isinstance(text, str) else [] for text in texts]
        every = check_term_groups({**shipped_term_groups(), **self.terms})
        for attribute, groups in every.items():
            filled, versions = groups.filled(), len(groups.groups)
            most = subject.work.rows(self.rows + len(filled), versions * len(every), SWAPS) - len(filled)
            if most < 1:
                raise subject.work.too_dear(versions * len(every))
            holding = [text for text in tokens if groups.places(text[: read.length])]
            yield Rewritten(
                attribute=attribute,
                groups=groups,
                filled=[text.template for text in filled],
                templates=_versions(read, groups, [text.tokens for text in filled], [text.cluster for text in filled]),
                sentences=_versions(read, groups, holding[:most], range(len(holding[:most]))),
                holding_count=len(holding),
                most=most,
            )


def _scored_texts(subject: Subject) -> Texts:
    """Return how the model reads the texts that it scores.

    Raises:
        NotRun: it reads none, or does not decide between two classes.
    """
    read = subject.modality.texts
    if read is None:
        raise NotRun(Message("the model does not read text"))
    if subject.task.positive is None:
        raise NotRun(Message("it compares the score of a positive class, which only a model of two classes has"))
    return read


def _versions(read: Texts, groups: TermGroups, texts: Sequence[Sequence[str]], clusters: Sequence[int]) -> Versions:
    """Write texts, given as tokens, with the terms of each group; keep those whose versions the model reads apart."""
    count = len(groups.groups)
    rewritten = [" ".join(version) for text in texts for version in groups.versions(text)]
    by_text = read.encode(rewritten).reshape(len(texts), count, read.length)
    kept = np.flatnonzero((by_text != by_text[:, :1]).any(axis=(1, 2)))
    return Versions(kept, by_text[kept], np.asarray(clusters, dtype=np.int64)[kept])


def _scored(subject: Subject, versions: Versions) -> Scored:
    """Score each version of texts."""
    kept, count, length = versions.inputs.shape
    if not kept:
        return Scored(versions.positions, np.zeros((0, count)), versions.clusters)
    predictions = predict(
        subject.model.module,
        versions.inputs.reshape(kept * count, length),
        subject.schema,
        device=subject.device,
        progress=subject.progress,
    )
    return Scored(versions.positions, predictions.scores.reshape(kept, count), versions.clusters)


def _measured(
    what: str, attribute: str, groups: TermGroups, scored: Scored, subject: Subject, *, least: int
) -> list[Measurement]:
    """Return by how much each group's score differs from the mean of all groups, and the largest gap of two groups."""
    level, names = subject.conf_level, list(groups.groups)
    named = [Group(by=(attribute,), key=(name,)) for name in names]
    units = scored.means()
    over = Message("terms or templates") if what == "template" else Message("audited texts")
    reason = None
    if len(units) < max(least, 2):
        reason = Message(
            "the model can tell the versions of only {units_count} {over} apart", units_count=len(units), over=over
        )
    slices: list[Slice] = []
    interval = compared = None
    value: float | None = None
    if reason is None:
        method = T_METHODS[what]
        slices = _differences(units, named, len(scored.scores), method, level)
        gap = paired_gap(units, level)
        value = gap.value
        pairs = len(names) * (len(names) - 1) // 2
        family = Message(", Bonferroni over {pairs} pairs", pairs=pairs) if pairs > 1 else ""
        interval = Interval(low=gap.low, high=gap.high, level=level, method=method + family + gap.joined)
        compared = named[gap.lowest], named[gap.highest]
    return [
        Measurement(
            id=f"identity_terms.{what}_score_gap",
            by=(attribute,),
            value=value,
            unit="rate_difference",
            better="lower",
            count=len(scored.scores),
            interval=interval,
            compared=compared,
            definition=SOURCE,
            reason=reason,
        ),
        Measurement(
            id=f"identity_terms.{what}_score_difference",
            by=(attribute,),
            unit="rate_difference",
            better="neither",
            count=len(scored.scores),
            slices=tuple(slices),
            definition=SOURCE,
            reason=reason,
        ),
    ]


def _differences(units: Floats, named: Sequence[Group], count: int, method: str, level: float) -> list[Slice]:
    """Return by how much each group's mean score differs from the mean of all groups; `units` are (texts, groups)."""
    values, alone = differences_from_mean(units, level)
    _, together = differences_from_mean(units, simultaneous_level(level, len(named)))
    family = Message("{method}, Sidak over {names_count} groups", method=method, names_count=len(named))
    return [
        Slice(
            group=group,
            value=float(value),
            count=count,
            interval=Interval(low=own.low, high=own.high, level=level, method=method + own.joined),
            simultaneous_interval=Interval(low=wide.low, high=wide.high, level=level, method=family + wide.joined),
        )
        for group, value, own, wide in zip(named, values, alone, together, strict=True)
    ]


def _flips(attribute: str, sentences: Scored, subject: Subject) -> Measurement:
    """Return `identity_terms.decision_flip_rate`: how often some swap changes the decision on an audited text."""
    count = len(sentences.scores)
    enough = count >= max(subject.min_group, 1)
    positive = sentences.scores >= subject.decision_threshold
    flipped = int((positive != positive[:, :1]).any(axis=1).sum())
    interval = None
    if enough:
        low, high = proportion_interval(flipped, count, subject.conf_level)
        interval = Interval(
            low=float(low), high=float(high), level=subject.conf_level, method=Message("Wilson or Clopper-Pearson")
        )
    return Measurement(
        id="identity_terms.decision_flip_rate",
        by=(attribute,),
        value=flipped / count if enough else None,
        unit="rate",
        better="lower",
        count=count,
        interval=interval,
        definition=SOURCE,
        reason=None
        if enough
        else Message("the model can tell the versions of only {count} audited texts apart", count=count),
    )


def _known(attribute: str, groups: TermGroups, read: Texts, level: float) -> Measurement:
    """Return `identity_terms.known_term_rate`: the share of each group's terms that the model's vocabulary holds."""
    slices = []
    known = read.vocabulary or frozenset()
    for name, terms in ({} if read.vocabulary is None else groups.groups).items():
        listed = {term.lower() for term in terms}
        rate = len(listed & known) / len(listed)
        exact = Interval(low=rate, high=rate, level=level, method=Message("exact: a count of terms"))
        group = Group(by=(attribute,), key=(name,))
        slices.append(Slice(group=group, value=rate, count=len(listed), interval=exact, simultaneous_interval=exact))
    return Measurement(
        id="identity_terms.known_term_rate",
        by=(attribute,),
        unit="rate",
        better="neither",
        count=sum(part.count for part in slices),
        slices=tuple(slices),
        definition=Message("in-house: the model reads all terms that its vocabulary does not hold alike"),
        reason=OWN_TOKENIZER if read.vocabulary is None else None,
    )


def _charts_by(attribute: str) -> dict[str, tuple[Message, Message]]:
    """Return the title and the note of the chart of a measurement, by its id."""
    return {
        "identity_terms.template_score_difference": (
            Message(
                "Made-up texts: the score by terms of {attribute}, less the mean of all groups", attribute=attribute
            ),
            Message("The same templates with each group's terms. Zero is no difference."),
        ),
        "identity_terms.sentence_score_difference": (
            Message(
                "Audited texts: the score by terms of {attribute}, less the mean of all groups", attribute=attribute
            ),
            Message("The same texts, rewritten with each group's terms. Zero is no difference."),
        ),
    }


def _charts(attribute: str, found: Sequence[Measurement]) -> list[Exhibit]:
    words = _charts_by(attribute)
    charts: list[Exhibit] = []
    for measurement in found:
        if measurement.id in words and measurement.slices:
            title, note = words[measurement.id]
            charts.append(SliceChart(title=title, note=note, measurement=measurement.id, by=measurement.by))
    return charts


def _templates_table(attribute: str, groups: TermGroups, templates: Sequence[str], scored: Scored) -> Table:
    """Return the mean score of each template by group, over the terms that were put into it."""
    rows: dict[str, list[Floats]] = {}
    for position, scores in zip(scored.positions, scored.scores, strict=True):
        rows.setdefault(templates[position], []).append(scores)
    return Table(
        title=Message("Made-up texts by {attribute}", attribute=attribute),
        note=Message(
            "The mean score of each template with each group's terms; {slot} stands for each term in turn.", slot=SLOT
        ),
        columns=(Column(name=Message("template")), *(Column(name=name, unit="rate") for name in groups.groups)),
        rows=tuple((template, *(float(mean) for mean in np.mean(scores, axis=0))) for template, scores in rows.items()),
    )


def _compared_texts(groups: TermGroups, templates: Scored, sentences: Scored, holding: int) -> str:
    return Message(
        "{scores_count:,} made-up texts; {scores_count_2:,} of {holding:,} audited texts that hold a "
        "term. Terms: {source}.",
        scores_count=len(templates.scores),
        scores_count_2=len(sentences.scores),
        holding=holding,
        source=groups.source,
    )
