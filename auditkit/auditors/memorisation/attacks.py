"""Membership of texts: each attack beside the blind baseline, overall and by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.memorisation.blind import SHUFFLES, Blind, blind_baseline
from auditkit.auditors.memorisation.material import Material
from auditkit.auditors.memorisation.membership import ATTACKS, attack_scores
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import (
    Column,
    Curve,
    Evidence,
    Group,
    Interval,
    Line,
    Measurement,
    Slice,
    Table,
    Unit,
)
from auditkit.evidence.messages import Message
from auditkit.models.language import TokenScores
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.membership import Bounded, roc_auc, true_positive_rate_at

Floats = NDArray[np.float64]
Estimator = Callable[[NDArray[np.bool_], Floats, float, NDArray[np.int64] | None], Bounded | None]

RATES = {"membership_true_positive_rate_at_1_percent": 0.01, "membership_true_positive_rate_at_0_1_percent": 0.001}
REFUSED_AT = 0.01
"""Membership is undefined where the blind classifier is so far above chance: in one of a hundred fair splits."""

FEWEST_OF_GROUP = 25
"""A group is measured from so many texts on either side on."""

AREA = Message(
    "area under the ROC curve of an attack that tells training texts from others: 0.5 = chance, 1 = perfect; undefined "
    "where the texts alone tell them apart"
)
NAMED = Message("share of training texts that the attack names while it names this share of the others")


def membership_evidence(subject: Subject, material: Material, reference: Sequence[TokenScores] | None) -> Evidence:
    """Attack the membership of the texts, after a blind baseline; above chance, membership is undefined."""
    level = subject.conf_level
    units = np.arange(len(material.texts)) if material.clusters is None else material.clusters
    subject.progress(0.4, "the blind baseline")
    blind = blind_baseline(material.texts, material.member, units, seed=subject.seed)
    measurements = [_blind_measurement(blind, len(material.texts), level)]
    if blind.p_value <= REFUSED_AT:
        reason = Message(
            "a classifier of the texts alone, without the model, tells training texts from the others (area under the "
            "ROC curve {area:.2f}, p = {p:.2g}), so that an attack would measure what the texts are about; draw both "
            "from one source, by chance",
            area=blind.roc_auc,
            p=blind.p_value,
        )
        measurements += [
            _measurement(name, None, len(material.texts), level, reason=reason) for name in ("roc_auc", *RATES)
        ]
        return Evidence(measurements=measurements, exhibits=[_table(blind, {}, level)])
    scores = attack_scores(material.texts, material.scores, reference)
    first = next(iter(scores))
    areas = {name: roc_auc(material.member, given, level, material.clusters) for name, given in scores.items()}
    for name, estimate in _estimators().items():
        measurements.append(_whole(name, estimate, material, scores[first], level))
        measurements.append(_by_attack(name, estimate, material, scores, level))
    for column, groups in material.groups.items():
        found = _by_group(column, groups, material, scores[first], level)
        measurements += [found] if found else []
    note = Message(
        "The numbers of membership that stand alone are those of the attack {attack}, chosen before the run.",
        attack=first,
    )
    return Evidence(
        measurements=measurements, exhibits=[_table(blind, areas, level), _curve(material, scores)], notes=[note]
    )


def _estimators() -> dict[str, Estimator]:
    def at(rate: float) -> Estimator:
        return lambda member, scores, level, clusters: true_positive_rate_at(member, scores, rate, level, clusters)

    return {"roc_auc": roc_auc, **{name: at(rate) for name, rate in RATES.items()}}


def _measurement(
    name: str, found: Bounded | None, count: int, level: float, *, reason: Message | None = None
) -> Measurement:
    return Measurement(
        id=_id(name),
        value=None if found is None else found.value,
        unit=_unit(name),
        better="lower",
        count=count,
        interval=None if found is None else _interval(found, level),
        definition=_definition(name),
        reason=reason,
    )


def _id(name: str) -> str:
    return "memorisation.membership_roc_auc" if name == "roc_auc" else f"memorisation.{name}"


def _unit(name: str) -> Unit:
    return "number" if name == "roc_auc" else "rate"


def _definition(name: str) -> Message:
    return AREA if name == "roc_auc" else NAMED


def _interval(found: Bounded, level: float, family: str = "") -> Interval:
    method = Message("DeLong or linearised over clusters, joined with score intervals")
    return Interval(low=found.low, high=found.high, level=level, method=method + family)


def _too_few(name: str, material: Material) -> Message | None:
    """Return the reason where so few unseen texts tell no such share of them."""
    if name == "roc_auc":
        return None
    needed, held = round(1 / RATES[name]), len(material.unseen.texts)
    if held >= needed:
        return None
    return Message("needs at least {needed:,} texts that the model never read, got {held:,}", needed=needed, held=held)


def _whole(name: str, estimate: Estimator, material: Material, scores: Floats, level: float) -> Measurement:
    reason = _too_few(name, material)
    found = None if reason else estimate(material.member, scores, level, material.clusters)
    return _measurement(name, found, len(scores), level, reason=reason)


def _by_attack(
    name: str, estimate: Estimator, material: Material, scores: dict[str, Floats], level: float
) -> Measurement:
    each = simultaneous_level(level, len(scores))
    reason = _too_few(name, material)
    slices = []
    for attack, given in scores.items():
        alone, together = (
            (None, None)
            if reason
            else (estimate(material.member, given, at, material.clusters) for at in (level, each))
        )
        slices.append(_slice(("attack",), attack, alone, together, len(given), level, reason))
    return _sliced(name, ("attack",), slices)


def _by_group(
    column: str, groups: NDArray[np.str_], material: Material, scores: Floats, level: float
) -> Measurement | None:
    """Return the area under the ROC curve of each group with enough texts on both sides; None where there is none."""
    member = material.member
    names = [
        str(name)
        for name in np.unique(groups)
        if min((member & (groups == name)).sum(), (~member & (groups == name)).sum()) >= FEWEST_OF_GROUP
    ]
    each = simultaneous_level(level, max(len(names), 1))
    slices = []
    for name in names:
        rows = groups == name
        clusters = None if material.clusters is None else material.clusters[rows]
        alone, together = (roc_auc(member[rows], scores[rows], at, clusters) for at in (level, each))
        slices.append(_slice((column,), name, alone, together, int(rows.sum()), level, None))
    return _sliced("roc_auc", (column,), slices) if slices else None


def _slice(
    by: tuple[str, ...],
    key: str,
    alone: Bounded | None,
    together: Bounded | None,
    count: int,
    level: float,
    reason: Message | None,
) -> Slice:
    return Slice(
        group=Group(by=by, key=(key,)),
        value=None if alone is None else alone.value,
        count=count,
        interval=None if alone is None else _interval(alone, level),
        simultaneous_interval=None if together is None else _interval(together, level, Message(", Sidak")),
        reason=reason,
    )


def _sliced(name: str, by: tuple[str, ...], slices: list[Slice]) -> Measurement:
    return Measurement(
        id=_id(name), by=by, unit=_unit(name), better="lower", count=sum(part.count for part in slices),
        slices=tuple(slices), definition=_definition(name),
    )  # fmt: skip


def _blind_measurement(blind: Blind, count: int, level: float) -> Measurement:
    low, high = np.quantile(blind.shuffled - blind.shuffled.mean(), [(1 - level) / 2, (1 + level) / 2])
    found = Bounded(blind.roc_auc, max(0.0, blind.roc_auc - float(high)), min(1.0, blind.roc_auc - float(low)))
    interval = Interval(low=found.low, high=found.high, level=level, method=Message("spread of shuffled labels"))
    return Measurement(
        id="memorisation.blind_roc_auc",
        value=blind.roc_auc,
        unit="number",
        better="lower",
        count=count,
        interval=interval,
        definition=Message(
            "cross-validated area under the ROC curve of a classifier of the texts alone (TF-IDF): above chance, the "
            "two sets of texts differ, and membership means nothing (Meeus et al. 2024)"
        ),
    )


def _table(blind: Blind, areas: dict[str, Bounded], level: float) -> Table:
    low, high = np.quantile(blind.shuffled, [(1 - level) / 2, (1 + level) / 2])
    rows: list[tuple[Message | str | float | None, ...]] = [
        (Message("texts alone, without the model"), blind.roc_auc, None, None),
        (Message("texts alone, labels shuffled"), float(blind.shuffled.mean()), float(low), float(high)),
    ]
    rows += [(_words(name), area.value, area.low, area.high) for name, area in areas.items()]
    return Table(
        title=Message("Attacks on the membership of texts, beside classifiers that do without the model"),
        note=Message(
            "The classifier of the texts alone is compared with {shuffles} shuffles of its labels: p = {p:.2g}.",
            shuffles=SHUFFLES,
            p=blind.p_value,
        ),
        columns=(
            Column(name=Message("attack")),
            Column(name=Message("area under the ROC curve"), unit="number"),
            Column(name=Message("low"), unit="number"),
            Column(name=Message("high"), unit="number"),
        ),
        rows=tuple(rows),
    )


def _words(attack: str) -> Message:
    words = {
        "reference": Message("likelier than under the reference model"),
        "loss": Message("mean log-probability of a token"),
        "zlib": Message("log-probability per compressed byte"),
        "min_k": Message("Min-K%++: the least likely fifth of the tokens"),
    }
    assert set(words) == set(ATTACKS)
    return words[attack]


def _curve(material: Material, scores: dict[str, Floats]) -> Curve:
    """Return the share of training texts that each attack names over the share of others, on logarithmic axes."""
    count = len(material.unseen.texts)
    rates = np.unique(np.geomspace(1 / count, 1, 40))
    lines = []
    for attack, given in scores.items():
        others, members = np.sort(given[~material.member])[::-1], np.sort(given[material.member])
        allowed = np.minimum(np.floor(rates * count + 1e-9).astype(int), count - 1)
        named = 1 - np.searchsorted(members, others[allowed], side="right") / len(members)
        known = named > 0
        if known.any():
            lines.append(Line(name=_words(attack), x=tuple(rates[known].tolist()), y=tuple(named[known].tolist())))
    return Curve(
        title=Message("Membership attacks"),
        note=Message("On the diagonal an attack does no better than chance."),
        x_label=Message("share of other texts named"),
        y_label=Message("share of training texts named"),
        x_unit="rate",
        y_unit="rate",
        identity=True,
        scale="log",
        lines=tuple(lines),
    )
