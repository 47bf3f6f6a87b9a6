"""FACTS 13.3: an edited results.json is refused, with the manifest of its folder beside it and without."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from counted import counted_report
from sample import build_report

from auditkit.cli import call
from auditkit.errors import InputError
from auditkit.evidence.gate import judge_report
from auditkit.evidence.integrity import sealed
from auditkit.evidence.measurement import Group, Interval, Measurement, Pair, Slice, Unit
from auditkit.evidence.policy import Limit, Policy, default_policy, parse_policy
from auditkit.evidence.rederive import ABSENT, ContradictionError, check_outcome
from auditkit.evidence.report import Outcome, Report, read_report

Document = dict[str, Any]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results.json that reads back, without a manifest."""
    path = tmp_path / "run/results.json"
    path.parent.mkdir()
    path.write_text(counted_report().to_json(), encoding="utf-8")
    read_report(path)
    return path


def edited(path: Path, change: Callable[[Document], object]) -> Path:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def measurement(document: Document, id: str) -> Document:
    return next(m for o in document["outcomes"] for m in o["measurements"] if m["id"] == id)


def first_group(document: Document) -> Document:
    every = (m for o in document["outcomes"] for m in o["measurements"] if m["slices"])
    found: Document = next(m["slices"][0] for m in every if m["slices"][0]["interval"])
    return found


def all_pass(document: Document) -> None:
    """Make the verdict a pass, consistently: every finding, the verdict and the exit code."""
    for outcome in document["outcomes"]:
        outcome["error"] = None
        for finding in outcome["findings"]:
            finding["verdict"] = "pass"
    document["verdict"], document["exit_code"] = "pass", 0


def crash_hidden(document: Document) -> None:
    """What a later gate dropped: a crash, with the reason of an auditor that was not part of the audit."""
    crashed = next(outcome for outcome in document["outcomes"] if outcome["error"])
    crashed["reason"] = ABSENT


EDITS: dict[str, tuple[Callable[[Document], object], str]] = {
    "findings": (all_pass, "its measurements give"),
    "one limit": (
        lambda d: d["policy"]["limits"][0].update(at_least=0.1),
        "its measurements give",
    ),
    "value outside": (lambda d: measurement(d, "performance.accuracy").update(value=0.999), "outside its interval"),
    "interval [0, 0]": (
        lambda d: measurement(d, "performance.accuracy")["interval"].update(low=0.0, high=0.0),
        "outside its interval",
    ),
    "group outside": (
        lambda d: next(
            m for o in d["outcomes"] for m in o["measurements"] if m["slices"] and m["slices"][0]["interval"]
        )["slices"][0].update(value=0.0001),
        "outside its interval",
    ),
    "rate above 1": (
        lambda d: measurement(d, "performance.accuracy").update(value=1.5, interval=None),
        "lies from 0 to 1",
    ),
    "counts": (lambda d: measurement(d, "performance.accuracy").update(count=10**9), "were audited"),
    "a row count beyond the rows": (
        lambda d: d["outcomes"].append(
            {
                "auditor": "data",
                "version": "1",
                "measurements": [
                    {
                        **measurement(d, "performance.accuracy"),
                        "id": "data.row_count",
                        "unit": "rows",
                        "value": 9.0,
                        "count": int("9" * 400),
                        "interval": None,
                    }
                ],
            }
        ),
        "were audited",
    ),
    "more rows audited than read": (
        lambda d: d["subject"]["dataset"].update(row_count=5),
        "rows were audited of 5",
    ),
    "a measurement twice": (
        lambda d: d["outcomes"][0]["measurements"].append(d["outcomes"][0]["measurements"][0]),
        "is stated 2 times",
    ),
    "an auditor taken away": (lambda d: d["outcomes"].pop(0), "no outcome answers it"),
    "an auditor twice": (lambda d: d["outcomes"].append(d["outcomes"][-1]), "has two outcomes"),
    "a crash hidden": (crash_hidden, "both crashed and did not run"),
    "another's measurement": (
        lambda d: d["outcomes"][1]["measurements"].append(d["outcomes"][0]["measurements"][0]),
        "is no measurement of fairness",
    ),
    "judged before the audit": (lambda d: d.update(judged="1999-01-01"), "before the audit"),
    "a finding added": (
        lambda d: d["outcomes"][0]["findings"].append(d["outcomes"][0]["findings"][0]),
        "its measurements give",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_report_contradicts_itself(name: str, results: Path) -> None:
    change, said = EDITS[name]
    with pytest.raises(InputError, match=said):
        read_report(edited(results, change))


@pytest.mark.parametrize(
    "command",
    [
        ["gate", "{run}/results.json"],
        ["comply", "{run}", "--framework", "eu-ai-act", "--out", "{out}"],
        ["render", "{run}/results.json", "--to", "markdown", "--out", "{out}"],
        ["compare", "{run}", "{other}", "--out", "{out}"],
        ["compare", "{other}", "{run}", "--out", "{out}"],
        ["gate", "{other}/results.json", "--baseline", "{run}/results.json"],
        ["gate", "{run}/results.json", "--out", "{out}"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_reader_holds_a_report_against_its_manifest(
    command: list[str], results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An edit that contradicts nothing in the report: only the manifest tells."""
    places = {"run": tmp_path / "run", "other": tmp_path / "other", "out": tmp_path / "out"}
    text = results.read_text()
    places["other"].mkdir()
    for place in (places["run"], places["other"]):
        for name, content in sealed({"results.json": text}, run_id="r").items():
            (place / name).write_text(str(content))
    arguments = [part.format(**places) for part in command]
    assert call(arguments) != 2, capsys.readouterr().err
    edited(results, lambda d: d["subject"]["model"].update(name="another"))
    assert call(arguments) == 2
    err = capsys.readouterr().err
    assert "manifest.json beside it lists" in err
    assert err.count("\n") == 1
    (places["run"] / "manifest.json").write_text("{}")
    assert call(arguments) == 2
    assert "is not as auditkit wrote it" in capsys.readouterr().err


def said_by(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code = call(arguments)
    captured = capsys.readouterr()
    return code, [line for line in (captured.out + captured.err).splitlines() if line.strip()]


def test_a_gate_says_first_that_no_manifest_lists_what_it_judges(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the counts do not give again (a score's interval) can be edited there; sealed anew it stays marked."""
    sealed_folder, judged = tmp_path / "sealed", tmp_path / "judged"
    sealed_folder.mkdir()
    for name, content in sealed({"results.json": results.read_text()}, run_id="r").items():
        (sealed_folder / name).write_text(str(content))
    _, lines = said_by(["gate", str(sealed_folder)], capsys)
    assert not any("nauthenticated" in line for line in lines)
    _, lines = said_by(["gate", str(results), "--out", str(judged)], capsys)
    assert "Unauthenticated: no manifest.json lists the results.json that was judged" in lines[0]
    assert "Unauthenticated" in (judged / "summary.md").read_text()
    assert "Unauthenticated" in (judged / "report.html").read_text()
    assert "Unauthenticated" in said_by(["gate", str(judged)], capsys)[1][0], "a manifest of the judged folder heals it"
    assert "::warning title=Unauthenticated::" in said_by(["gate", str(judged), "--format", "github"], capsys)[1][0]
    for unsealed in (results, judged):
        code, lines = said_by(["gate", str(unsealed), "--strict"], capsys)
        assert (code, len(lines)) == (2, 1)
        assert "--strict judges no such file" in lines[0]


def test_a_baseline_that_no_manifest_lists_is_said_first_and_refused_under_strict(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    now = tmp_path / "now"
    now.mkdir()
    for name, content in sealed({"results.json": results.read_text()}, run_id="r").items():
        (now / name).write_text(str(content))
    _, lines = said_by(["gate", str(now), "--baseline", str(results)], capsys)
    assert f"Unauthenticated: no manifest.json lists the baseline {results}" in lines[0]
    code, lines = said_by(["gate", str(now), "--baseline", str(results), "--strict"], capsys)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"auditkit: baseline {results}: no manifest.json")
    assert said_by(["gate", str(now), "--baseline", str(now), "--strict"], capsys)[0] != 2


def test_the_index_lists_an_edited_run_as_unreadable(results: Path, tmp_path: Path) -> None:
    for name, content in sealed({"results.json": results.read_text()}, run_id="r").items():
        (results.parent / name).write_text(str(content))
    edited(results, lambda d: d["subject"]["model"].update(name="another"))
    assert call(["index", str(tmp_path)]) == 0
    assert "it was edited since the run" in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("value", [None, True, 7, 0.5, "x", {}])
def test_what_is_no_list_is_refused_in_one_line(value: object, results: Path) -> None:
    """Found by `make fuzz`: fields that are looked at before the record is checked."""
    honest = results.read_text()
    for version_read in (1, 2):
        for edit in (
            lambda d: d.update(outcomes=value),
            lambda d: d["outcomes"][0].update(exhibits=value),
            lambda d: d["outcomes"][0]["exhibits"].append(
                {"kind": "facts", "title": "Privacy ledger, 1", "rows": [value]}
            ),
            lambda d: measurement(d, "fairness.demographic_parity_difference").update(compared=value or [1]),
            lambda d: d["subject"].update(schema=value or 1),
            lambda d: d["subject"]["schema"].update(classes=value or 1),
        ):
            results.write_text(honest)
            edited(results, edit)
            edited(results, lambda d, stated=version_read: d.update(schema_version=stated))  # type: ignore[misc]
            with pytest.raises(InputError):
                read_report(results)


def test_a_crashed_auditor_stays_crashed_through_a_gate() -> None:
    report = build_report()
    crashed = next(outcome for outcome in report.outcomes if outcome.error)
    forged = crashed.model_copy(update={"reason": ABSENT})
    outcomes = tuple(forged if outcome is crashed else outcome for outcome in report.outcomes)
    judged = judge_report(report.model_copy(update={"outcomes": outcomes}), default_policy())
    assert judged.verdict == "error"
    assert judged.exit_code == 3


def test_a_report_of_another_version_is_judged_as_this_one_judges(results: Path) -> None:
    def of_another(document: Document) -> None:
        document["environment"]["auditkit"] = "9.9"
        all_pass(document)
        document["outcomes"] = [o for o in document["outcomes"] if o["auditor"] != "toxicity"]
        document["policy"]["limits"] = [
            limit for limit in document["policy"]["limits"] if not limit["measurement"].startswith("toxicity")
        ]

    results.write_text(build_report().to_json())
    report = read_report(edited(results, of_another))
    assert report.verdict == "fail", "no verdict is taken from the file"


def test_a_shipped_policy_is_the_one_that_auditkit_ships(results: Path) -> None:
    policy = default_policy()
    judged = judge_report(build_report(), policy.model_copy(update={"limits": policy.limits[1:]}))
    results.write_text(judged.to_json())
    with pytest.raises(InputError, match="are not those of the policy 'default'"):
        read_report(results)


ZERO = {"low": 0.0, "high": 0.01, "level": 0.95, "method": "m"}


def baselined(change: float) -> Report:
    """A report of accuracy .9 with a limit on its regression against a baseline."""
    limit = Limit(measurement="performance.accuracy", regression_at_most=0.05, rationale="r", line=3)
    policy = Policy(name="p", source="p", sha256="0" * 64, limits=(limit,))

    def of(value: float) -> Report:
        interval = Interval(low=value - 0.01, high=value + 0.01, level=0.95, method="Wilson")
        one = Measurement(
            id="performance.accuracy",
            value=value,
            unit="rate",
            better="higher",
            count=100,
            interval=interval,
            definition="s",
        )
        outcome = Outcome(auditor="performance", version="1", measurements=(one,))
        return build_report(outcomes=(outcome,), policy=policy)

    from auditkit.evidence.gate import Baseline

    return judge_report(of(0.9), policy, baseline=Baseline(of(0.9 + change), "b", "0" * 64))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"verdict": "pass"}, "its numbers give fail"),
        ({"value": 0.01, "verdict": "pass"}, "that its two values do not give"),
        ({"baseline": 0.9}, "that its two values do not give"),
        ({"value": None, "verdict": "pass"}, "has no value, and the verdict pass"),
        ({"group": {"by": ["group"], "key": ["x"]}}, "is about no number"),
        (
            {"interval": {"low": 0.0, "high": 0.01, "level": 0.95, "method": "m"}, "verdict": "pass"},
            "outside its interval",
        ),
        (None, "has no finding"),
    ],
)
def test_a_regression_agrees_with_the_two_values_that_it_is_of(
    change: Document | None, said: str, tmp_path: Path
) -> None:
    report = baselined(0.09)
    assert report.verdict == "fail"
    path = tmp_path / "results.json"
    path.write_text(report.to_json())
    assert read_report(path) == report

    def edit(document: Document) -> None:
        findings = document["outcomes"][0]["findings"]
        findings[:] = [] if change is None else [{**findings[0], **change}]

    with pytest.raises(InputError, match=said):
        read_report(edited(path, edit))


def test_a_clock_that_was_set_back_revives_no_waiver() -> None:
    """FACTS 13.12."""
    report = build_report()
    judged = judge_report(report, parse_policy("", source="p"), today=date(2001, 1, 1))
    assert judged.judged == report.created.date()


def test_an_auditor_cannot_write_what_cannot_be_read() -> None:
    wide = Interval(low=0.1, high=0.2, level=0.95, method="m")
    one = Measurement(id="own.rate", value=0.5, unit="rate", better="lower", count=5, interval=wide, definition="s")
    with pytest.raises(ContradictionError, match="outside its interval"):
        check_outcome(Outcome(auditor="own", version="1", measurements=(one,)))


WHOLE = Interval(low=-1.0, high=1.0, level=0.95, method="m")
WOMEN, MEN = Group(by=("sex",), key=("F",)), Group(by=("sex",), key=("M",))


def gap(**changes: Any) -> Outcome:
    """Return selection rates of 20 of 100 women and 60 of 100 men, and the gap between them, with changes."""
    rates = Measurement(
        id="fairness.selection_rate", by=("sex",), unit="rate", better="neither", count=200, definition="d",
        slices=(Slice(group=WOMEN, value=0.2, count=100), Slice(group=MEN, value=0.6, count=100)),
    )  # fmt: skip
    near = Interval(low=0.0, high=1.0, level=0.95, method="m")
    stated: dict[str, Any] = {
        "id": "fairness.demographic_parity_difference", "by": ("sex",), "value": 0.4, "unit": "rate_difference",
        "better": "lower", "count": 200, "definition": "d", "compared": (WOMEN, MEN), "compared_counts": (100, 100),
        "pair": Pair(rate="selection_rate", successes=(20, 60), interval=near),
    }  # fmt: skip
    return Outcome(auditor="fairness", version="1", measurements=(rates, Measurement(**stated | changes)))


def test_a_gap_that_its_own_two_rates_do_not_give_is_refused() -> None:
    near, far = (Interval(low=low, high=low + 0.1, level=0.95, method="m") for low in (0.35, 0.8))
    check_outcome(gap())
    ratio = {"id": "fairness.demographic_parity_ratio", "unit": "ratio"}
    check_outcome(gap(**ratio, value=0.2 / 0.6))
    for changes, problem in (
        ({"value": 0.01}, "is 0.01, and its two rates differ by 0.39"),
        ({**ratio, "value": 0.9}, "is 0.9, and its two rates give 0.33"),
        ({"compared_counts": (100, 50)}, "counts more successes in a group"),
        ({"compared_counts": (0, 0), "pair": Pair(rate="x", successes=(0, 0), interval=near)}, "without rows"),
        ({"pair": Pair(rate="selection_rate", successes=(20, 60), interval=far)}, "of two groups, is 0.4, outside"),
        (
            {"value": 0.1, "pair": Pair(rate="selection_rate", successes=(50, 60), interval=WHOLE)},
            "has 0.5 for 'F', and fairness.selection_rate states 0.2",
        ),
    ):
        with pytest.raises(ContradictionError, match=problem):
            check_outcome(gap(**changes))


@pytest.mark.parametrize(
    ("id", "unit", "possible", "impossible"),
    [
        ("memorisation.membership_roc_auc", "number", 0.5, 1.2),
        ("leakage.membership_auc", "number", 1.0, -0.1),
        ("language.perplexity", "number", 1.0, 0.2),
        ("memorisation.canary_exposure", "number", 0.0, -1.0),
        ("performance.matthews_correlation", "number", -1.0, -1.1),
        ("fairness.demographic_parity_ratio", "ratio", 0.0, 1.5),
        ("memorisation.extraction_excess", "rate_difference", -0.5, -1.5),
    ],
)
def test_numbers_that_cannot_be_are_refused(id: str, unit: Unit, possible: float, impossible: float) -> None:
    def of(value: float) -> Outcome:
        one = Measurement(id=id, value=value, unit=unit, better="lower", count=10, definition="d")
        return Outcome(auditor=id.partition(".")[0], version="1", measurements=(one,))

    check_outcome(of(possible))
    with pytest.raises(ContradictionError, match="lies from"):
        check_outcome(of(impossible))
