"""Membership of texts: each attack beside the blind baseline, overall and by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.memorisation.blind import SHUFFLES, Blind, blind_baseline
from auditkit.auditors.memorisation.material import Material
from auditkit.auditors.memorisation.membership import ATTACKS, attack_scores
from auditkit.auditors.memorisation.shadow_models import Shadows, shadows_of
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.measurement import (
    Column,
    Curve,
    Evidence,
    Exhibit,
    Interval,
    Line,
    Measurement,
    Table,
)
from auditkit.evidence.messages import Message, reason_of
from auditkit.models.language import TokenScores
from auditkit.stats.estimates import Breakdown, Estimate, Estimator, Quantity, measure, measure_parts
from auditkit.stats.membership import CHANCE, SURE, Bounded, below_chance, roc_auc, true_positive_rate_at

Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]
Codes = NDArray[np.int64]
Attack = Callable[[Marks, Floats, float, Codes | None], Bounded | None]
"""Takes which texts are members, scores, a level and clusters, and returns how well the scores tell members."""

RATES = {"membership_true_positive_rate_at_1_percent": 0.01, "membership_true_positive_rate_at_0_1_percent": 0.001}
REFUSED_AT = 0.01
"""Membership is undefined where the blind classifier is so far above chance: in one of a hundred fair splits."""

FEWEST_OF_GROUP = 25
"""A group is measured from so many texts on either side on."""

AREA = Message(
    "area under the ROC curve of an attack that tells training texts from others: 0.5 = chance, 1 = perfect; undefined "
    "where the texts alone tell them apart"
)
AREA_METHOD = Message("DeLong or linearised over clusters, joined with score intervals")
CONTROL_FAILS = Message(
    "A control fails: a model that read neither of the two sets more than the other finds one of them more probable. "
    "They differ by themselves, and the numbers of membership mix that with memory."
)
SURE_OF_CONTROL = 0.99
"""The level of the interval of a control that does not hold 0.5: one of a hundred fair splits."""

SHARE_METHOD = Message("order statistics and Clopper-Pearson")
NAMED = Message("share of training texts that the attack names while it names this share of the others")


def membership_evidence(
    subject: Subject, material: Material, reference: Sequence[TokenScores] | None, shadows_wanted: int
) -> Evidence:
    """Attack the membership of the texts, after a blind baseline; above chance, membership is undefined."""
    level = subject.conf_level
    units = np.arange(len(material.texts)) if material.clusters is None else material.clusters
    subject.progress(0.4, "the blind baseline")
    blind = blind_baseline(material.texts, material.member, units, seed=subject.seed)
    alone = _blind_measurement(blind, len(material.texts), level)
    measurements = [alone]
    if blind.p_value <= REFUSED_AT:
        reason = Message(
            "a classifier of the texts alone, without the model, tells training texts from the others (area under the "
            "ROC curve {area:.2f}, p = {p:.2g}), so that an attack would measure what the texts are about; draw both "
            "from one source, by chance",
            area=blind.roc_auc,
            p=blind.p_value,
        )
        measurements += [_undefined(name, len(material.texts), reason) for name in ("roc_auc", *RATES)]
        return Evidence(measurements=measurements, exhibits=[_table(blind, alone, {}, level, {})])
    shadows, notes = _shadows(subject, material, shadows_wanted)
    scores = attack_scores(material.texts, material.scores, reference, material.member, shadows)
    first = next(iter(scores))
    areas = {name: roc_auc(material.member, given, level, material.clusters) for name, given in scores.items()}
    for name, attack in _attacks().items():
        measurements.append(_whole(name, attack, material, scores[first], level))
        measurements.append(_by_attack(name, attack, material, scores, level))
    for column, groups in material.groups.items():
        found = _by_group(column, groups, material, scores[first], level)
        measurements += [found] if found else []
    notes.append(
        Message(
            "The numbers of membership that stand alone are those of the attack {attack}, chosen before the run.",
            attack=first,
        )
    )
    unread = _controls(reference, shadows)
    sure = [roc_auc(material.member, given, SURE_OF_CONTROL, material.clusters) for given in unread.values()]
    if not all(one.low <= CHANCE <= one.high for one in sure):
        notes.append(CONTROL_FAILS)
    controls = {name: roc_auc(material.member, given, level, material.clusters) for name, given in unread.items()}
    exhibits: list[Exhibit] = [_table(blind, alone, areas, level, controls), _curve(material, scores)]
    exhibits += [] if shadows is None else [shadows.facts()]
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _shadows(subject: Subject, material: Material, wanted: int) -> tuple[Shadows | None, list[str]]:
    """Return shadow models, or none, with what the reader must know of them."""
    try:
        found = shadows_of(subject, material, wanted)
    except NotRun as why:
        reason = reason_of(why) or ""
        return None, [
            Message(
                "No shadow models ({reason}): LiRA and RMIA, the attacks that compare with them, were not made. They "
                "find more than the others.",
                reason=reason,
            )
        ]
    if len(found.odds) >= wanted:
        return found, []
    return found, [
        Message(
            "{inside_count} of {asked} shadow models were trained: more would exceed the budget of the effort "
            "{effort}. More shadows make the attacks stronger.",
            inside_count=len(found.odds),
            asked=wanted,
            effort=subject.work.effort,
        )
    ]


def _controls(reference: Sequence[TokenScores] | None, shadows: Shadows | None) -> dict[Message, Floats]:
    """Return how probable models find each text that did not read one side more than the other, (texts,).

    What they prefer of one side is not memory: the sides are of unlike texts, which the blind baseline may overlook.
    Each text was read by half of the shadow models.
    """
    found: dict[Message, Floats] = {}
    if reference is not None:
        sums = np.array([one.log_probabilities.sum() / max(one.byte_count, 1) for one in reference])
        found[Message("control: log-probability per byte under the reference model alone")] = sums
    if shadows is not None:
        found[Message("control: mean under shadow models, which read a random half of both")] = shadows.odds.mean(
            axis=0
        )
    return found


def _attacks() -> dict[str, Attack]:
    def at(rate: float) -> Attack:
        return lambda member, scores, level, clusters: true_positive_rate_at(member, scores, rate, level, clusters)

    return {"roc_auc": roc_auc, **{name: at(rate) for name, rate in RATES.items()}}


def _quantity(name: str) -> Quantity:
    if name == "roc_auc":
        return Quantity("memorisation.membership_roc_auc", "number", "lower", AREA)
    return Quantity(f"memorisation.{name}", "rate", "lower", NAMED)


def _undefined(name: str, count: int, reason: Message) -> Measurement:
    quantity = _quantity(name)
    return Measurement(
        id=quantity.id, unit=quantity.unit, better=quantity.better, count=count, definition=quantity.definition,
        reason=reason,
    )  # fmt: skip


def _estimated(attack: Attack, member: Marks, scores: Floats, clusters: Codes | None) -> Estimator:
    """Return the estimator of how well the scores of some texts tell members; none of an attack below chance."""
    method = AREA_METHOD if attack is roc_auc else SHARE_METHOD

    def estimate(levels: Sequence[float]) -> Estimate:
        area = roc_auc(member, scores, SURE, clusters)
        invalid = below_chance(area.value, area.high, SURE)
        if invalid is not None:
            return Estimate(reason=invalid)
        found = [attack(member, scores, level, clusters) for level in levels]
        first = found[0]
        if first is None:
            return Estimate(reason=Message("there are too few other texts"))
        return Estimate(first.value, tuple(None if one is None else (one.low, one.high, method) for one in found))

    return estimate


def _too_few(name: str, material: Material) -> Message | None:
    """Return the reason where so few unseen texts tell no such share of them."""
    if name == "roc_auc":
        return None
    needed, held = round(1 / RATES[name]), len(material.unseen.texts)
    if held >= needed:
        return None
    return Message("needs at least {needed:,} texts that the model never read, got {held:,}", needed=needed, held=held)


def _whole(name: str, attack: Attack, material: Material, scores: Floats, level: float) -> Measurement:
    reason = _too_few(name, material)
    if reason is not None:
        return _undefined(name, len(scores), reason)
    estimate = _estimated(attack, material.member, scores, material.clusters)
    return measure(
        _quantity(name), lambda *given: estimate(given[2]), scores, scores, Breakdown(), level, replicated=False
    )


def _by_attack(name: str, attack: Attack, material: Material, scores: dict[str, Floats], level: float) -> Measurement:
    reason = _too_few(name, material)
    parts: dict[tuple[str, ...], tuple[int, Estimator]] = {}
    for which, given in scores.items():
        estimate = _estimated(attack, material.member, given, material.clusters)
        parts[(which,)] = len(given), estimate if reason is None else lambda _: Estimate(reason=reason)
    return measure_parts(_quantity(name), ("attack",), parts, level)


def _by_group(
    column: str, groups: NDArray[np.str_], material: Material, scores: Floats, level: float
) -> Measurement | None:
    """Return the area under the ROC curve of each group with enough texts on both sides; None where there is none."""
    member = material.member
    parts: dict[tuple[str, ...], tuple[int, Estimator]] = {}
    for name in np.unique(groups):
        rows = groups == name
        if min((member & rows).sum(), (~member & rows).sum()) >= FEWEST_OF_GROUP:
            clusters = None if material.clusters is None else material.clusters[rows]
            parts[(str(name),)] = int(rows.sum()), _estimated(roc_auc, member[rows], scores[rows], clusters)
    return measure_parts(_quantity("roc_auc"), (column,), parts, level) if parts else None


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


def _table(
    blind: Blind, alone: Measurement, areas: dict[str, Bounded], level: float, controls: dict[Message, Bounded]
) -> Table:
    assert alone.interval is not None
    low, high = np.quantile(blind.shuffled, [(1 - level) / 2, (1 + level) / 2])
    rows: list[tuple[Message | str | float | None, ...]] = [
        (Message("texts alone, without the model"), blind.roc_auc, alone.interval.low, alone.interval.high),
        (Message("texts alone, labels shuffled"), float(blind.shuffled.mean()), float(low), float(high)),
    ]
    rows += [(name, *area) for name, area in controls.items()]
    rows += [
        (
            Message("{attack} (invalid: below chance)", attack=_words(name)) if area.high < CHANCE else _words(name),
            area.value,
            area.low,
            area.high,
        )
        for name, area in areas.items()
    ]
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
        "rmia": Message("RMIA: likelier than under shadow models, among other texts"),
        "lira": Message("LiRA: likelier under shadow models that read the text"),
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
