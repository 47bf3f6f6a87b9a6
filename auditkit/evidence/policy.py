"""Limits fixed before the run: the policy file, the profiles that auditkit ships, and what a finding is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from auditkit.errors import PolicyError, closest
from auditkit.evidence.measurement import Group, Interval, Record
from auditkit.evidence.messages import Text
from auditkit.evidence.scalars import By, Count, Flag, Number, Words
from auditkit.evidence.toml_tables import parse_tables, read_text

Verdict = Literal["pass", "warn", "fail", "inconclusive", "waived", "not_run", "error"]

PROFILES = (
    "default",
    "eu-high-risk",
    "four-fifths",
    "ll144",
    "dp-release",
    "generation",
    "synthetic-data",
    "language",
    "embeddings",
)
"""The policies that auditkit ships, by name; `policies/NAME.toml` holds each."""

PUBLIC = re.compile("sha256:[0-9a-f]{64}")
"""How a policy names a data set that is public."""

SHIPPED = "shipped with auditkit"
"""The source of the default policy; a profile's source is its name, followed by the same words."""


class Limit(Record):
    """One bound on one measurement, with the reason for it.

    `by` chooses which breakdown is judged: absent, the overall value; `["sex"]`, that one; `"*"`, every
    breakdown that the audit made. The bound is `at_most` or `at_least`, for the value, or `regression_at_most`, for
    how much worse than the baseline the value may be. `warn_at` is a second, stricter bound on the same side: beyond
    it the limit warns. Numbers that rest on fewer than `min_count` rows are not judged, nor are, with a `level`,
    intervals of another one. Of many groups, each gives a finding, or the `"worst"` alone. A limit says nothing
    about the tasks in `skip_tasks`, such as "multiclass": there it does not count. It passes only
    where limits on the measurements in `only_with` were judged and do not fail. `line` is where the limit stands in its
    file.
    """

    measurement: Words
    by: By = ()
    at_most: Number | None = None
    at_least: Number | None = None
    regression_at_most: Number | None = None
    warn_at: Number | None = None
    severity: Literal["error", "warn"] = "error"
    compare: Literal["interval", "point"] = "interval"
    inconclusive: Literal["report", "fail"] = "report"
    groups: Literal["each", "worst"] = "each"
    min_count: Count | None = None
    level: Annotated[Number, Field(gt=0, lt=1)] | None = None
    optional: Flag = False
    skip_tasks: tuple[str, ...] = ()
    only_with: tuple[str, ...] = ()
    rationale: Words
    clause: str = ""
    line: Count | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Limit:
        bounds = [self.at_most, self.at_least, self.regression_at_most]
        if sum(bound is not None for bound in bounds) != 1:
            raise ValueError("give exactly one of at_most, at_least and regression_at_most")
        if self.warn_at is not None:
            if self.severity == "warn":
                raise ValueError("warn_at needs severity error: a limit that only warns has one bound")
            if not (self.warn_at < self.bound if self.upper else self.warn_at > self.bound):
                side = "below" if self.upper else "above"
                raise ValueError(f"warn_at must lie {side} the bound {self.bound:g}, so that it warns before it fails")
        return self

    @property
    def bound(self) -> float:
        """The number that the measurement is held against."""
        bounds = (self.at_most, self.at_least, self.regression_at_most)
        return next(bound for bound in bounds if bound is not None)

    @property
    def upper(self) -> bool:
        """Whether the bound is one from above."""
        return self.at_least is None

    @property
    def side(self) -> str:
        """The kind of the bound in words, without its number."""
        return "worse by at most" if self.regression_at_most is not None else "at most" if self.upper else "at least"

    def chooses(self, by: tuple[str, ...]) -> bool:
        """Whether this limit is about the breakdown `by`."""
        return self.by == "*" or self.by == by


class Policy(Record):
    """A named set of limits. `source` is the file's path, or says that the policy is one that auditkit ships.

    `public_data` are the data sets whose single rows a report may show, each "sha256:" and the hash of its file.
    """

    name: str
    source: str
    sha256: str
    limits: tuple[Limit, ...]
    public_data: tuple[str, ...] = ()

    @property
    def shipped(self) -> bool:
        """Whether this is a policy of auditkit's and not the user's own."""
        return self.source.endswith(SHIPPED)

    def for_task(self, task: str | None) -> Policy:
        """Return the policy with the limits that mean something for `task`."""
        return self.model_copy(update={"limits": tuple(one for one in self.limits if task not in one.skip_tasks)})


class Finding(Record):
    """One limit judged on one number: the verdict and the sentence that a reader sees first.

    `value` and `interval` are what the limit was compared with: for a regression, how much worse than the
    `baseline` the value is. `waiver` is the id of the waiver that covers the finding, valid or expired. `held_by` is
    the measurement whose limit was not met, or not judged, and without which this number, within its own limit, does
    not count.
    """

    measurement: str
    by: tuple[str, ...] = ()
    group: Group | None = None
    value: Number | None = None
    interval: Interval | None = None
    baseline: Number | None = None
    limit: Limit
    verdict: Verdict
    waiver: str | None = None
    held_by: str | None = None
    message: Text

    @property
    def excess(self) -> float:
        """How far the value lies on the wrong side of the limit, relative to the limit; negative on the right side."""
        if self.value is None:
            return 0.0
        beyond = self.value - self.limit.bound if self.limit.upper else self.limit.bound - self.value
        return beyond / max(abs(self.limit.bound), 1e-9)


def profile_text(name: str = "default") -> str:
    """Return the commented TOML of a policy that auditkit ships.

    Raises:
        PolicyError: no profile has this name.
    """
    if name not in PROFILES:
        raise PolicyError(f"unknown profile '{name}'{closest(name, PROFILES)}; profiles are {', '.join(PROFILES)}.")
    return resources.files("auditkit.evidence").joinpath(f"policies/{name}.toml").read_text(encoding="utf-8")


@cache
def profile(name: str = "default") -> Policy:
    """Return a policy that auditkit ships.

    Raises:
        PolicyError: no profile has this name.
    """
    return parse_policy(profile_text(name), source=SHIPPED if name == "default" else f"{name}, {SHIPPED}")


def shipped_profile(policy: Policy) -> str | None:
    """Return the name of the profile that a policy says it is, None if it is the user's own."""
    if not policy.shipped:
        return None
    name = "default" if policy.source == SHIPPED else policy.source.removesuffix(f", {SHIPPED}")
    return name if name in PROFILES else None


def default_policy() -> Policy:
    """Return the policy that is used where the user names none."""
    return profile("default")


def read_policy(path: str | Path) -> Policy:
    """Read a policy file, or, for the name of a profile where there is no such file, that profile.

    Raises:
        PolicyError: the file is missing, is not TOML, or a limit is wrong; the message names the line.
    """
    if str(path) in PROFILES and not Path(path).exists():
        return profile(str(path))
    remedy = f"write one with 'auditkit init', or name a profile: {', '.join(PROFILES)}."
    return parse_policy(read_text(path, "policy", remedy), source=str(path))


def parse_policy(text: str, *, source: str) -> Policy:
    """Parse the TOML `text` of a policy; `source` names it in messages and in the report.

    Raises:
        PolicyError: `text` is not TOML, or a limit is wrong; the message names the line.
    """
    keys = ("name", "public_data")
    document, limits = parse_tables(text, Limit, what="policy", key="limit", source=source, other_keys=keys)
    name = document.get("name", Path(source).stem)
    if not isinstance(name, str) or not name.strip():
        raise PolicyError(f"policy {source}: 'name' must be text that is not blank, got {name!r}.")
    public = document.get("public_data", [])
    if not isinstance(public, list) or not all(isinstance(one, str) and PUBLIC.fullmatch(one) for one in public):
        raise PolicyError(
            f"policy {source}: 'public_data' must be a list of data sets, each as \"sha256:\" and 64 hexadecimal "
            f"digits, got {public!r:.100}; the report on a data set states its hash."
        )
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Policy(name=name, source=source, sha256=sha256, limits=limits, public_data=tuple(public))


def check_measurements_exist(policy: Policy, measures: Iterable[str], *, open_auditors: Iterable[str] = ()) -> None:
    """Check that every limit names a measurement that some auditor can make.

    `open_auditors` are those whose measurements are not declared, so that any id of theirs is accepted.

    Raises:
        PolicyError: a limit names an unknown measurement; the message names the line and the closest one.
    """
    named = [(limit.line, name) for limit in policy.limits for name in (limit.measurement, *limit.only_with)]
    check_known(f"policy {policy.source}", named, measures, open_auditors=open_auditors)


def check_known(
    source: str, named: Iterable[tuple[int | None, str]], measures: Iterable[str], *, open_auditors: Iterable[str] = ()
) -> None:
    """Check that some auditor can make each measurement that a file names, in its lines.

    Raises:
        PolicyError: one is unknown; the message names the line and the closest one.
    """
    known, unbounded = set(measures), set(open_auditors)
    for line, name in named:
        if name not in known and name.split(".")[0] not in unbounded:
            at = f", line {line}" if line else ""
            raise PolicyError(
                f"{source}{at}: unknown measurement '{name}'{closest(name, known)}; 'auditkit auditors' lists them."
            )
