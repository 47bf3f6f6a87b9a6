"""Reports of schema version 1, in which a group was the text of its values: read as those of today.

Version 1 wrote the group of Black women as `F & Black`. This module is the only one that takes such a text apart, and
where the text can be read in two ways it says so instead of choosing one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

from auditkit.errors import InputError

JOINT = " & "
PAIR = " x "

Columns = tuple[str, ...]


def from_version_1(document: dict[str, Any], path: str) -> dict[str, Any]:
    """Return a report of version 1, as parsed from JSON, in the form of version 2. The argument is not changed.

    Raises:
        InputError: a group's name can be read as two different groups.
    """
    subject = document.get("subject")
    schema = subject.get("schema") if isinstance(subject, dict) else None
    schema = schema if isinstance(schema, dict) else {}
    reader = _Reader(path, _known_values(document, schema))
    outcomes = [reader.outcome(outcome) for outcome in dicts(document.get("outcomes"))]
    waivers = [reader.waiver(waiver) for waiver in dicts(document.get("waivers"))]
    found = {**document, "schema_version": 2, "outcomes": outcomes, "waivers": waivers}
    stated = schema.get("classes")
    classes = [str(name) for name in stated] if isinstance(stated, list) else []
    if schema.get("task") == "multilabel" and schema.get("target") == ",".join(classes):
        found["subject"] = {**document["subject"], "schema": {**schema, "target": classes}}
    return found


class _Reader:
    """Turns the texts of groups into values, by the values that each column is known to have."""

    def __init__(self, path: str, known: dict[str, set[str]]) -> None:
        self.path = path
        self.known = known

    def outcome(self, outcome: dict[str, Any]) -> dict[str, Any]:
        changed = dict(outcome)
        if "measurements" in outcome:
            changed["measurements"] = [self.measurement(one) for one in dicts(outcome["measurements"])]
        if "findings" in outcome:
            changed["findings"] = [self.finding(one) for one in dicts(outcome["findings"])]
        return changed

    def measurement(self, measurement: dict[str, Any]) -> dict[str, Any]:
        id, by = str(measurement.get("id")), _columns(measurement)
        changed = dict(measurement)
        if "source" in changed:  # which stood for the definition, and for the software that computed the number
            changed["definition"] = changed.pop("source")
        if "slices" in measurement:
            changed["slices"] = [
                {"group": self.group(id, by, part.get("name")), **{key: part[key] for key in part if key != "name"}}
                for part in dicts(measurement["slices"])
            ]
        if isinstance(measurement.get("compared"), list):
            changed["compared"] = [self.group(id, by, name) for name in measurement["compared"]]
        return changed

    def finding(self, finding: dict[str, Any]) -> dict[str, Any]:
        changed = {key: value for key, value in finding.items() if key != "slice"}
        if finding.get("slice") is not None:
            changed["group"] = self.group(str(finding.get("measurement")), _columns(finding), finding["slice"])
        return changed

    def waiver(self, waiver: dict[str, Any]) -> dict[str, Any]:
        by = waiver.get("by")
        if waiver.get("slice") is None or not isinstance(by, list) or len(by) < 2:
            return waiver
        return {**waiver, "slice": self.group(str(waiver.get("measurement")), tuple(by), waiver["slice"])["key"]}

    def group(self, id: str, by: Columns, name: object) -> dict[str, list[str]]:
        text = str(name)
        if id == "explainability.interaction_ratio":
            return self._split(text, ("column", "column"), PAIR)
        if id == "weak_spots.error_rate":
            return self._weak_spot(text)
        told_by = _told_by(id, by)
        return self._split(text, told_by, JOINT)

    def _split(self, text: str, by: Columns, joint: str) -> dict[str, list[str]]:
        if len(by) == 1 or joint not in text:
            return {"by": list(by[-1:]), "key": [text]}
        ways = [
            key
            for key in _ways(text.split(joint), len(by), joint)
            if all(value in self.known.get(column, {value}) for column, value in zip(by, key, strict=True))
        ]
        if len(ways) != 1:
            raise InputError(
                f"results {self.path}: version 1 of this file names a group {text!r} by {', '.join(by)}, which can be "
                "read in more than one way; run the audit again."
            )
        return {"by": list(by), "key": ways[0]}

    def _weak_spot(self, text: str) -> dict[str, list[str]]:
        """Read phrases such as `job = nurse & age under 28`: each begins with the name of its column."""
        names = self.known.get("column", set())
        for count in (2, 1):
            for phrases in _ways(text.split(JOINT), count, JOINT):
                columns = [max((n for n in names if p.startswith(f"{n} ")), key=len, default="") for p in phrases]
                if all(columns):
                    return {"by": columns, "key": phrases}
        return {"by": ["slice"], "key": [text]}


def _told_by(id: str, by: Columns) -> Columns:
    """Return the columns that the groups of a measurement are told by, where they are not those of the breakdown."""
    gap = id.endswith(("_difference", "_ratio"))
    if id == "proxies.column_roc_auc":
        return ("column",)
    if gap and by[-1:] in (("class",), ("label",)):
        return by[-1:]
    if gap and by[:1] == ("retraining",):
        return by[:1]
    return by or ("part",)


def _ways(parts: list[str], count: int, joint: str) -> Iterator[list[str]]:
    """Yield every way to read the parts of a text as `count` values in their order."""
    for cuts in combinations(range(1, len(parts)), count - 1):
        ends = (0, *cuts, len(parts))
        yield [joint.join(parts[start:end]) for start, end in pairwise(ends)]


def _known_values(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, set[str]]:
    """Return the values that each column has where the report breaks down by it alone."""
    features = [str(feature.get("name")) for feature in dicts(schema.get("features"))]
    known = {"column": {*features, str(schema.get("target"))}} if features else {}
    for outcome in dicts(document.get("outcomes")):
        for measurement in dicts(outcome.get("measurements")):
            by = _columns(measurement)
            if len(by) == 1 and measurement.get("id") != "proxies.column_roc_auc":
                known.setdefault(by[0], set()).update(
                    str(part.get("name")) for part in dicts(measurement.get("slices"))
                )
    return known


def _columns(record: dict[str, Any]) -> Columns:
    by = record.get("by") or ()
    return tuple(str(column) for column in by) if isinstance(by, list | tuple) else ()


def dicts(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list that others wrote; what is no list has none, and the record refuses it."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list | tuple) else []


LEDGER_KEYS = {
    "Guarantee": "guarantee",
    "Planned with": "planned_with",
    "Mechanism": "mechanism",
    "Trust model": "trust_model",
    "Unit of privacy": "unit_of_privacy",
    "Contribution bound": "contribution_bound",
    "Neighbouring relation": "neighbouring_relation",
    "Rows n": "row_count",
    "Sampling": "sampling",
    "Expected batch": "expected_batch",
    "Noise multiplier": "noise_multiplier",
    "Clipping norm": "clipping_norm",
    "Clipping by": "clipping",
    "Clipping passed over": "clipping_passed_over",
    "Steps": "steps",
    "Lost and paid for": "lost_steps",
    "Tuning": "tuning",
    "All trainings together": "all_trainings",
    "Initial weights": "initial_weights",
    "Trained": "trained_part",
    "Noise seed": "noise_seed",
    "Library": "library",
    "Not covered": "not_covered",
}
"""The keys of the rows of a privacy ledger, by the names that they have in reports without keys."""


def with_ledger_keys(document: dict[str, Any]) -> None:
    """Name the privacy ledgers of a report that was written before exhibits had ids."""
    exhibits = (one for outcome in dicts(document.get("outcomes")) for one in dicts(outcome.get("exhibits")))
    for exhibit in exhibits:
        if exhibit.get("kind") == "facts" and not exhibit.get("id"):
            title, rows = _english(exhibit.get("title")), exhibit.get("rows")
            if title.startswith("Privacy ledger, ") and isinstance(rows, list):
                exhibit["id"] = "privacy_ledger"
                names = [_english(row[0]) if isinstance(row, list) and row else "" for row in rows]
                exhibit["keys"] = [LEDGER_KEYS.get(name, "") for name in names]


def _english(text: Any) -> str:
    return str(text.get("text", "")) if isinstance(text, dict) else str(text)
