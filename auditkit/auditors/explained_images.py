"""A network over images explained: where it looks, as heat maps a class, and whether to believe it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
from auditkit.evidence.measurement import (
    Evidence,
    Exhibit,
    Facts,
    Grid,
    HeatMaps,
    Interval,
    Measurement,
    Panel,
    Slice,
    SliceChart,
    grid_of,
)
from auditkit.metrics.attributions import ratio_of_means
from auditkit.subject.subject import Subject

SIDE = 56
"""A heat map has at most so many cells a side; larger images are averaged over blocks."""

SQUARES = 7
REGIONS = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
PANELS = 20
ROWS_SHOWN = 10
SOURCE = f"{GRADIENTS}; captum.attr.IntegratedGradients on the pixels"


def explain_images(
    subject: Subject, decision: Decision, randomised: Decision, rows: NDArray[np.int64], *, show_rows: bool
) -> Evidence:
    """Return the evidence about the pixels of the images in `rows`.

    `randomised` is the decision of the same network with all of its weights shuffled.
    """
    level, device = subject.conf_level, subject.device
    images, predicted = subject.inputs[rows], subject.predictions.labels[rows]
    source = subject.inputs if subject.training_inputs is None else subject.training_inputs
    baseline = source.mean(axis=0, dtype=np.float64).astype(np.float32)
    height, width = images.shape[2:]

    square = parts.squares(height, width, min(SQUARES, height, width))

    alone = np.broadcast_to(baseline, images.shape)
    change = parts.values(decision, images, predicted, device) - parts.values(decision, alone, predicted, device)
    if not change.any():
        raise NotRun("the model's output does not change between the sampled images and the baseline")
    few = parts.checked_rows(len(rows), seed=subject.seed)
    steps = parts.enough_steps(
        lambda count: parts.pixel_attributions(
            decision, images[few], predicted[few], baseline, steps=count, device=device
        ),
        change[few],
    )
    attributions = parts.pixel_attributions(
        decision, images, predicted, baseline, steps=steps, device=device, progress=subject.progress
    )
    by_square = parts.sum_over(attributions, square)
    every = np.full(len(few), by_square.shape[1])

    def decide(deleted: NDArray[np.bool_]) -> Floats:
        gone = deleted[:, square][:, None]
        return parts.values(decision, np.where(gone, baseline, images[few]), predicted[few], device)

    shuffled = parts.pixel_attributions(randomised, images[few], predicted[few], baseline, steps=steps, device=device)
    checks = [
        completeness_check(by_square.sum(axis=1) - change, change, SOURCE, level),
        mean_check(
            "deletion_advantage",
            parts.deletion_advantage(decide, by_square[few], every, seed=subject.seed),
            "higher",
            0.0,
            f"Samek et al. 2017, arXiv:1509.06321; squares of {len(np.unique(square))}",
            level,
        ),
        mean_check(
            "randomised_weights_correlation",
            parts.rank_correlations(by_square[few], parts.sum_over(shuffled, square), every),
            "lower",
            0.8,
            "Adebayo et al. 2018, arXiv:1810.03292; all layers randomised; signed, over squares",
            level,
        ),
    ]
    stamped = stamp(checks)
    exhibits: list[Exhibit] = [
        _class_maps(subject, images, np.abs(attributions), predicted, stamped),
        SliceChart(
            title="Share of attribution by region",
            note=f"{stamped}Each image in nine parts: a model that looks at a border or a corner shows here.",
            measurement="explainability.region_attribution_share",
            by=("region",),
        ),
        checks_table(checks),
    ]
    if show_rows:
        exhibits.insert(1, _examples(subject, rows, images, attributions, stamped))
    exhibits.append(
        Facts(
            title="How the attributions were made",
            rows=(
                ("Method", f"integrated gradients on the pixels, {steps} Gauss-Legendre steps, Captum"),
                ("Explained", _explained(subject)),
                (
                    "Baseline",
                    f"the mean image of the {'audited' if subject.training_inputs is None else 'training'} data",
                ),
                ("Sample", f"{len(rows):,} of {len(subject.labels):,} images, drawn with seed {subject.seed}"),
            ),
        )
    )
    notes = trust_notes(checks)
    if len(rows) < len(subject.labels):
        notes.append(f"A seeded sample of {len(rows):,} of {len(subject.labels):,} images was explained.")
    if show_rows:
        notes.append("Single images of the audited data are shown, as --show-rows asks.")
    measurements = [
        _region_shares(np.abs(attributions), level=level),
        *(check.measurement for check in checks),
        failed_checks(checks, len(rows), level),
    ]
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _explained(subject: Subject) -> str:
    what = "probability" if subject.schema.output == "probabilities" else "logit"
    if subject.schema.task == "binary":
        return f"the {what.replace('logit', 'log-odds')} of {subject.schema.classes[-1]}"
    return f"the {what} of the predicted class"


def _region_shares(size: Floats, *, level: float) -> Measurement:
    """Return `explainability.region_attribution_share`: the absolute attribution in each ninth of the image."""
    by_region = parts.sum_over(size, parts.squares(size.shape[1], size.shape[2], 3))
    value, low, high = ratio_of_means(by_region, by_region.sum(axis=1), level=level)
    _, wide_low, wide_high = ratio_of_means(by_region, by_region.sum(axis=1), level=level, family_size=len(REGIONS))
    slices = tuple(
        Slice(
            name=name,
            value=float(value[place]),
            count=len(size),
            interval=Interval(low=float(low[place]), high=float(min(high[place], 1)), level=level, method=RATIO_METHOD),
            simultaneous_interval=Interval(
                low=float(wide_low[place]),
                high=float(min(wide_high[place], 1)),
                level=level,
                method=f"{RATIO_METHOD}, Bonferroni over {len(REGIONS)} regions",
            ),
        )
        for place, name in enumerate(REGIONS)
    )
    return Measurement(
        id="explainability.region_attribution_share",
        by=("region",),
        unit="share",
        better="neither",
        count=len(size),
        slices=slices,
        source=SOURCE,
    )


def _class_maps(
    subject: Subject, images: NDArray[np.float32], size: Floats, predicted: NDArray[np.int64], stamped: str
) -> HeatMaps:
    panels: list[Panel] = []
    for code, name in enumerate(subject.schema.classes):
        members = np.flatnonzero(predicted == code)
        if len(members) >= subject.min_group and len(panels) < PANELS:
            panels.append(
                Panel(
                    name=f"predicted {name}",
                    note=f"mean of {len(members):,} images",
                    image=_grid(images[members].mean(axis=(0, 1))),
                    heat=_grid(size[members].mean(axis=0)),
                )
            )
    left_out = len(subject.schema.classes) - len(panels)
    return HeatMaps(
        title="Where the model looks, by predicted class",
        note=f"{stamped}Left the mean image, right the mean absolute attribution of its pixels: the darker, the more."
        + (f" {left_out} classes with under {subject.min_group} explained images are left out." if left_out else ""),
        panels=tuple(panels),
    )


def _examples(
    subject: Subject, rows: NDArray[np.int64], images: NDArray[np.float32], attributions: Floats, stamped: str
) -> HeatMaps:
    """Return the image nearest to its class's mean for each class, and the worst errors."""
    labels, predicted = subject.labels[rows], subject.predictions.labels[rows]
    classes = subject.schema.classes
    sureness = subject.predictions.probabilities[rows].max(axis=1)
    right = predicted == labels
    chosen: list[tuple[str, int]] = []
    for code, name in enumerate(classes[:ROWS_SHOWN]):
        members = np.flatnonzero(right & (labels == code))
        if len(members):
            distances = np.square(images[members] - images[members].mean(axis=0)).sum(axis=(1, 2, 3))
            chosen.append((f"prototype of {name}", int(members[distances.argmin()])))
    wrong = np.flatnonzero(~right)
    for row in wrong[np.argsort(-sureness[wrong], kind="stable")][:ROWS_SHOWN]:
        chosen.append((f"{classes[labels[row]]} read as {classes[predicted[row]]}", int(row)))
    panels = tuple(
        Panel(
            name=name,
            note=f"at {sureness[row]:.0%}",
            image=_grid(images[row].mean(axis=0)),
            heat=_grid(np.abs(attributions[row])),
        )
        for name, row in chosen
    )
    return HeatMaps(
        title="Single images: prototypes, then the worst errors",
        note=f"{stamped}A prototype is the right image nearest to its class's mean; errors are the surest ones.",
        panels=panels,
    )


def _grid(cells: NDArray[np.floating]) -> Grid:
    """Return cells, (height, width), as a grid of at most SIDE a side."""
    height, width = cells.shape
    down, right = -(-height // SIDE), -(-width // SIDE)
    small = np.array(
        [
            [cells[top : top + down, left : left + right].mean() for left in range(0, width, right)]
            for top in range(0, height, down)
        ],
        dtype=np.float64,
    )
    return grid_of(small.tolist())
