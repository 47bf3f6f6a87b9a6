"""Groups in tests: made from their values, and told by their texts."""

from __future__ import annotations

from auditkit.evidence.measurement import Group, Measurement


def group(*key: str, by: tuple[str, ...] | None = None) -> Group:
    """Return the group of these values, of as many columns: `group`, or `first`, `second`... where not named."""
    names = by or (("group",) if len(key) == 1 else ("first", "second", "third")[: len(key)])
    return Group(by=names, key=key)


def compared(measurement: Measurement | None) -> tuple[str, ...]:
    """Return the texts of the two groups that a gap compares."""
    assert measurement is not None
    assert measurement.compared is not None
    return tuple(one.text for one in measurement.compared)
