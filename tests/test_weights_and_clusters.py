"""Weights and clusters of rows, from the option to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.cli import call
from auditkit.evidence.measurement import Measurement
from auditkit.evidence.report import Report, read_report
from auditkit.render.first_page import plain

RNG = np.random.default_rng(5)
ROWS = 400


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """Decisions on people who occur up to four times, a group's rows weighing by what was decided."""
    frame = pd.DataFrame(
        {
            "sex": RNG.choice(["F", "M"], ROWS),
            "person": RNG.integers(0, 150, ROWS),
            "repaid": RNG.integers(0, 2, ROWS),
        }
    )
    frame["approved"] = (RNG.random(ROWS) < np.where(frame["sex"] == "M", 0.7, 0.3)).astype(int)
    frame["w"] = np.where((frame["sex"] == "F") & (frame["approved"] == 1), 6.0, 1.0)
    return frame


def audited(frame: pd.DataFrame, **options: Any) -> Report:
    given = {"prediction": "approved", "target": "repaid", "sensitive": ["sex"], "only": ["fairness"]}
    return auditkit.audit(None, frame, **{**given, **options})


def rates(report: Report) -> dict[str, float | None]:
    return {part.group.text: part.value for part in report["fairness.selection_rate", "sex"].slices}


def numbers(report: Report) -> list[Measurement]:
    return [one for outcome in report.outcomes for one in outcome.measurements]


def test_weights_change_what_is_said(people: pd.DataFrame) -> None:
    weighted, plain = audited(people, weight="w"), audited(people)
    expected = people.groupby("sex").apply(lambda rows: np.average(rows["approved"], weights=rows["w"]))
    assert rates(weighted) == pytest.approx(expected.to_dict(), abs=1e-12)
    assert rates(plain) == pytest.approx(people.groupby("sex")["approved"].mean().to_dict(), abs=1e-12)
    sampling = weighted.subject.sampling
    assert sampling is not None
    assert sampling.effective_row_count == pytest.approx(people["w"].sum() ** 2 / (people["w"] ** 2).sum())
    assert "Weighted by w: effective sample size" in sampling.sentences[0]
    assert plain.subject.sampling is None
    assert weighted.subject.dataset.rows_sha256 != plain.subject.dataset.rows_sha256


def test_the_first_page_states_the_weighted_rates(people: pd.DataFrame) -> None:
    report = audited(people, weight="w")
    gap = report["fairness.demographic_parity_difference", "sex"]
    finding = next(one for one in report.findings if one.measurement == gap.id and one.by == gap.by)
    said = plain(finding, gap).text
    for value in rates(report).values():
        assert f"{(value or 0) * 100:.1f} %" in said


def test_what_is_unweighted_says_so(people: pd.DataFrame) -> None:
    report = audited(people, weight="w")
    assert str(report["fairness.fisher_exact_p", "sex"].definition).endswith("Unweighted")
    assert not str(report["fairness.selection_rate", "sex"].definition).endswith("Unweighted")
    notes = next(outcome.notes for outcome in report.outcomes if outcome.auditor == "fairness")
    assert any(note.startswith("Unweighted: ") for note in notes)
    clustered = audited(people, cluster="person")
    assert str(clustered["fairness.fisher_exact_p", "sex"].definition).endswith("without clusters")
    assert not any("nweighted" in str(one.definition) for one in numbers(audited(people)))


def test_equal_weights_and_clusters_of_one_row_change_no_number(people: pd.DataFrame) -> None:
    plain = audited(people)
    same = audited(people.assign(w=3.0, row=np.arange(ROWS)), weight="w", cluster="row")
    assert numbers(plain) == numbers(same)
    assert plain.findings == same.findings
    assert set(same.subject.notes) - set(plain.subject.notes) == {
        "All weights in column w are equal: nothing is weighted.",
        "Every row has a value of its own in column row: there are no clusters.",
    }


def test_clusters_widen_an_interval_and_report_a_design_effect(people: pd.DataFrame) -> None:
    repeated = people.loc[people.index.repeat(5)].assign(person=np.repeat(np.arange(ROWS), 5))
    one, five = (
        audited(repeated, **given)["fairness.selection_rate", "sex"].slices[0] for given in ({}, {"cluster": "person"})
    )
    alone = audited(people)["fairness.selection_rate", "sex"].slices[0]
    assert one.interval
    assert five.interval
    assert alone.interval
    assert five.effective_count == pytest.approx(alone.count, rel=0.02)
    assert (five.interval.low, five.interval.high) == pytest.approx(
        (alone.interval.low, alone.interval.high), abs=0.005
    )
    assert five.interval.low < one.interval.low


def test_few_clusters_are_said(people: pd.DataFrame) -> None:
    report = audited(people.assign(person=people["person"] % 12), cluster="person", weight="w")
    assert report.subject.sampling is not None
    assert "fewer than 20 clusters" in report.subject.sampling.sentences[2]
    assert "11 degrees of freedom" in report.subject.sampling.sentences[2]


@pytest.mark.parametrize("wrong", ["0", "-1", "", "heavy", "nan"])
def test_weights_that_are_none_are_refused_in_one_line(
    people: pd.DataFrame, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = people.astype({"w": str})
    data.loc[7, "w"] = wrong
    data.to_csv(tmp_path / "d.csv", index=False)
    given = ["run", "--dataset", "d.csv", "--prediction", "approved", "--target", "repaid", "--sensitive", "sex"]
    command = [part if part != "d.csv" else str(tmp_path / "d.csv") for part in given]
    assert call([*command, "--weight", "w", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "line 9" in said
    assert "'w'" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weight": "wieght"}, "weight column 'wieght' is not in"),
        ({"cluster": "persn"}, "'persn' is not in .*did you mean 'person'"),
        ({"cluster": "one"}, "has one value in all rows"),
    ],
)
def test_columns_that_are_none_are_refused(people: pd.DataFrame, options: dict[str, str], said: str) -> None:
    with pytest.raises(auditkit.InputError, match=said):
        audited(people.assign(one="x"), **options)


def test_rows_without_a_cluster_stand_alone(people: pd.DataFrame) -> None:
    some = people.assign(person=people["person"].astype(object).where(people["person"] > 9, None))
    report = audited(some, cluster="person")
    assert any("are clusters of their own" in note for note in report.subject.notes)


def test_the_options_are_recorded_gated_and_replayed(people: pd.DataFrame, tmp_path: Path) -> None:
    data, out = tmp_path / "d.csv", tmp_path / "out"
    people.to_csv(data, index=False)
    given = ["--prediction", "approved", "--target", "repaid", "--sensitive", "sex", "--only", "fairness"]
    call(
        [
            "run",
            "--dataset",
            str(data),
            *given,
            "--weight",
            "w",
            "--cluster",
            "person",
            "--out",
            str(out),
            "--to",
            "html",
        ]
    )
    report = read_report(out)
    assert (report.config.data.weight, report.config.data.cluster) == ("w", "person")
    assert report.subject.sampling is not None
    assert report.subject.sampling.cluster_count == people["person"].nunique()
    assert call(["replay", str(out), "--dataset", str(data)]) == 0
    assert call(["gate", str(out), "--baseline", str(out), "--quiet"]) == report.exit_code
    page = (out / "report.html").read_text()
    assert "Weighted by w" in page


@pytest.mark.parametrize("count", [1, 2])
def test_a_group_of_one_cluster_is_too_few_to_judge_and_two_give_no_number_out_of_reach(count: int) -> None:
    place = np.arange(400)
    frame = pd.DataFrame({"g": np.where(place % 2 == 0, "a", "b"), "p": (place % 10 < 3).astype(int)})
    frame["site"] = np.where(place % 2 == 0, place // 2 % count, 10 + place // 2 % 30)
    report = auditkit.audit(None, frame, prediction="p", sensitive=["g"], cluster="site", only=["fairness"])
    rate, gap, ratio = (
        report.measurement(f"fairness.{name}", ("g",))
        for name in ("selection_rate", "demographic_parity_difference", "demographic_parity_ratio")
    )
    assert rate is not None
    assert gap is not None
    assert ratio is not None
    if count == 1:
        assert str(rate.slices[0].reason) == "too few to judge: all rows of this group are of one cluster"
        assert rate.slices[1].interval is not None
        assert str(gap.reason) == str(ratio.reason) == "fewer than two groups have rows of at least 2 clusters"
        assert report.verdict == "error"
    else:
        assert ratio.interval is not None
        assert ratio.interval.low == 0 or ratio.interval.low > 1e-12
        assert "e-" not in report.findings[0].message.partition("p =")[0]


def test_means_and_areas_of_a_group_of_one_cluster_are_too_few_to_judge_too() -> None:
    """Of three groups one is of a single site: the numbers of the others are those without it."""
    place, draws = np.arange(900), np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.array(["a", "b", "c"])[place % 3], "y": draws.integers(0, 2, 900)})
    frame["p"], frame["wait"] = (frame["y"] + draws.random(900)) / 2, 30 + draws.normal(size=900)
    frame["site"] = np.where(frame["g"] == "a", 0, 1 + place // 3 % 40)
    others = frame[frame["g"] != "a"]
    scored = {"prediction": "p", "target": "y", "only": ["performance", "fairness"], "threshold": 0.5}
    for options, names, gap in (
        (scored, ("performance.roc_auc", "performance.accuracy", "performance.brier_score"),
         "fairness.calibration_error_difference"),
        ({"outcome": "wait", "only": ["fairness"]}, ("fairness.mean_outcome",), "fairness.mean_outcome_difference"),
    ):  # fmt: skip
        given: dict[str, Any] = {"sensitive": ["g"], "cluster": "site", **options}
        report, without = (auditkit.audit(None, rows, **given) for rows in (frame, others))
        for name in names:
            alone, *rest = report[name, "g"].slices
            assert alone.value is None, name
            assert str(alone.reason) == "too few to judge: all rows of this group are of one cluster"
            assert tuple(rest) == without[name, "g"].slices
        found, true = ((one.value, one.interval, one.compared) for one in (report[gap, "g"], without[gap, "g"]))
        assert found == true
        for outcome in (
            one for one in report.outcomes if one.auditor in ("performance", "fairness") and one.measurements
        ):
            assert sum("are of one cluster, too few to judge" in note for note in outcome.notes) == 1


def test_two_groups_of_which_one_is_of_one_cluster_have_no_gap_of_means() -> None:
    place = np.arange(200)
    frame = pd.DataFrame({"g": np.where(place % 2 == 0, "a", "b"), "wait": np.random.default_rng(0).normal(size=200)})
    frame["site"] = np.where(place % 2 == 0, 0, 1 + place % 30)
    report = auditkit.audit(None, frame, outcome="wait", sensitive=["g"], cluster="site", only=["fairness"])
    gap = report["fairness.mean_outcome_difference", "g"]
    assert gap.value is None
    assert str(gap.reason) == "fewer than two groups have rows of at least 2 clusters"
