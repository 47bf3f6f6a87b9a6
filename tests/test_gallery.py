"""The committed gallery is what `auditkit demo` gives today, within the tolerance of another machine's arithmetic."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from gallery import gallery_report
from keys import compared

from auditkit.cli import call
from auditkit.evidence.measurement import Measurement, Slice
from auditkit.evidence.messages import Message
from auditkit.evidence.report import Report, read_report

ROOT = Path(__file__).parent.parent
# What a search picks among near-equals, or does to groups of a few dozen rows, turns on single decisions.
SEARCHED = {
    "weak_spots.error_rate",
    "weak_spots.excess_error_rate",
    "weak_spots.row_share",
    "tradeoff.demographic_parity_difference_left",
    "tradeoff.equal_opportunity_difference_left",
}
TOLERANCE = {"rate": 0.02, "share": 0.02, "rate_difference": 0.04, "ratio": 0.06, "nats": 0.02, "epsilon": 1e-6}


def run_demo(folder: Path) -> Report:
    assert call(["demo", "--out", str(folder)]) == 0
    return read_report(folder / "results.json")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, str]:
    """Run the demo without the leakage auditor, which takes a third of its time."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUDITKIT_SKIP", "leakage")
        return run_demo(folder), (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def committed() -> Report:
    return gallery_report("census")


Number = tuple[str, float, float | None]
"""The unit of a number, how far rounding may move it (single decisions flip), and its value."""


def numbers(report: Report, *, of_leakage: bool) -> dict[tuple[object, ...], Number]:
    """Return each number of the leakage auditor of a report, or of all others; of a gap, the smaller group counts.

    A value that is withheld because of itself, as an attack that does worse with the model than without it, stands in
    its reason: rounding on another machine may move it over that line.
    """
    found: dict[tuple[object, ...], Number] = {}
    for outcome in report.outcomes:
        for measurement in outcome.measurements:
            if measurement.id in SEARCHED or (outcome.auditor == "leakage") != of_leakage:
                continue
            key = (measurement.id, measurement.by)
            fewest = min((measurement.count, *(measurement.compared_counts or ())))
            found[key] = (measurement.unit, moved(measurement, fewest), value_of(measurement))
            for part in measurement.slices:
                found[(*key, part.group.text)] = (measurement.unit, moved(part, part.count), value_of(part))
    return found


def moved(estimate: Measurement | Slice, count: int) -> float:
    """Return how far a number may move: a rate of few rows by whole rows, a gap by a quarter of its interval.

    A gap among the groups of one retraining has no count of its smaller group; its interval has that within it.
    """
    interval = estimate.interval
    width = interval.high - interval.low if interval and interval.low is not None and interval.high is not None else 0
    return max(2 / math.sqrt(max(1, count)), width / 4)


def value_of(estimate: Measurement | Slice) -> float | None:
    """Return the value, or the one that the reason for withholding it gives."""
    withheld = estimate.reason.arguments.get("value") if isinstance(estimate.reason, Message) else None
    return withheld if estimate.value is None and isinstance(withheld, float) else estimate.value


def check_numbers(report: Report, committed: Report, *, of_leakage: bool) -> None:
    fresh, kept = (numbers(one, of_leakage=of_leakage) for one in (report, committed))
    assert len(kept) > 10
    assert fresh.keys() == kept.keys(), "run make reports"
    for key, (unit, may_move, value) in fresh.items():
        _, kept_may_move, kept_value = kept[key]
        assert (value is None) == (kept_value is None), key
        if value is None or kept_value is None:
            continue
        tolerance = max(TOLERANCE.get(unit, 0.02), may_move, kept_may_move)
        assert value == pytest.approx(kept_value, abs=tolerance), key


def test_the_gallery_holds_the_same_numbers(demo: tuple[Report, str], committed: Report) -> None:
    check_numbers(demo[0], committed, of_leakage=False)
    assert demo[0].verdict == committed.verdict == "fail"
    assert demo[0].policy.limits == committed.policy.limits, "run make reports"


@pytest.mark.slow  # shadow models, and a forest for each sensitive column
def test_the_gallery_holds_the_same_numbers_of_leakage(tmp_path: Path, committed: Report) -> None:
    report = run_demo(tmp_path)
    check_numbers(report, committed, of_leakage=True)
    assert report.exit_code == committed.exit_code


def test_the_well_known_gaps_of_the_census_are_found(demo: tuple[Report, str]) -> None:
    report, page = demo
    accuracy = report.measurement("performance.accuracy")
    assert accuracy is not None
    assert accuracy.value == pytest.approx(0.855, abs=0.01)
    gap = report.measurement("fairness.demographic_parity_difference", ("sex",))
    assert gap is not None
    assert compared(gap) == ("Female", "Male")
    assert gap.value == pytest.approx(0.19, abs=0.03)
    by_sex = report.measurement("fairness.selection_rate", ("sex",))
    assert by_sex is not None
    assert {part.group.text: part.count for part in by_sex.slices} == {"Female": 5421, "Male": 10860}
    assert report.measurement("fairness.demographic_parity_difference", ("race",)) is not None
    assert len(page.encode()) < 1_000_000


def test_the_gallery_page_is_what_the_renderer_makes_today(committed: Report) -> None:
    from auditkit.render import render

    for name, text in render(committed).items():
        assert (ROOT / "reports/census" / name).read_text(encoding="utf-8") == text, "run make reports"
