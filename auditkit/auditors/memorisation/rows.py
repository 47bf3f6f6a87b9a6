"""Membership of rows by what a generator gives away: its samples, and its discriminator where it has one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Interval, Measurement, Table
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import Discriminating
from auditkit.stats.membership import Bounded, roc_auc, true_positive_rate_at

Floats = NDArray[np.float64]

MOST_ROWS = 5_000
"""As many training rows, and as many unseen ones, are attacked at most."""

FEWEST_ROWS = 50
CHANCE = 0.5

RATES = {"membership_true_positive_rate_at_1_percent": 0.01, "membership_true_positive_rate_at_0_1_percent": 0.001}
METHOD = Message("DeLong")
AREA = Message(
    "area under the ROC curve of an attack that tells training rows from unseen ones by their distance to the nearest "
    "sample (Chen et al. 2020): 0.5 = chance, 1 = perfect"
)
CONTROL = Message(
    "the same attack with other unseen rows in the place of samples: 0.5 unless training and unseen rows differ by "
    "themselves, which the attack would take for memory"
)
DISCRIMINATOR = Message(
    "area under the ROC curve of an attack that takes the rows to which the discriminator gives the highest "
    "probability of being real for training rows (Hayes et al. 2019): 0.5 = chance, 1 = perfect"
)
REFUSED_LEVEL = 0.99
"""Membership is undefined where the control's interval at this level lies above chance."""


def membership_evidence(subject: Subject, samples: Floats, training: Floats, unseen: Floats) -> Evidence:
    """Attack the membership of training rows; all rows are encoded and flat, (rows, width).

    Half of the unseen rows are attacked beside as many training rows, the other half is the control's.
    """
    generator = np.random.default_rng((subject.seed, 53))
    count = min(len(training), len(unseen) // 2, MOST_ROWS)
    known_at, unseen_at = generator.permutation(len(training))[:count], generator.permutation(len(unseen))
    attacked = np.vstack([training[known_at], unseen[unseen_at[:count]]])
    member = np.arange(2 * count) < count
    if count < FEWEST_ROWS:
        reason = Message("needs {fewest} training rows and twice as many unseen ones", fewest=FEWEST_ROWS)
        return Evidence(measurements=[_undefined(name, count, reason) for name in ("membership_roc_auc", *RATES)])
    level = subject.conf_level
    control = -_distances(attacked, unseen[unseen_at[count:]])
    blind = roc_auc(member, control, level)
    measurements = [_measured("blind_roc_auc", blind, 2 * count, level, CONTROL, METHOD)]
    if roc_auc(member, control, REFUSED_LEVEL).low > CHANCE:
        reason = Message(
            "training and unseen rows differ by themselves (area under the ROC curve of the control {area:.2f}), so "
            "that an attack would measure that; draw both from one source, by chance",
            area=blind.value,
        )
        measurements += [_undefined(name, 2 * count, reason) for name in ("membership_roc_auc", *RATES)]
        return Evidence(measurements=measurements, exhibits=[_table({"blind_roc_auc": blind})])
    nearness = -_distances(attacked, samples)
    found = {"membership_roc_auc": roc_auc(member, nearness, level)}
    judge = subject.audited.capability(Discriminating)
    if judge is not None:
        logits = judge.realness(attacked.reshape(-1, *subject.inputs.shape[1:]), device=subject.device)
        found["discriminator_roc_auc"] = roc_auc(member, logits, level)
    definitions = {"membership_roc_auc": AREA, "discriminator_roc_auc": DISCRIMINATOR}
    measurements += [_measured(name, one, 2 * count, level, definitions[name], METHOD) for name, one in found.items()]
    for name, share in RATES.items():
        rate = true_positive_rate_at(member, nearness, share, level)
        if rate is None:
            reason = Message("{share:g} of {count:,} unseen rows is less than one row", share=share, count=count)
            measurements.append(_undefined(name, 2 * count, reason))
        else:
            method = Message("order statistics and Clopper-Pearson")
            measurements.append(_measured(name, rate, 2 * count, level, _named(share), method))
    note = Message(
        "{count:,} training rows are told from as many unseen ones. An attack at chance says that these attacks gain "
        "nothing, and no more.",
        count=count,
    )
    return Evidence(measurements=measurements, exhibits=[_table(found | {"blind_roc_auc": blind})], notes=[note])


def _distances(rows: Floats, others: Floats) -> Floats:
    """Return each row's distance to the nearest of the others, (rows,)."""
    from sklearn.neighbors import NearestNeighbors

    distances: Floats = NearestNeighbors(algorithm="brute").fit(others).kneighbors(rows, n_neighbors=1)[0][:, 0]
    return distances


def _measured(name: str, found: Bounded, count: int, level: float, definition: str, method: str) -> Measurement:
    return Measurement(
        id=f"memorisation.{name}",
        value=found.value,
        unit="rate" if name in RATES else "number",
        better="lower",
        count=count,
        interval=Interval(low=found.low, high=found.high, level=level, method=method),
        definition=definition,
    )


def _undefined(name: str, count: int, reason: str) -> Measurement:
    return Measurement(
        id=f"memorisation.{name}",
        value=None,
        unit="rate" if name in RATES else "number",
        better="lower",
        count=count,
        definition=_named(RATES[name]) if name in RATES else AREA,
        reason=reason,
    )


def _named(share: float) -> str:
    return Message(
        "share of training rows that the attack by the nearest sample names while it names {share:g} of the unseen "
        "ones",
        share=share,
    )


def _table(found: Mapping[str, Bounded]) -> Table:
    names = {
        "membership_roc_auc": Message("distance to the nearest sample"),
        "blind_roc_auc": Message("control: distance to the nearest of other unseen rows"),
        "discriminator_roc_auc": Message("the discriminator's probability of a real row"),
    }
    return Table(
        title=Message("Attacks that tell training rows from unseen ones"),
        note=Message("0.5 is chance, 1 perfect. Where the control is not at chance, the others mean nothing."),
        columns=(
            Column(name=Message("attack")),
            Column(name=Message("area under the ROC curve"), unit="number"),
            Column(name=Message("low"), unit="number"),
            Column(name=Message("high"), unit="number"),
        ),
        rows=tuple((names[name], *one) for name, one in found.items()),
    )
