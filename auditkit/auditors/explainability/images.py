"""A network over images explained: where it looks, as heat maps a class, and whether to believe it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.auditors.explainability.checks_report import checks_table, failed_checks, stamp, trust_notes
from auditkit.auditors.explainability.cross_check import check_segments
from auditkit.auditors.explainability.methods import METHODS, choose_method, credited
from auditkit.auditors.explainability.methods_image import attribute_pixels, sum_over
from auditkit.auditors.explainability.segments import SegmentedRows
from auditkit.auditors.explainability.segments_plan import SegmentPlan, planned_segments
from auditkit.auditors.explainability.segments_report import (
    CheckedMethod,
    change_of,
    sample_notes,
    settings_facts,
    shown_rows,
    trust_checks,
)
from auditkit.auditors.explainability.statistics import keyed, ratio_slices
from auditkit.auditors.explainability.target_function import Floats, TargetFunction
from auditkit.auditors.explainability.trials import Trials
from auditkit.engine.sampling import sliced
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import (
    Evidence,
    Exhibit,
    Facts,
    Grid,
    HeatMaps,
    Measurement,
    Panel,
    SliceChart,
    grid_of,
)
from auditkit.evidence.messages import Message, number, span
from auditkit.modalities.image import SQUARES, squares, without_squares
from auditkit.progress import Progress

if TYPE_CHECKING:
    from auditkit.auditors.explainability.auditor import Explainability

SIDE = 56
"""A heat map has at most so many cells a side; larger images are averaged over blocks."""

REGIONS = (
    Message("top left"),
    Message("top"),
    Message("top right"),
    Message("left"),
    Message("centre"),
    Message("right"),
    Message("bottom left"),
    Message("bottom"),
    Message("bottom right"),
)
PANELS = 20
ROWS_SHOWN = 10
MOVE = 0.02
"""The sensitivity of an explanation is that to noise of at most so many standard deviations of a pixel."""


def explain_images(subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability) -> Evidence:
    """Return the evidence about the pixels of the images in `rows`, by the method that is asked for, or the default."""
    show_rows = settings.show_rows and bool(subject.task.classes)
    plan, way = _plan(subject, module, rows, settings)
    method, square, explained, rows = plan.method, way.square, plan.parts, rows[plan.chosen]
    images, steps, trials = explained.inputs, plan.steps, plan.trials
    pixels = way.pixels(explained, subject.progress)
    found, layers = trust_checks(subject, way.on(explained, trials), sum_over(pixels, square), trials=trials)
    size = np.abs(pixels)
    regions = _region_shares(size, METHODS[method].reference, level=subject.conf_level)
    exhibits: list[Exhibit] = [
        _class_maps(subject, images, size, rows, stamp(found)),
        _regions_chart(regions, stamp(found)),
        checks_table(found),
        *layers,
    ]
    if show_rows:
        exhibits.insert(1, _examples(subject, rows, images, pixels, stamp(found)))
    exhibits += [
        _settings(subject, way, square_count=explained.width, row_count=len(rows)),
        check_segments(
            method, "image", explained, sum_over(pixels, square), work=subject.work, seed=subject.seed, steps=steps
        ),
    ]
    return Evidence(
        measurements=[
            *credited([regions, *(check.measurement for check in found)], method, "image"),
            failed_checks(found, len(rows), subject.conf_level),
        ],
        exhibits=exhibits,
        notes=[*plan.notes, *trust_notes(found), *sample_notes(subject, "images", len(rows), show_rows=show_rows)],
    )


def passes_of_images(subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability) -> float:
    """Return how many passes `explain_images` takes about."""
    return _plan(subject, module, rows, settings)[0].passes


def _plan(
    subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability
) -> tuple[SegmentPlan, _Way]:
    source = subject.inputs if subject.training_inputs is None else subject.training_inputs
    height, width = source.shape[2:]
    square = squares(height, width, min(SQUARES, height, width))
    baseline = source.mean(axis=0, dtype=np.float64).astype(np.float32)
    parts = _in_squares(subject, module, rows, square, baseline)
    change = change_of(parts, Message("the mean image stands for the sampled images"))
    choice = choose_method(settings.method, kind="image", module=module, has_gradient=_has_gradient(parts))

    def sums(part: SegmentedRows, steps: int) -> Floats:
        pixels = attribute_pixels(choice[0], part, baseline=baseline, square=square, steps=steps)
        return np.asarray(pixels.sum(axis=(1, 2)))

    plan = planned_segments(subject, choice, parts, change, sums, other_baselines=choice[0] == "integrated_gradients")
    return plan, _Way(plan.method, square, plan.steps, baseline, source, subject.seed)


def _in_squares(
    subject: Subject,
    module: nn.Module,
    rows: NDArray[np.int64],
    square: NDArray[np.int64],
    baseline: NDArray[np.float32],
) -> SegmentedRows:
    """Return images cut into squares: `square`, (height, width), numbers them; a deleted one is that of `baseline`."""
    square_count = int(square.max()) + 1
    return SegmentedRows(
        decision=TargetFunction(module, subject.task),
        inputs=subject.inputs[rows],
        predicted=subject.task.explained(subject.predictions.take(rows)),
        counts=np.full(len(rows), square_count),
        width=square_count,
        delete=without_squares(baseline, square),
        device=subject.device,
    )


@dataclass(frozen=True, eq=False)
class _Way:
    """How pixels are attributed: by a method, in so many steps from a baseline; other baselines are of `source`."""

    method: str
    square: NDArray[np.int64]
    steps: int
    baseline: NDArray[np.float32]
    source: NDArray[np.float32]
    seed: int

    def pixels(self, parts: SegmentedRows, progress: Progress) -> Floats:
        """Return the attributions of the pixels, (images, height, width)."""
        return attribute_pixels(
            self.method, parts, baseline=self.baseline, square=self.square, steps=self.steps, progress=progress
        )

    def by_square(self, name: str, part: SegmentedRows, origin: NDArray[np.float32] | None = None) -> Floats:
        """Return the attributions of squares by a method, which may be another one, such as for comparison."""
        baseline = self.baseline if origin is None else origin
        taken = max(self.steps, 20)
        return sum_over(attribute_pixels(name, part, baseline=baseline, square=self.square, steps=taken), self.square)

    def on(self, parts: SegmentedRows, trials: Trials) -> CheckedMethod:
        """Return what the trust checks ask of this way."""

        def move(part: SegmentedRows, rng: np.random.Generator) -> SegmentedRows:
            noise = rng.uniform(-MOVE, MOVE, part.inputs.shape).astype(np.float32)
            return replace(part, inputs=part.inputs + noise)

        def with_other_baselines(part: SegmentedRows) -> Floats:
            count = min(trials.repeats, len(self.source))
            drawn = np.random.default_rng(self.seed).choice(len(self.source), size=count, replace=False)
            return np.asarray(np.mean([self.by_square(self.method, part, self.source[row]) for row in drawn], axis=0))

        has_baselines = self.method == "integrated_gradients"
        return CheckedMethod(self.method, parts, self.by_square, move, with_other_baselines if has_baselines else None)


def _regions_chart(regions: Measurement, stamped: str) -> SliceChart:
    return SliceChart(
        title=Message("Share of attribution by region"),
        note=Message(
            "{stamp}{first} Each image is cut into nine parts: a model that looks at a border or a corner shows here.",
            stamp=stamped,
            first=_first(regions),
        ),
        measurement=regions.id,
        by=regions.by,
    )


def _settings(subject: Subject, way: _Way, *, square_count: int, row_count: int) -> Facts:
    """Return how the pixels were explained, and against which baseline."""
    in_steps = Message(", {steps} Gauss-Legendre steps", steps=way.steps) if way.steps > 1 else ""
    data = Message("audited") if subject.training_inputs is None else Message("training")
    facts = [
        (Message("Method"), f"{METHODS[way.method].title} on the pixels{in_steps}"),
        (Message("Baseline"), Message("the mean image of the {data} data", data=data)),
        (
            Message("Checks"),
            Message(
                "on squares, {square_count} an image; a deleted square is that of the mean image",
                square_count=square_count,
            ),
        ),
    ]
    return settings_facts(subject, "images", row_count, facts)


def _has_gradient(parts: SegmentedRows) -> bool:
    """Return whether the decision has a gradient, not 0 everywhere, at the first images."""
    rows = torch.from_numpy(parts.inputs[:16]).to(parts.device).requires_grad_()
    decided = parts.decision(rows, torch.from_numpy(parts.predicted[:16]).to(parts.device))
    if not decided.requires_grad:
        return False
    (slopes,) = torch.autograd.grad(decided.sum(), rows, allow_unused=True)
    return slopes is not None and bool(slopes.any())


def _first(regions: Measurement) -> str:
    """Say which region weighs most."""
    first = max(regions.slices, key=lambda part: part.value or 0.0)
    evidence = Message(" ({interval})", interval=span(first.interval, "share")) if first.interval is not None else ""
    share = number(first.value or 0.0, "share")
    return Message(
        "The model looks most at the {text}: {share} of all attribution{evidence}.",
        text=next(region for region in REGIONS if region == first.group.text),
        share=share,
        evidence=evidence,
    )


def _region_shares(size: Floats, definition: str, *, level: float) -> Measurement:
    """Return `explainability.region_attribution_share`: the absolute attribution in each ninth of the image."""
    by_region = sum_over(size, squares(size.shape[1], size.shape[2], 3))
    slices = ratio_slices(
        keyed("region", REGIONS), by_region, by_region.sum(axis=1), level=level, what=Message("regions")
    )
    return sliced("region_attribution_share", ("region",), slices, len(size), "share", definition)


def _class_maps(
    subject: Subject, images: NDArray[np.float32], size: Floats, rows: NDArray[np.int64], stamped: str
) -> HeatMaps:
    panels: list[Panel] = []
    groups = subject.task.typical(subject.predictions.take(rows))
    for name, chosen, _ in groups:
        members = np.flatnonzero(chosen)
        if len(members) >= subject.min_group and len(panels) < PANELS:
            panels.append(
                Panel(
                    name=name,
                    note=Message("mean of {members_count:,} images", members_count=len(members)),
                    image=_grid(images[members].mean(axis=(0, 1))),
                    heat=_grid(size[members].mean(axis=0)),
                )
            )
    left_out = len(groups) - len(panels)
    return HeatMaps(
        title=Message("Where the model looks, by predicted class"),
        note=Message(
            "{stamped}Left the mean image, right the mean absolute attribution of its pixels: the darker, the more.",
            stamped=stamped,
        )
        + (
            Message(
                " {left_out} classes with under {min_group} explained images are left out.",
                left_out=left_out,
                min_group=subject.min_group,
            )
            if left_out
            else ""
        ),
        panels=tuple(panels),
    )


def _examples(
    subject: Subject, rows: NDArray[np.int64], images: NDArray[np.float32], attributions: Floats, stamped: str
) -> HeatMaps:
    """Return the image nearest to its class's mean for each class, and the worst errors."""
    classes = subject.schema.classes

    def nearest(members: NDArray[np.int64]) -> NDArray[np.int64]:
        distances = np.square(images[members] - images[members].mean(axis=0)).sum(axis=(1, 2, 3))
        return members[distances.argmin(keepdims=True)] if len(members) else members

    typical, worst, sureness = shown_rows(subject, rows, nearest, ROWS_SHOWN)
    labels, predicted = subject.labels[rows], subject.predictions.labels[rows]
    chosen = [(Message("prototype of {name}", name=name), row) for name, row in typical[:PANELS]]
    chosen += [
        (Message("{classes} read as {classes_2}", classes=classes[labels[row]], classes_2=classes[predicted[row]]), row)
        for row in worst
    ]
    panels = tuple(
        Panel(
            name=name,
            note=Message("at {sureness:.0%}", sureness=sureness[row]),
            image=_grid(images[row].mean(axis=0)),
            heat=_grid(np.abs(attributions[row])),
        )
        for name, row in chosen
    )
    return HeatMaps(
        title=Message("Single images: prototypes, then the worst errors"),
        note=Message(
            "{stamped}A prototype is the right image nearest to its class's mean; errors are the surest ones.",
            stamped=stamped,
        ),
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
