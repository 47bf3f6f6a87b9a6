"""What membership inference attacks reach, as measurements: overall, side by side, within groups, and in controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.privacy import membership
from auditkit.evidence.measurement import Column, Curve, Group, Interval, Line, Measurement, Slice, Table
from auditkit.evidence.messages import Message, semicolons
from auditkit.stats.counts import not_compared
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.membership import BELOW_CHANCE, CHANCE, below_chance, true_positive_rate_at
from auditkit.stats.ranking import RocAuc, roc_auc, roc_auc_interval
from auditkit.stats.shadows import FEWEST_FOR_LIRA, lira_scores, rmia_scores, split_scores

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

AUC = "leakage.membership_auc"
RATES = {"leakage.true_positive_rate_at_1_percent": 0.01, "leakage.true_positive_rate_at_0_1_percent": 0.001}
SPLIT, SHUFFLED = "leakage.split_control_auc", "leakage.shuffled_control_auc"
EXPOSED = "leakage.exposed_share"

SOURCES = {
    "RMIA": Message("RMIA, Zarifzadeh et al. 2024 (arXiv:2312.03262), gamma 1"),
    "LiRA online": Message("LiRA, Carlini et al. 2022 (arXiv:2112.03570)"),
    "LiRA offline": Message("LiRA, Carlini et al. 2022 (arXiv:2112.03570)"),
    "LOSS": Message("LOSS, Yeom et al. 2018 (arXiv:1709.01604)"),
}
SHUFFLES = 100


def attack_scores(target: Array, member: Mask, references: Array | None, inside: Mask | None) -> dict[str, Array]:
    """Return the scores of every attack that can be made, the main one first."""
    scores: dict[str, Array] = {}
    if references is not None and inside is not None:
        scores["RMIA"] = rmia_scores(target, references, inside, ~member)
        if len(references) >= FEWEST_FOR_LIRA:
            scores["LiRA online"] = lira_scores(target, references, inside, online=True)
            scores["LiRA offline"] = lira_scores(target, references, inside, online=False)
    scores["LOSS"] = membership.loss_scores(target)
    return scores


@dataclass(frozen=True, eq=False)
class Attack:
    """Who is a member, and what each attack says of it; the first attack is the main one, chosen beforehand."""

    member: Mask
    scores: dict[str, Array]
    level: float

    @property
    def main(self) -> str:
        """The attack that breakdowns, controls and the headline numbers are of."""
        return next(iter(self.scores))

    def measurements(self) -> list[Measurement]:
        """Return the main attack's numbers, and those of all attacks side by side."""
        found = []
        for id in (AUC, *RATES):
            value, interval, reason = self._measure(id, self.member, self.scores[self.main], self.level)
            found.append(self.measurement(id, value=value, interval=interval, reason=reason))
            found.append(
                self._sliced(
                    id,
                    ("attack",),
                    {Group(by=("attack",), key=(name,)): (self.member, scores) for name, scores in self.scores.items()},
                )
            )
        return found

    def by_group(
        self, by: tuple[str, ...], names: tuple[tuple[str, ...], ...], codes: NDArray[np.int64], min_group: int
    ) -> list[Measurement]:
        """Return the main attack's numbers within each group: members of the group against others of the group."""
        hidden = not_compared(self.sizes(codes, len(names)), min_group, names)
        scores = self.scores[self.main]
        groups = {
            Group(by=by, key=name): (self.member[codes == code], scores[codes == code])
            for code, name in enumerate(names)
            if not hidden[code]
        }
        if not groups:
            reason = Message("fewer than two groups have at least {min_group} rows on each side", min_group=min_group)
            return [
                self.measurement(id, by=by, reason=reason) for id in (AUC, "leakage.true_positive_rate_at_1_percent")
            ]
        return [self._sliced(id, by, groups) for id in (AUC, "leakage.true_positive_rate_at_1_percent")]

    def sizes(self, codes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        """Return the rows of each group on the side where it has fewer."""
        sides = (np.bincount(codes[side], minlength=count) for side in (self.member, ~self.member))
        return np.minimum(*sides)

    def exposed(self) -> Measurement:
        """Return the share of training rows that the main attack can be sure of."""
        share = membership.exposed_share(self.member, self.scores[self.main], self.level)
        return self.measurement(
            EXPOSED,
            unit="share",
            value=share.value,
            interval=Interval(
                low=share.low,
                high=share.high,
                level=self.level,
                method=Message("Clopper-Pearson, Bonferroni over thresholds"),
            ),
            definition=Message(
                "{attack}; the largest share named with a precision of 90 % at even odds", attack=SOURCES[self.main]
            ),
        )

    def shuffled(self, seed: int) -> Measurement:
        """Return what the main attack reaches with shuffled memberships: chance, or the statistics are wrong."""
        areas = membership.shuffled_areas(self.member, self.scores[self.main], repetitions=SHUFFLES, seed=seed)
        low, high = np.quantile(areas, [(1 - self.level) / 2, (1 + self.level) / 2])
        return self.measurement(
            SHUFFLED,
            value=float(areas.mean()),
            better="neither",
            interval=Interval(
                low=low,
                high=high,
                level=self.level,
                method=Message("quantiles of {shuffles} shuffles", shuffles=SHUFFLES),
            ),
            definition=Message("memberships shuffled: 0.5 is right"),
        )

    def curve(self) -> Curve:
        """Return the ROC curve of every attack on logarithmic axes, from one false claim on."""
        others = int((~self.member).sum())
        across = np.unique(np.round(np.geomspace(1, others, 30))) / others
        lines = [Line(name=Message("chance"), x=tuple(across), y=tuple(across))]
        for name, scores in self.scores.items():
            up = membership.roc_points(self.member, scores, across)
            lines.append(Line(name=name, x=tuple(across[up > 0]), y=tuple(up[up > 0])))
        return Curve(
            title=Message("Training records identified by each attack"),
            note=Message(
                "Both axes are logarithmic: what counts is the left edge, where few audited rows are named wrongly."
            ),
            x_label=Message("false positive rate"),
            y_label=Message("true positive rate"),
            x_unit="rate",
            y_unit="rate",
            scale="log",
            lines=tuple(lines),
        )

    def _sliced(self, id: str, by: tuple[str, ...], parts: dict[Group, tuple[Mask, Array]]) -> Measurement:
        each = simultaneous_level(self.level, len(parts))
        slices = []
        for group, (member, scores) in parts.items():
            value, interval, reason = self._measure(id, member, scores, self.level)
            together = self._measure(id, member, scores, each)[1] if value is not None else None
            if together is not None:
                method = Message(
                    "{method}, Sidak over {parts_count} groups", method=together.method, parts_count=len(parts)
                )
                together = together.model_copy(update={"level": self.level, "method": method})
            count = len(member)
            slices.append(
                Slice(
                    group=group,
                    value=value,
                    count=count,
                    interval=interval,
                    simultaneous_interval=together,
                    reason=reason,
                )
            )
        attacks = dict.fromkeys(SOURCES[name] for name in (self.scores if by == ("attack",) else [self.main]))
        definition = semicolons([*attacks])
        return self.measurement(id, by=by, slices=tuple(slices), definition=definition)

    def measurement(self, id: str, **more: Any) -> Measurement:
        """Return a measurement of the main attack over all rows, but for what `more` says."""
        fields: dict[str, Any] = {
            "unit": "rate" if id in RATES else "number",
            "better": "lower",
            "count": len(self.member),
            "definition": SOURCES[self.main],
        }
        return Measurement(id=id, **{**fields, **more})

    def _measure(
        self, id: str, member: Mask, scores: Array, level: float
    ) -> tuple[float | None, Interval | None, str | None]:
        if id == AUC:
            area = roc_auc(member, scores)
            low, high, method = roc_auc_interval(area, level)
            invalid = below_chance(area.value, high, self.level)
            if invalid is not None:
                return None, None, invalid
            return area.value, Interval(low=low, high=high, level=level, method=method), None
        if roc_auc_interval(roc_auc(member, scores), level)[1] < CHANCE:
            return None, None, BELOW_CHANCE
        rate = true_positive_rate_at(member, scores, RATES[id], level)
        if rate is None:
            need = round(1 / RATES[id])
            return (
                None,
                None,
                Message(
                    "{count:,} audited rows cannot show a rate of one in {need:,}", count=(~member).sum(), need=need
                ),
            )
        method = Message("Clopper-Pearson between order statistics")
        return rate.value, Interval(low=rate.low, high=rate.high, level=level, method=method), None


def split_control(attack: Attack, references: Array, inside: Mask) -> Measurement:
    """Return how well RMIA tells training from audited rows on the shadows, which saw a random half of both."""
    areas = [roc_auc(attack.member, scores) for scores in split_scores(references, inside, ~attack.member)]
    mean = RocAuc(
        float(np.mean([area.value for area in areas])),
        float(np.mean([area.variance for area in areas])),
        areas[0].smaller,
        areas[0].larger,
    )
    low, high, method = roc_auc_interval(mean, attack.level)
    return attack.measurement(
        SPLIT,
        value=mean.value,
        better="neither",
        interval=Interval(
            low=low,
            high=high,
            level=attack.level,
            method=Message("{method}, mean of {areas_count} (conservative)", method=method, areas_count=len(areas)),
        ),
        definition=Message("RMIA on each shadow, which saw a random half of both sets: 0.5 is right"),
    )


def controls_table(measurements: list[Measurement], attack: Attack) -> Table:
    """Return the main attack's area under the ROC curve beside those of its controls."""
    rows: list[tuple[str | float | None, ...]] = []
    for id, name, means in (
        (AUC, Message("the audited model"), Message("above 0.5: it remembers training rows")),
        (SHUFFLED, Message("memberships shuffled"), Message("0.5, or the statistic is wrong")),
        (
            SPLIT,
            Message("shadows, which saw a random half of both"),
            Message("0.5; otherwise the two sets differ for other reasons"),
        ),
    ):
        found = next((part for part in measurements if part.id == id and not part.by), None)
        interval = found.interval if found else None
        ends = (interval.low, interval.high) if interval else (None, None)
        rows.append((name, found.value if found else None, *ends, means))
    return Table(
        title=Message("Attack and controls ({main})", main=attack.main),
        note=Message(
            "The area under the ROC curve: how often a training row is ranked above an audited one. 0.5 is chance."
        ),
        columns=(
            Column(name=Message("attacked")),
            Column(name=Message("area"), unit="number"),
            Column(name=Message("low"), unit="number"),
            Column(name=Message("high"), unit="number"),
            Column(name=Message("what it should be")),
        ),
        rows=tuple(rows),
    )
