"""Limits fixed before the run: the policy file, and how a measurement is judged against it."""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, ValidationError, model_validator

from auditkit.errors import PolicyError, closest
from auditkit.evidence.measurement import Interval, Measurement, Record, Slice
from auditkit.evidence.sentences import sentence

Verdict = Literal["pass", "warn", "fail", "inconclusive", "waived", "not_run", "error"]


class Limit(Record):
    """One bound on one measurement, with the reason for it.

    `by` chooses which breakdown is judged: absent, the overall value; `["sex"]`, that one; `"*"`, every
    breakdown that the audit made. `line` is where the limit stands in its file.
    """

    measurement: str
    by: tuple[str, ...] | Literal["*"] = ()
    at_most: FiniteFloat | None = None
    at_least: FiniteFloat | None = None
    severity: Literal["error", "warn"] = "error"
    compare: Literal["interval", "point"] = "interval"
    inconclusive: Literal["report", "fail"] = "report"
    optional: bool = False
    rationale: Annotated[str, Field(min_length=1)]
    clause: str = ""
    line: int | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Limit:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("give exactly one of at_most and at_least")
        return self

    @property
    def bound(self) -> float:
        """The number that the measurement is held against."""
        return self.at_most if self.at_most is not None else self.at_least  # type: ignore[return-value]  # one is set

    def chooses(self, by: tuple[str, ...]) -> bool:
        """Whether this limit is about the breakdown `by`."""
        return self.by == "*" or self.by == by


class Policy(Record):
    """A named set of limits. `source` is the file's path, or says that the policy is the one auditkit ships."""

    name: str
    source: str
    sha256: str
    limits: tuple[Limit, ...]


class Finding(Record):
    """One limit judged on one number: the verdict and the sentence that a reader sees first."""

    measurement: str
    by: tuple[str, ...] = ()
    slice: str | None = None
    value: FiniteFloat | None = None
    limit: Limit
    verdict: Verdict
    message: str

    @property
    def excess(self) -> float:
        """How far the value lies on the wrong side of the limit, relative to the limit; negative on the right side."""
        if self.value is None:
            return 0.0
        beyond = self.value - self.limit.bound if self.limit.at_most is not None else self.limit.bound - self.value
        return beyond / max(abs(self.limit.bound), 1e-9)


def default_policy_text() -> str:
    """Return the commented TOML of the policy that auditkit ships."""
    return resources.files("auditkit.evidence").joinpath("default_policy.toml").read_text(encoding="utf-8")


def default_policy() -> Policy:
    """Return the policy that auditkit ships, used where the user names none."""
    return parse_policy(default_policy_text(), source="shipped with auditkit")


def read_policy(path: str | Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: the file is missing, is not TOML, or a limit is wrong; the message names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"policy {path}: {error.strerror or error}; write one with 'auditkit init'.") from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"policy {path}: not UTF-8 text at byte {error.start}; save it as UTF-8.") from error
    return parse_policy(text, source=str(path))


def parse_policy(text: str, *, source: str) -> Policy:
    """Parse the TOML `text` of a policy; `source` names it in messages and in the report.

    Raises:
        PolicyError: `text` is not TOML, or a limit is wrong; the message names the line.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"policy {source}: not valid TOML: {error}.") from error
    unknown = sorted(set(document) - {"name", "limit"})
    if unknown:
        line = next((number for number, content in enumerate(text.splitlines(), 1) if unknown[0] in content), 1)
        raise PolicyError(
            f"policy {source}, line {line}: unknown key '{unknown[0]}'{closest(unknown[0], ('name', 'limit'))}; "
            "a policy holds 'name' and [[limit]] tables."
        )
    tables = document.get("limit", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise PolicyError(f"policy {source}: 'limit' must be an array of tables; write [[limit]] above each.")
    name = document.get("name", Path(source).stem)
    if not isinstance(name, str):
        raise PolicyError(f"policy {source}: 'name' must be text, got {name!r}.")
    lines = list(_limit_lines(text))
    limits = tuple(
        _parse_limit(table, lines[index] if len(lines) == len(tables) else None, text, source)
        for index, table in enumerate(tables)
    )
    return Policy(name=name, source=source, sha256=hashlib.sha256(text.encode()).hexdigest(), limits=limits)


def _limit_lines(text: str) -> Iterator[int]:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[\[\s*limit\s*\]\]", line):
            yield number


def _parse_limit(table: dict[str, Any], line: int | None, text: str, source: str) -> Limit:
    try:
        return Limit.model_validate({**table, "line": line})
    except ValidationError as error:
        # A misspelt key is the cause of the missing one, so it is told first.
        first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        key = str(first["loc"][0]) if first["loc"] else ""
        at = f", line {_key_line(text, line, key)}" if line else ""
        if first["type"] == "extra_forbidden":
            known = sorted(set(Limit.model_fields) - {"line"})
            problem = f"unknown key '{key}'{closest(key, known)}; a limit takes {', '.join(known)}."
        elif first["type"] == "missing":
            problem = f"the limit has no '{key}'; every limit names its measurement, one bound and its rationale."
        else:
            got = f", got {first['input']!r}" if key else ""
            message = first["msg"].removeprefix("Value error, ")
            problem = f"{key + ': ' if key else ''}{message[0].lower()}{message[1:]}{got}."
        raise PolicyError(f"policy {source}{at}: {problem}") from error


def _key_line(text: str, header: int, key: str) -> int:
    lines = text.splitlines()
    for number in range(header + 1, len(lines) + 1):
        content = lines[number - 1]
        if content.lstrip().startswith("["):
            break
        if key and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", content):
            return number
    return header


def check_measurements_exist(policy: Policy, measures: Iterable[str], *, open_auditors: Iterable[str] = ()) -> None:
    """Check that every limit names a measurement that some auditor can make.

    `open_auditors` are those whose measurements are not declared, so that any id of theirs is accepted.

    Raises:
        PolicyError: a limit names an unknown measurement; the message names the line and the closest one.
    """
    known, unbounded = set(measures), set(open_auditors)
    for limit in policy.limits:
        if limit.measurement in known or limit.measurement.split(".")[0] in unbounded:
            continue
        at = f", line {limit.line}" if limit.line else ""
        raise PolicyError(
            f"policy {policy.source}{at}: unknown measurement '{limit.measurement}'"
            f"{closest(limit.measurement, known)}; 'auditkit auditors' lists them."
        )


def judge(limit: Limit, measurements: Iterable[Measurement]) -> list[Finding]:
    """Judge one limit against the measurements that it chooses; one finding per number.

    A measurement with slices and no value of its own is judged slice by slice, on intervals that hold for all
    slices together. Where the limit's measurement was not made, the result is empty: `unmeasured` says so.
    """
    findings = []
    for measurement in measurements:
        if measurement.id != limit.measurement or not limit.chooses(measurement.by):
            continue
        if measurement.value is None and measurement.slices:
            findings += [_judge_number(limit, measurement, part) for part in measurement.slices]
        else:
            findings.append(_judge_number(limit, measurement, None))
    return findings


def unmeasured(limit: Limit, reason: str) -> Finding:
    """Return the finding of a limit that nothing measured, with the reason why."""
    by = () if limit.by == "*" else limit.by
    message = f"{sentence(limit.measurement, by)} was not measured: {reason}"
    return Finding(measurement=limit.measurement, by=by, limit=limit, verdict="not_run", message=message)


def _judge_number(limit: Limit, measurement: Measurement, part: Slice | None) -> Finding:
    number = measurement if part is None else part
    interval = number.interval if part is None else part.simultaneous_interval or part.interval
    verdict, remark = _verdict(limit, number.value, interval, number.count)
    if number.value is None:
        remark = number.reason or "undefined"
    return Finding(
        measurement=measurement.id,
        by=measurement.by,
        slice=None if part is None else part.name,
        value=number.value,
        limit=limit,
        verdict=verdict,
        message=sentence(
            measurement.id,
            measurement.by,
            measurement=measurement,
            part=part,
            interval=interval,
            at_most=limit.at_most,
            at_least=limit.at_least,
            verdict=verdict,
            remark=remark,
        ),
    )


def _verdict(limit: Limit, value: float | None, interval: Interval | None, count: int) -> tuple[Verdict, str]:
    if value is None:
        return "not_run", ""
    broken: Verdict = "fail" if limit.severity == "error" else "warn"
    point = limit.compare == "point" or interval is None
    low, high = (value, value) if point or interval is None else (interval.low, interval.high)
    if limit.at_most is not None:
        held, exceeded = high <= limit.at_most, low > limit.at_most
    else:
        held, exceeded = low >= limit.bound, high < limit.bound
    if held:
        return "pass", ""
    if exceeded:
        return broken, ""
    remark = rows_to_settle(value, low, high, limit.bound, count)
    if limit.inconclusive == "fail":
        return broken, f"{remark}, and this limit fails what is inconclusive"
    return "inconclusive", remark


def rows_to_settle(value: float, low: float, high: float, bound: float, count: int) -> str:
    """Say how many more rows would take the interval off the limit, if the value stayed where it is.

    The half-width of an interval shrinks with the square root of the count, so the side that crosses the
    bound clears it at `count * ((side - value) / (bound - value))**2` rows.

    >>> rows_to_settle(0.08, 0.04, 0.12, 0.10, 1000)
    'about 3,000 more rows would settle it'
    """
    side = high if bound > value else low
    if math.isclose(value, bound, rel_tol=1e-9, abs_tol=1e-12):
        return "the value is on the limit: no number of rows is sure to settle it"
    needed = count * ((side - value) / (bound - value)) ** 2
    more = max(needed - count, 1)
    if more > 1e9:
        return "more than a billion rows would be needed to settle it"
    digits = 1 - math.floor(math.log10(more))
    return f"about {max(1, int(round(more, digits))):,} more rows would settle it"
