"""Personal data: found by check digits and names of columns, counted, never shown; look-alikes raise no alarm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.auditors.data_quality.personal_data import in_column
from auditkit.data.personal_patterns import passes_luhn
from auditkit.render.html.report import render_html

N = 300
RNG = np.random.default_rng(0)


def cards(count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        number = "4" + "".join(map(str, RNG.integers(0, 10, 15)))
        found += [number] if passes_luhn(number) else []
    return found


CARDS = cards(30)

PERSONAL: dict[str, tuple[list[object], str]] = {
    "contact": ([f"a{i}@example.org" for i in range(N)], "e-mail address"),
    "notes": (["fine" if i % 9 else "write to bob.x@mail.example.com." for i in range(N)], "e-mail address"),
    "reach": ([f"({200 + i}) 555-{i:04d}" for i in range(N)], "phone number"),
    "line": ([f"+49 151 {1000000 + i}" for i in range(N)], "phone number"),
    "number": ([13800000000 + i for i in range(N)], "phone number"),
    "gaps": ([np.nan if i % 3 else 13800000000 + i for i in range(N)], "phone number"),
    "paid_by": (list(np.resize(CARDS, N)), "payment card number"),
    "as_integer": ([int(card) for card in np.resize(CARDS, N)], "payment card number"),
    "security": ([f"{1 + i:03d}-{1 + i % 98:02d}-{1 + i:04d}" for i in range(N)], "US social security number"),
    "id": (["11010519491231002X", *["none"] * (N - 1)], "Chinese resident identity number"),
    "account": (["GB82 WEST 1234 5698 7654 32"] * N, "bank account number (IBAN)"),
    "first_name": ([f"Name{i}" for i in range(N)], "by the name of the column"),
    "applicantEmail": ([f"hashed {i}" for i in range(N)], "by the name of the column"),
    "date_of_birth": ([f"19{i % 100:02d}-01-{1 + i % 28:02d}" for i in range(N)], "by the name of the column"),
    "姓名": ([f"王{i}" for i in range(N)], "by the name of the column"),
}

HARMLESS: dict[str, list[object]] = {
    "telephone": ["yes" if i % 2 else "none" for i in range(N)],
    "sixteen_digits": list(RNG.integers(4 * 10**15, 5 * 10**15 - 1, N)),
    "eighteen_digits": list(RNG.integers(10**17, 9 * 10**17, N)),
    "eleven_digits": list(RNG.integers(10**10, 10**11, N)),
    "ean": list(RNG.integers(4 * 10**12, 5 * 10**12, N)),
    "fnlwgt": list(RNG.integers(12285, 1484705, N)),
    "postcode": list(RNG.integers(10000, 99999, N)),
    "zip": [f"{10000 + i}-{i:04d}" for i in range(N)],
    "milliseconds": list(RNG.integers(1_600_000_000_000, 1_700_000_000_000, N)),
    "seconds": list(RNG.integers(1_600_000_000, 1_700_000_000, N)),
    "day": [f"2020-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(N)],
    "uuid": [f"{i:08x}-1234-4321-abcd-{i:012x}" for i in range(N)],
    "order": [f"ORD-{i:03d}-{i % 100:02d}-{i:04d}" for i in range(N)],
    "isbn": ["978-3-16-148410-0"] * N,
    "gain": [f"+{i}345678.25" for i in range(N)],
    "income": list(RNG.normal(4e12, 1e12, N)),
    "email_verified": list(RNG.random(N) < 0.5),
    "phone_count": list(RNG.integers(0, 30, N)),
    "has_phone_number": [f"{i}" for i in range(N)],
    "empty": [None] * N,
}


@pytest.mark.parametrize("name", PERSONAL)
def test_personal_data_are_found_and_counted(name: str) -> None:
    column, kind = PERSONAL[name]
    (found,) = in_column(name, pd.Series(column))
    held = {"notes": sum(i % 9 == 0 for i in range(N)), "gaps": N // 3, "id": 1}.get(name, N)
    assert (found.column, str(found.kind), found.rows) == (name, kind, held)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_looks_like_personal_data_is_none(name: str) -> None:
    assert in_column(name, pd.Series(HARMLESS[name])) == []
    assert in_column(name, pd.Series(HARMLESS[name]).astype(object)) == []


def test_a_policy_can_limit_them_and_no_value_is_shown(tmp_path: Path) -> None:
    frame = pd.DataFrame({"contact": PERSONAL["contact"][0], "paid_by": PERSONAL["paid_by"][0]})
    frame["sex"] = RNG.choice(["F", "M"], N)
    frame["y"] = RNG.choice(["no", "yes"], N)
    frame["d"] = RNG.choice(["no", "yes"], N)
    limits = [
        f'[[limit]]\nmeasurement = "data.{name}"\nat_most = 0\nrationale = "x"\n'
        for name in ("personal_column_count", "record_gap_count")
    ]
    (tmp_path / "policy.toml").write_text('name = "ours"\n' + "\n".join(limits), encoding="utf-8")
    policy = str(tmp_path / "policy.toml")
    report = auditkit.audit(data=frame, prediction="d", target="y", sensitive=["sex"], only=("data",), policy=policy)
    assert [(finding.measurement, finding.verdict) for finding in report.findings] == [
        ("data.personal_column_count", "fail"),
        ("data.record_gap_count", "fail"),
    ]
    counts = report.measurement("data.personal_value_count", ("column", "kind"))
    assert counts is not None
    assert {part.group.key: part.value for part in counts.slices} == {
        ("contact", "e-mail address"): N,
        ("paid_by", "payment card number"): N,
    }
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "data")
    assert any(note.startswith("Personal data in contact, paid_by:") for note in outcome.notes)
    record = next(exhibit for exhibit in outcome.exhibits if exhibit.title == "What the record holds")
    assert dict(record.rows)["sha256 of the audited data"] == "not recorded"  # type: ignore[union-attr,arg-type]
    for text in (render_html(report), json.dumps(report.model_dump(mode="json"))):
        assert "@example.org" not in text
        assert not any(card in text for card in CARDS)
