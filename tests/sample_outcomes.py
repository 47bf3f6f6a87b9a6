"""What the auditors of the sample report found: one of every exhibit, every unit, names that try to be markup."""

from __future__ import annotations

import math
from typing import Any

from keys import group

from auditkit.evidence.measurement import (
    Column,
    Curve,
    Exhibit,
    Facts,
    Interval,
    Line,
    Measurement,
    Slice,
    SliceChart,
    Table,
)

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "style": "</style><img src=https://evil.example/x.png onerror=alert(1)>",
    "attribute": "\" onmouseover='alert(1)' x=\"",
    "right to left": "شركة التأمين",
    "override": "safe\u202egnp.exe",
    "emoji": "👩🏽‍⚖️ judge 🏳️‍🌈",
    "chinese": "中华人民共和国国家标准化管理委员会",
    "long": "a-very-long-category-name-" * 11 + "end",
    "unbroken": "W" * 300,
    "control": "a\x00b\x1bc",
    "markdown": "a|b `c` [d](https://evil.example) @everyone\n# e",
    "formula": "=cmd|' /C calc'!A0",
    "template": "{{ 7 * 7 }}{% for %}",
}


def wilson(value: float, count: int, z: float = 1.96, ending: str = "") -> Interval:
    middle = (value + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(value * (1 - value) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return Interval(
        low=max(middle - half, 0.0), high=min(middle + half, 1.0), level=0.95, method=f"Wilson score{ending}"
    )


def part(name: str | tuple[str, str], value: float | None, count: int, reason: str | None = None) -> Slice:
    of = group(*((name,) if isinstance(name, str) else name))
    if value is None:
        return Slice(group=of, value=None, count=count, reason=reason)
    return Slice(
        group=of,
        value=value,
        count=count,
        interval=wilson(value, count),
        simultaneous_interval=wilson(value, count, 2.7, ", Bonferroni"),
    )


def rate(
    id: str, value: float, *, unit: Any = "rate", better: Any = "higher", half: float = 0.006, **more: Any
) -> Measurement:
    interval = Interval(low=value - half, high=value + half, level=0.95, method=more.pop("method", "Wilson score"))
    return Measurement(
        id=id,
        value=value,
        unit=unit,
        better=better,
        count=16_281,
        interval=interval,
        definition=more.pop("definition", "scikit-learn 1.7"),
        **more,
    )


def performance() -> tuple[list[Measurement], list[Exhibit], list[str]]:
    sexes = (part("Male", 0.8123, 10_860), part("Female", 0.9264, 5_421))
    races = (
        part("White", 0.8449, 13_946),
        part("Black", 0.9052, 1_561),
        part("Asian-Pac-Islander", 0.8271, 480),
        part("Amer-Indian-Eskimo", 0.8994, 159),
        part("Other", 0.8074, 135),
    )
    both = [
        part(
            (race.group.text, sex.group.text),
            min(0.99, ((race.value or 0) + (sex.value or 0)) / 2),
            max(12, race.count // 2),
        )
        for race in races
        for sex in sexes
    ]
    both += [part(("Samoan", sex), None, count, "fewer than 10 rows") for sex, count in (("Female", 4), ("Male", 7))]
    measurements = [
        rate("performance.accuracy", 0.8513, definition="Fairlearn 0.13 / scikit-learn"),
        rate("performance.balanced_accuracy", 0.7688, method="multinomial bootstrap, 10,000 replicates"),
        rate(
            "performance.roc_auc", 0.9071, unit="number", half=0.0047, method="DeLong", definition="DeLong et al. 1988"
        ),
        rate("performance.log_loss", 0.3189, unit="nats", better="lower", half=0.008),
        rate(
            "performance.calibration_error",
            0.0613,
            better="lower",
            half=0.005,
            method="multinomial bootstrap, 10,000 replicates",
            definition="Guo et al. 2017, arXiv:1706.04599",
        ),
        Measurement(
            id="performance.accuracy",
            by=("sex",),
            unit="rate",
            better="higher",
            count=16_281,
            slices=sexes,
            definition="Fairlearn 0.13",
        ),
        Measurement(
            id="performance.accuracy",
            by=("race",),
            unit="rate",
            better="higher",
            count=16_281,
            slices=races,
            definition="Fairlearn 0.13",
        ),
        Measurement(
            id="performance.accuracy",
            by=("race", "sex"),
            unit="rate",
            better="higher",
            count=16_281,
            slices=tuple(both),
            definition="Fairlearn 0.13",
        ),
        Measurement(
            id="performance.roc_auc",
            by=("race",),
            unit="number",
            better="higher",
            count=16_281,
            slices=(*races[:3], part("Other", None, 135, "no row of the positive class")),
            definition="DeLong et al. 1988",
        ),
    ]
    grid = [i / 200 for i in range(201)]
    exhibits: list[Exhibit] = [
        SliceChart(title="Accuracy by sex", measurement="performance.accuracy", by=("sex",)),
        SliceChart(
            title="Accuracy by race",
            measurement="performance.accuracy",
            by=("race",),
            note="Five groups as the census recorded them.",
        ),
        SliceChart(title="Accuracy by race and sex", measurement="performance.accuracy", by=("race", "sex")),
        Curve(
            title="Calibration",
            note="On the diagonal, a score means what it says.",
            x_label="Mean predicted probability",
            y_label="Share that is positive",
            x_unit="rate",
            y_unit="rate",
            identity=True,
            lines=(
                Line(
                    name="All rows",
                    x=tuple((i + 0.5) / 10 for i in range(10)),
                    y=tuple(min(1.0, ((i + 0.5) / 10) ** 1.25) for i in range(10)),
                    low=tuple(max(0.0, ((i + 0.5) / 10) ** 1.25 - 0.03) for i in range(10)),
                    high=tuple(min(1.0, ((i + 0.5) / 10) ** 1.25 + 0.03) for i in range(10)),
                ),
            ),
        ),
        Curve(
            title="ROC by sex",
            x_label="False positive rate",
            y_label="True positive rate",
            x_unit="rate",
            y_unit="rate",
            identity=True,
            lines=tuple(
                Line(name=name, x=tuple(grid), y=tuple(x**power for x in grid))
                for name, power in (("Male", 0.18), ("Female", 0.14))
            ),
        ),
    ]
    return (
        measurements,
        exhibits,
        ["16,281 rows audited; 0 dropped.", "Groups under 10 rows are counted and not shown: 2 groups, 11 rows."],
    )


def fairness() -> tuple[list[Measurement], list[Exhibit], list[str]]:
    def gap(
        id: str,
        by: tuple[str, ...],
        value: float,
        half: float,
        compared: tuple[str, str],
        unit: Any = "rate_difference",
    ) -> Measurement:
        better = "higher" if unit == "ratio" else "lower"
        return rate(
            id,
            value,
            unit=unit,
            better=better,
            half=half,
            by=by,
            compared=tuple(group(name, by=by) for name in compared),
            method="Newcombe, simultaneous over pairs",
            definition="Fairlearn 0.13",
        )

    measurements = [
        gap("fairness.demographic_parity_difference", ("sex",), 0.1702, 0.011, ("Female", "Male")),
        gap("fairness.demographic_parity_difference", ("race",), 0.1234, 0.041, ("Black", "Asian-Pac-Islander")),
        gap("fairness.demographic_parity_ratio", ("sex",), 0.3124, 0.03, ("Female", "Male"), "ratio"),
        gap("fairness.equalized_odds_difference", ("sex",), 0.0731, 0.021, ("Female", "Male")),
        gap("fairness.equalized_odds_difference", ("race",), 0.0992, 0.062, ("Other", "White")),
        Measurement(
            id="fairness.equalized_odds_difference",
            by=("country",),
            unit="rate_difference",
            better="lower",
            count=16_281,
            definition="Fairlearn 0.13",
            reason="only one group has 10 rows or more",
        ),
        Measurement(
            id="fairness.selection_rate",
            by=("sex",),
            unit="rate",
            better="neither",
            count=16_281,
            slices=(part("Male", 0.2549, 10_860), part("Female", 0.0801, 5_421)),
            definition="Fairlearn 0.13",
        ),
        Measurement(
            id="fairness.selection_rate",
            by=("hostile",),
            unit="rate",
            better="neither",
            count=16_281,
            slices=tuple(part(name, 0.05 + 0.07 * i, 40 + 150 * i) for i, name in enumerate(HOSTILE.values())),
            definition="Fairlearn 0.13",
        ),
        rate("fairness.selection_rate", 0.1963, better="neither"),
    ]
    exhibits: list[Exhibit] = [
        SliceChart(title="Selection rate by sex", measurement="fairness.selection_rate", by=("sex",)),
        SliceChart(
            title="Selection rate by <b>hostile</b> names",
            measurement="fairness.selection_rate",
            by=("hostile",),
            note=HOSTILE["style"],
        ),
        Table(
            title="Rates per group",
            note="What the gaps are made of.",
            columns=(
                Column(name="Group"),
                Column(name="n", unit="rows"),
                Column(name="Selected", unit="rate"),
                Column(name="True positive rate", unit="rate"),
                Column(name="False positive rate", unit="rate"),
                Column(name="Ratio to highest", unit="ratio"),
            ),
            rows=(
                ("Male", 10_860, 0.2549, 0.6123, 0.0934, 1.0),
                ("Female", 5_421, 0.0801, 0.5392, 0.0213, 0.3142),
                (HOSTILE["script"], 12, None, None, 0.5, None),
            ),
        ),
        SliceChart(title="A chart of nothing", measurement="fairness.not_made", by=("sex",)),
    ]
    return measurements, exhibits, ["Rows with an unknown race form a group of their own."]


def explainability() -> tuple[list[Measurement], list[Exhibit], list[str]]:
    names = (
        "capital_gain",
        "marital_status",
        "education_num",
        "age",
        "occupation",
        "hours_per_week",
        "relationship",
        "sex",
        "workclass",
        "race",
        "native_country",
        "capital_loss",
    )
    weights = [0.5**i + 0.08 for i in range(len(names))]
    shares = [weight / sum(weights) for weight in weights]
    measurements = [
        Measurement(
            id="explainability.attribution_share",
            by=("column",),
            unit="share",
            better="neither",
            count=2_000,
            definition="Sundararajan et al. 2017",
            slices=tuple(
                Slice(
                    group=group(n),
                    value=s,
                    count=2_000,
                    interval=Interval(low=s * 0.93, high=s * 1.07, level=0.95, method="bootstrap over rows"),
                )
                for n, s in zip(names, shares, strict=True)
            ),
        ),
        rate(
            "explainability.completeness_error",
            0.0041,
            unit="number",
            better="lower",
            half=0.0008,
            method="bootstrap over rows",
        ),
        rate(
            "explainability.sensitive_attribution_share",
            0.071,
            unit="share",
            better="lower",
            half=0.004,
            method="bootstrap over rows",
        ),
    ]
    exhibits: list[Exhibit] = [
        SliceChart(
            title="What the model relies on",
            measurement="explainability.attribution_share",
            by=("column",),
            note="Mean absolute integrated gradients, as shares of their sum.",
        ),
        Facts(
            title="How it was done",
            rows=(
                ("Method", "integrated gradients, Gauss-Legendre, 64 steps"),
                ("Baseline", "means of the training columns"),
                ("Sample", "2,000 of 16,281 rows, seed 7"),
            ),
        ),
    ]
    return measurements, exhibits, ["A seeded sample of 2,000 of 16,281 rows was explained (seed 7)."]


def privacy() -> tuple[list[Measurement], list[Exhibit], list[str]]:
    epsilons = (1.0, 3.0, 8.0)
    measurements = [
        Measurement(
            id="privacy.epsilon",
            by=("run",),
            value=3.0,
            unit="epsilon",
            better="lower",
            count=32_561,
            definition="Opacus 1.5.4, RDP accountant",
        ),
        rate("privacy.accuracy_cost", 0.0184, unit="rate_difference", better="lower", half=0.004),
    ]

    def line(name: str, values: tuple[float, ...], half: float) -> Line:
        return Line(
            name=name, x=epsilons, y=values, low=tuple(v - half for v in values), high=tuple(v + half for v in values)
        )

    exhibits: list[Exhibit] = [
        Curve(
            title="Accuracy against epsilon, by group",
            note="The flat line is the original without privacy.",
            x_label="Epsilon (smaller is more private)",
            y_label="Accuracy",
            x_unit="number",
            y_unit="rate",
            lines=(
                line("Female", (0.893, 0.917, 0.921), 0.008),
                line("Male", (0.761, 0.792, 0.803), 0.009),
                line("Female, original", (0.9264, 0.9264, 0.9264), 0.0),
                line("Male, original", (0.8123, 0.8123, 0.8123), 0.0),
                line("Black", (0.871, 0.889, 0.9), 0.014),
                line("Asian-Pac-Islander", (0.77, 0.801, 0.822), 0.03),
                line(HOSTILE["long"], (0.75, 0.745, 0.77), 0.02),
            ),
        ),
        Facts(
            title="Privacy ledger",
            rows=(
                ("Guarantee", "(3.00, 1e-05)-differential privacy"),
                ("Unit of privacy", "one row, add-or-remove"),
                ("Rows", "32,561"),
                ("Sampling", "Poisson, expected batch 512"),
                ("Noise multiplier", "0.874"),
                ("Clipping", "1.0, flat"),
                ("Side channels", "floating-point and RNG side channels not hardened"),
            ),
        ),
        Curve(title="Nothing to draw", x_label="x", y_label="y", lines=()),
    ]
    return measurements, exhibits, ["The budget does not cover the choice of the architecture."]
