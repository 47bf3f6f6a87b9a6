"""The committed gallery is what `auditkit demo` gives today, within the tolerance of another machine's arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
from keys import compared

from auditkit.cli import call
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


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, str]:
    folder = tmp_path_factory.mktemp("demo")
    assert call(["demo", "--out", str(folder)]) == 0
    return read_report(folder / "results.json"), (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def committed() -> Report:
    return read_report(ROOT / "reports/census/results.json")


def numbers(report: Report) -> dict[tuple[object, ...], tuple[str, int, float | None]]:
    """Return the unit, the fewest rows that it rests on, and the value of each number; of a gap, its smaller group."""
    found: dict[tuple[object, ...], tuple[str, int, float | None]] = {}
    for outcome in report.outcomes:
        for measurement in outcome.measurements:
            if measurement.id in SEARCHED:
                continue
            key = (measurement.id, measurement.by)
            fewest = min((measurement.count, *(measurement.compared_counts or ())))
            found[key] = (measurement.unit, fewest, measurement.value)
            for part in measurement.slices:
                found[(*key, part.group.text)] = (measurement.unit, part.count, part.value)
    return found


def test_the_gallery_holds_the_same_numbers(demo: tuple[Report, str], committed: Report) -> None:
    fresh, kept = numbers(demo[0]), numbers(committed)
    assert fresh.keys() == kept.keys(), "run make reports"
    for key, (unit, count, value) in fresh.items():
        _, kept_count, kept_value = kept[key]
        assert (value is None) == (kept_value is None), key
        if value is None or kept_value is None:
            continue
        # Rates that rest on few rows move by whole rows when one decision flips.
        few = 2 / max(1, min(count, kept_count)) ** 0.5
        assert value == pytest.approx(kept_value, abs=max(TOLERANCE.get(unit, 0.02), few)), key
    assert demo[0].verdict == committed.verdict == "fail"
    assert demo[0].policy.limits == committed.policy.limits, "run make reports"


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
