"""Waivers: what they cover, what they never cover, and what happens after their last day."""

from __future__ import annotations

from datetime import date

import pytest
from keys import group

from auditkit.errors import PolicyError
from auditkit.evidence.judging import judge, overall, unmeasured
from auditkit.evidence.measurement import Interval, Measurement, Slice
from auditkit.evidence.policy import Finding, Limit, Verdict
from auditkit.evidence.waivers import Waiver, parse_waivers, read_waivers, waive

HASH = "ab" * 32
TODAY = date(2026, 11, 22)

WHOLE = f"""
[[waiver]]
id = "W-1"
measurement = "fairness.selection_rate"
by = ["sex"]
slice = "Female"
model = "sha256:{HASH}"
owner = "Ana"
approver = "Risk committee"
statement = "Under review."
expires = 2026-12-31
"""


def interval(low: float, high: float) -> Interval:
    return Interval(low=low, high=high, level=0.95, method="by hand")


def finding(verdict: Verdict = "fail", *, regression: bool = False) -> Finding:
    part = Slice(group=group("Female"), value=0.2, count=100, interval=interval(0.15, 0.25))
    measurement = Measurement(
        id="fairness.selection_rate",
        by=("sex",),
        unit="rate",
        better="lower",
        count=100,
        slices=(part,),
        definition="x",
    )
    limit = Limit(measurement=measurement.id, by="*", at_most=0.1, rationale="r")
    (judged,) = judge(limit, [measurement])
    if regression:
        limit = Limit(measurement=measurement.id, by="*", regression_at_most=0.1, rationale="r")
    return judged.model_copy(update={"verdict": verdict, "limit": limit})


def waiver(**changes: object) -> Waiver:
    fields = {
        "id": "W-1",
        "measurement": "fairness.selection_rate",
        "by": "*",
        "owner": "Ana",
        "approver": "Risk committee",
        "statement": "Under review.",
        "expires": date(2026, 12, 31),
    }
    return Waiver(**{**fields, **changes})


def test_a_waiver_reads_whole() -> None:
    (read,) = parse_waivers(WHOLE, source="w.toml")
    assert read == waiver(by=("sex",), slice="Female", model=f"sha256:{HASH}", line=2)
    assert read.covers(finding(), HASH)


@pytest.mark.parametrize("verdict", ["fail", "warn", "inconclusive"])
def test_a_valid_waiver_waives_and_says_who_answers_for_it(verdict: Verdict) -> None:
    judged = waive(finding(verdict), (waiver(),), HASH, TODAY)
    assert (judged.verdict, judged.waiver) == ("waived", "W-1")
    assert judged.message.endswith(
        "Waived until 2026-12-31: Under review (waiver W-1, owner Ana, approved by Risk committee)."
    )
    assert overall([judged]) == "pass"


@pytest.mark.parametrize("verdict", ["fail", "warn", "inconclusive"])
def test_an_expired_waiver_fails(verdict: Verdict) -> None:
    last = waiver(expires=TODAY)
    assert waive(finding(verdict), (last,), HASH, TODAY).verdict == "waived", "the last day counts"
    judged = waive(finding(verdict), (last,), HASH, date(2026, 11, 23))
    assert (judged.verdict, judged.waiver) == ("fail", "W-1")
    assert "Waiver W-1 of Ana expired on 2026-11-22: fail." in judged.message


@pytest.mark.parametrize("verdict", ["pass", "not_run", "error"])
@pytest.mark.parametrize("expires", [date(2026, 12, 31), date(2020, 1, 1)])
def test_what_holds_or_was_not_judged_stays_as_it_is(verdict: Verdict, expires: date) -> None:
    assert waive(finding(verdict), (waiver(expires=expires),), HASH, TODAY) == finding(verdict)


def test_a_required_limit_without_a_measurement_cannot_be_waived() -> None:
    limit = Limit(measurement="fairness.selection_rate", at_most=0.1, rationale="r")
    assert overall([waive(unmeasured(limit, "no data"), (waiver(),), HASH, TODAY)]) == "error"


@pytest.mark.parametrize(
    "change",
    [
        {"measurement": "fairness.accuracy"},
        {"by": ()},
        {"by": ("race",)},
        {"slice": "Male"},
        {"model": "sha256:" + "cd" * 32},
        {"regression": True},
    ],
    ids=str,
)
def test_a_waiver_covers_nothing_else(change: dict[str, object]) -> None:
    assert waive(finding(), (waiver(**change),), HASH, TODAY) == finding()


def test_a_model_without_a_hash_matches_no_model() -> None:
    assert not waiver(model=f"sha256:{HASH}").covers(finding(), None)


def test_a_waiver_of_the_bound_does_not_waive_the_regression() -> None:
    regressed = finding(regression=True)
    assert waive(regressed, (waiver(),), HASH, TODAY) == regressed
    assert waive(regressed, (waiver(regression=True),), HASH, TODAY).verdict == "waived"


def test_of_two_waivers_the_longer_counts() -> None:
    both = (waiver(expires=date(2026, 1, 1)), waiver(id="W-2"))
    assert waive(finding(), both, HASH, TODAY).waiver == "W-2"


BROKEN = {
    WHOLE.replace('owner = "Ana"', ""): "line 2: the waiver has no 'owner'; every waiver gives id, measurement",
    WHOLE.replace('approver = "Risk committee"', ""): "the waiver has no 'approver'",
    WHOLE.replace("expires = 2026-12-31", ""): "the waiver has no 'expires'",
    WHOLE.replace("expires = 2026-12-31", 'expires = "soon"'): "line 11: expires",
    WHOLE.replace('"Under review."', '""'): "line 10: statement",
    WHOLE.replace("sha256:", "md5:"): "line 7: model",
    WHOLE.replace("expires", "expiry"): "line 11: unknown key 'expiry' (did you mean 'expires'?)",
    WHOLE + WHOLE: "line 13: id 'W-1' is taken by another waiver",
    'waivers = "x"': "unknown key 'waivers' (did you mean 'waiver'?)",
    "[[waiver]": "not valid TOML",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_waivers_file_names_file_and_line(text: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_waivers(text, source="w.toml")
    message = str(caught.value)
    assert message.startswith("waivers w.toml")
    assert BROKEN[text] in message
    assert "\n" not in message


def test_a_missing_waivers_file_is_an_error() -> None:
    with pytest.raises(PolicyError, match=r"waivers absent.toml: No such file"):
        read_waivers("absent.toml")
