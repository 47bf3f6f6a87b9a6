"""auditkit: audit a trained PyTorch model. The public names, loaded when they are first used.

>>> import auditkit
>>> report = auditkit.audit("model.pt", "data.csv")  # doctest: +SKIP
>>> report.verdict  # doctest: +SKIP
'fail'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auditkit.config import AuditConfig as AuditConfig
    from auditkit.engine.audit import audit as audit
    from auditkit.engine.inspect import inspect_model as inspect_model
    from auditkit.engine.subject import Subject as Subject
    from auditkit.errors import AuditkitError as AuditkitError, InputError as InputError, NotRun as NotRun
    from auditkit.evidence.comparison import Comparison as Comparison, compare as compare
    from auditkit.evidence.gate import gate as gate
    from auditkit.evidence.measurement import (
        Column as Column,
        Curve as Curve,
        Evidence as Evidence,
        Facts as Facts,
        Interval as Interval,
        Line as Line,
        Measurement as Measurement,
        Slice as Slice,
        SliceChart as SliceChart,
        SliceTable as SliceTable,
        Table as Table,
    )
    from auditkit.evidence.picture import Picture as Picture
    from auditkit.evidence.policy import (
        Finding as Finding,
        Limit as Limit,
        Policy as Policy,
        default_policy as default_policy,
        read_policy as read_policy,
    )
    from auditkit.evidence.report import Report as Report, read_report as read_report
    from auditkit.models.formats.opening import open_model as open_model
    from auditkit.models.model import Model as Model
    from auditkit.schema.schema import Schema as Schema, read_schema as read_schema
    from auditkit.schema.table import Feature as Feature
    from auditkit.stats.intervals import (
        multinomial_bootstrap as multinomial_bootstrap,
        proportion_interval as proportion_interval,
    )
    from auditkit.training.train import train as train

_HOMES = {
    "auditkit.errors": ("AuditkitError", "InputError", "NotRun"),
    "auditkit.stats.intervals": ("multinomial_bootstrap", "proportion_interval"),
    "auditkit.evidence.measurement": (
        "Column",
        "Curve",
        "Evidence",
        "Facts",
        "Interval",
        "Line",
        "Measurement",
        "Slice",
        "SliceChart",
        "SliceTable",
        "Table",
    ),
    "auditkit.evidence.policy": ("Finding", "Limit", "Policy", "default_policy", "read_policy"),
    "auditkit.evidence.report": ("Report", "read_report"),
    "auditkit.engine.inspect": ("inspect_model",),
    "auditkit.config": ("AuditConfig",),
    "auditkit.evidence.comparison": ("Comparison", "compare"),
    "auditkit.evidence.gate": ("gate",),
    "auditkit.evidence.picture": ("Picture",),
    "auditkit.training.train": ("train",),
    "auditkit.engine.audit": ("audit",),
    "auditkit.models.model": ("Model",),
    "auditkit.models.formats.opening": ("open_model",),
    "auditkit.schema.table": ("Feature",),
    "auditkit.schema.schema": ("Schema", "read_schema"),
    "auditkit.engine.subject": ("Subject",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # built from the table above, so that no name is listed twice


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds, and neither `auditkit --help` nor `render` needs it.
    if name not in _HOME_OF:
        raise AttributeError(f"module 'auditkit' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
