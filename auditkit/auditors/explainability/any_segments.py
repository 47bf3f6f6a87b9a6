"""A network over any rows that have segments explained: how much its decision loses without each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from auditkit.auditors.explainability.checks_report import checks_table, failed_checks, stamp, trust_notes
from auditkit.auditors.explainability.cross_check import check_segments
from auditkit.auditors.explainability.methods import METHODS, choose_method
from auditkit.auditors.explainability.segments import occlusion
from auditkit.auditors.explainability.segments_plan import SegmentPlan, planned_segments
from auditkit.auditors.explainability.segments_report import (
    CheckedMethod,
    change_of,
    sample_notes,
    segmented_rows,
    settings_facts,
    trust_checks,
)
from auditkit.auditors.explainability.statistics import keyed, largest_first, ratio_slices
from auditkit.engine.sampling import sliced
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Evidence, SliceChart
from auditkit.evidence.messages import Message
from auditkit.modalities.base import Segments
from auditkit.progress import part_of

if TYPE_CHECKING:
    from auditkit.auditors.explainability.auditor import Explainability

EXPLAINED = 0.3
"""So far the work is, about, when the rows are explained and the checks begin."""


def explain_segments(
    subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability
) -> Evidence:
    """Return the evidence about the segments of `rows`, by deleting one after the other, with the trust checks."""
    plan, segments = _plan(subject, module, rows, settings)
    method, parts, rows = plan.method, plan.parts, rows[plan.chosen]
    attributions = occlusion(parts, part_of(subject.progress, 0, EXPLAINED))
    subject.progress(EXPLAINED, "checking the attributions")
    checked = CheckedMethod(method, parts, lambda _, part: occlusion(part))
    found, layers = trust_checks(subject, checked, attributions, trials=plan.trials)
    names = segments.names or tuple(f"{place + 1}" for place in range(segments.width))
    size = np.abs(attributions)
    slices = ratio_slices(
        keyed("segment", names), size, size.sum(axis=1), level=subject.conf_level, what=Message("segments")
    )
    ordered = slices if segments.divided is not None else largest_first(slices)
    share = sliced("attribution_share", ("segment",), ordered, len(rows), "share", METHODS[method].reference)
    chart = SliceChart(
        title=_title(segments),
        note=Message(
            "{stamp}How much the decision changes without a segment, as a share of all segments.", stamp=stamp(found)
        ),
        measurement=share.id,
        by=share.by,
    )
    second = check_segments(method, "segments", parts, attributions, work=subject.work, seed=subject.seed)
    facts = [
        (Message("Method"), METHODS[method].title),
        (Message("Baseline"), Message("the same row without a segment")),
    ]
    return Evidence(
        measurements=[
            share,
            *(check.measurement for check in found),
            failed_checks(found, len(rows), subject.conf_level),
        ],
        exhibits=[chart, checks_table(found), *layers, settings_facts(subject, "rows", len(rows), facts), second],
        notes=[*plan.notes, *trust_notes(found), *sample_notes(subject, "rows", len(rows), show_rows=False)],
    )


def passes_of_segments(subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability) -> float:
    """Return how many passes `explain_segments` takes about."""
    return _plan(subject, module, rows, settings)[0].passes


def _plan(
    subject: Subject, module: nn.Module, rows: NDArray[np.int64], settings: Explainability
) -> tuple[SegmentPlan, Segments]:
    source = subject.inputs if subject.training_inputs is None else subject.training_inputs
    segments = subject.modality.segments(subject.inputs[rows], source)
    parts = segmented_rows(subject, module, rows, subject.inputs[rows], segments)
    change = change_of(parts, Message("every segment is deleted"))
    choice = choose_method(settings.method, kind="segments", module=module)
    return planned_segments(subject, choice, parts, change, lambda part, _: occlusion(part).sum(axis=1)), segments


def _title(segments: Segments) -> Message:
    """Return the title of the chart of what each segment contributes."""
    if segments.divided is None:
        return Message("Share of attribution by segment")
    return Message("Share of attribution by part of {divided}", divided=segments.divided)
