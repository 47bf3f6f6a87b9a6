"""One chart of the report card as a picture of its own, for notebooks and files."""

from __future__ import annotations

import re

from auditkit.errors import InputError
from auditkit.evidence.measurement import Measurement
from auditkit.evidence.messages import title
from auditkit.evidence.report import Report
from auditkit.render.html import charts
from auditkit.render.html.environment import stylesheet
from auditkit.render.renderer import Renderer

WIDTH = 704


def plot_svg(report: Report, measurement: Measurement | None = None) -> str:
    """Return the chart of a measurement's groups as a whole SVG; by default of the worst finding that has groups.

    Raises:
        InputError: the measurement has no groups to draw.
    """
    drawn = measurement or _worst(report)
    if drawn is None or not any(part.value is not None for part in drawn.slices):
        name = "the report" if drawn is None else drawn.id
        raise InputError(f"{name} has no groups to draw; report.to_frame() lists what has.")
    limits = [one for one in report.policy.limits if one.measurement == drawn.id and one.chooses(drawn.by)]
    limit = next((one for one in limits if drawn.value is None and one.regression_at_most is None), None)
    whole = report.measurement(drawn.id) if drawn.by else None
    chart = charts.slices_chart(
        drawn, heading=heading(drawn), limit=limit, overall=None if whole is None else whole.value
    )
    return standalone(chart)


def heading(measurement: Measurement) -> str:
    """Return the heading of a measurement's chart."""
    by = f" by {', '.join(measurement.by)}" if measurement.by else ""
    return f"{title(measurement.id)}{by}"


def standalone(chart: str) -> str:
    """Return a chart of the page as a whole SVG, with its size, the styles of the page, and their ground."""
    sized = re.sub(r'width="100%"', f'xmlns="http://www.w3.org/2000/svg" width="{WIDTH}"', chart, count=1)
    style = f"{stylesheet('card.css')} svg {{ background: var(--card); }}".replace("<", "&lt;").replace("&", "&amp;")
    return re.sub(r"(<svg[^>]*>)", lambda opened: f"{opened[1]}<style>{style}</style>", sized, count=1)


def _worst(report: Report) -> Measurement | None:
    found = (report.measurement(finding.measurement, finding.by) for finding in report.findings)
    return next((one for one in found if one is not None and one.slices), None)


RENDERER = Renderer("plot.svg", plot_svg)
