"""Fairness and performance of whole audits: Fairlearn on the same rows, parts that add up, and what users can set."""

from __future__ import annotations

import re
from typing import Any

import fairlearn.metrics
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from fairlearn.metrics import MetricFrame

from auditkit.auditors.fairness.auditor import Fairness
from auditkit.auditors.fairness.tables import confusion_counts
from auditkit.auditors.performance.auditor import Performance
from auditkit.data.dataset import data_from_frame
from auditkit.engine.audit import audit
from auditkit.engine.load import load_subject
from auditkit.errors import InputError
from auditkit.models.recorded import Decisions, Recorded
from auditkit.schema.schema import Schema

RATES = {
    "selection_rate": fairlearn.metrics.selection_rate,
    "true_positive_rate": fairlearn.metrics.true_positive_rate,
    "false_positive_rate": fairlearn.metrics.false_positive_rate,
    "accuracy": sklearn.metrics.accuracy_score,
}


def decided(rows: int = 900, seed: int = 0, classes: tuple[Any, ...] = ("no", "yes")) -> Any:
    """Make a file of scores and labels of two sensitive columns, some values missing, one group small."""
    draws = np.random.default_rng(seed)
    sex = draws.choice(np.array(["F", "M", None], dtype=object), rows, p=[0.4, 0.55, 0.05])
    race = draws.choice(["a", "b", "c"], rows, p=[0.6, 0.385, 0.015])
    score = draws.beta(1 + (sex == "M"), 2)
    label = np.array(classes)[(draws.random(rows) < score).astype(int)]
    region = draws.choice(["north", "south"], rows)
    return pd.DataFrame({"sex": sex, "race": race, "score": score.round(3), "label": label, "region": region})


def subject_of(frame: pd.DataFrame, **options: Any) -> Any:
    schema = Schema(
        features=(),
        target="label",
        task="binary",
        classes=("no", "yes"),
        sensitive=("sex", "race"),
        output="decisions",
    )
    decisions = Decisions(prediction=None, score="score")
    return load_subject(Recorded(schema, decisions), data_from_frame(frame), **options)


def measured(auditor: Any, subject: Any) -> Any:
    evidence = auditor.audit(subject)
    assert {m.id for m in evidence.measurements} <= set(auditor.measures)
    return {(m.id.partition(".")[2], m.by): m for m in evidence.measurements}


def test_every_breakdown_is_fairlearns() -> None:
    frame = decided()
    found = measured(Fairness(), subject_of(frame))
    labels, decisions = (frame["label"] == "yes").astype(int), (frame["score"] >= 0.5).astype(int)
    filled = frame[["sex", "race"]].fillna("(missing)")
    for columns in (("sex",), ("race",), ("sex", "race")):
        oracle = MetricFrame(
            metrics=RATES, y_true=labels, y_pred=decisions, sensitive_features=filled[list(columns)]
        ).by_group
        for rate in RATES:
            for part in found[rate, columns].slices:
                key = part.group.key
                if part.value is not None:
                    assert part.value == oracle.loc[key if len(key) > 1 else key[0], rate]
    assert found["selection_rate", ()].value == decisions.mean()
    assert "(missing)" in {part.group.text for part in found["selection_rate", ("sex",)].slices}
    assert "(missing)" not in {part.group.text for part in found["impact_ratio", ("sex",)].slices}


def test_parts_add_up_to_the_whole_bit_for_bit() -> None:
    frame = decided()
    whole = confusion_counts(subject_of(frame), ("sex", "race"))
    parts = [
        confusion_counts(subject_of(frame.iloc[rows]), ("sex", "race")) for rows in (slice(0, 250), slice(250, 900))
    ]
    assert parts[0] + parts[1] == whole


def test_order_of_rows_and_names_of_groups_change_nothing() -> None:
    frame = decided()
    renamed = frame.assign(sex=frame["sex"].map({"F": "z", "M": "y"})).sample(frac=1, random_state=1)
    before, after = measured(Fairness(), subject_of(frame)), measured(Fairness(), subject_of(renamed))
    assert before.keys() == after.keys()
    for key, measurement in before.items():
        if "theil" in key[0] or "entropy" in key[0] or "score" in key[0] or "calibration" in key[0]:
            assert measurement.value == pytest.approx(after[key].value, abs=1e-12)
            continue
        assert measurement.value == after[key].value, key
        assert sorted(str(part.value) for part in measurement.slices) == sorted(
            str(part.value) for part in after[key].slices
        )


def test_the_level_is_the_users() -> None:
    wide, narrow = (measured(Fairness(), subject_of(decided(), conf_level=level)) for level in (0.99, 0.8))
    for key, measurement in wide.items():
        for one, other in zip((measurement, *measurement.slices), (narrow[key], *narrow[key].slices), strict=True):
            if one.interval is not None:
                assert (one.interval.level, other.interval.level) == (0.99, 0.8)
                assert one.interval.high - one.interval.low >= other.interval.high - other.interval.low
    with pytest.raises(InputError, match="conf_level must lie between 0 and 1, got 95"):
        subject_of(decided(), conf_level=95)


def test_the_highest_scores_can_be_selected() -> None:
    subject = subject_of(decided(), top_k=100)
    assert subject.predictions.labels.sum() == 100
    scores = subject.predictions.scores
    assert scores[subject.predictions.labels == 1].min() >= scores[subject.predictions.labels == 0].max()
    assert "Selected are the 100 rows of the highest scores" in " ".join(subject.predictions.notes)
    assert "the 100 rows of the highest scores" in next(iter(Fairness().audit(subject).notes))
    tied = subject_of(decided().assign(score=0.5), top_k=7)
    assert tied.predictions.labels.sum() == 7
    assert "Of 900 rows at 0.5, 7 were drawn with seed 0." in tied.predictions.notes[-1]
    with pytest.raises(InputError, match="top_k must be from 1 to 899 rows, got 900"):
        subject_of(decided(), top_k=900)


def test_reference_groups_and_legitimate_columns() -> None:
    auditor = Fairness(reference_group=("sex=M", "race=a"), legitimate=("region",))
    found = measured(auditor, subject_of(decided()))
    by_sex = found["selection_rate_difference_from_reference", ("sex",)]
    rates = {part.group.text: part.value for part in found["selection_rate", ("sex",)].slices}
    assert {part.group.text: part.value for part in by_sex.slices} == {"F": rates["F"] - rates["M"]}
    assert "M & a" in found["selection_rate_difference_from_reference", ("sex", "race")].definition
    assert "given region (2 of 2 combinations" in found["conditional_demographic_disparity", ("sex",)].definition


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reference_group": ("sex",)}, "must be COLUMN=GROUP, got 'sex'"),
        ({"reference_group": ("sex=F", "sex=M")}, "names two groups of one column"),
        ({"reference_group": ("sexx=F",)}, "'sexx' is not a sensitive column (did you mean 'sex'"),
        ({"reference_group": ("sex=W",)}, "column sex has no group 'W'"),
        ({"legitimate": ("regoin",)}, "legitimate column 'regoin' is not in the data (did you mean 'region'"),
        ({"legitimate": ("race",)}, "legitimate column 'race' is sensitive"),
        ({"intersections": 0}, "intersections must be at least 1"),
    ],
)
def test_settings_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Fairness(**settings).check(subject_of(decided()))


def test_decisions_alone_are_audited_for_what_they_are() -> None:
    frame = decided()
    frame["decision"] = np.where(frame["score"] >= 0.5, "yes", "no")
    report = audit(
        None,
        frame.drop(columns="score"),
        prediction="decision",
        target="label",
        sensitive=["sex"],
        auditors=[Performance(), Fairness()],
    )
    assert report["performance.accuracy"].value is not None
    assert report["performance.f1_score"].value is not None
    assert report.measurement("performance.roc_auc") is None
    assert report["fairness.impact_ratio", "sex"].slices
    (fairness,) = (one for one in report.outcomes if one.auditor == "fairness")
    assert '"Selected" means a decision for label = yes, by column decision.' in fairness.notes
    assert report.measurement("fairness.scoring_rate", ("sex",)) is None
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "performance")
    assert "decisions and no scores" in outcome.notes[0]


def test_several_classes() -> None:
    draws = np.random.default_rng(0)
    frame = decided()
    frame["label"] = draws.choice(["x", "y", "z"], len(frame))
    frame["decision"] = np.where(draws.random(len(frame)) < 0.7, frame["label"], "x")
    report = audit(
        None, frame, prediction="decision", target="label", sensitive=["race"], auditors=[Performance(), Fairness()]
    )
    assert not [outcome.error for outcome in report.outcomes if outcome.error]
    macro = report["fairness.demographic_parity_difference", "race"]
    by_class = report.measurement("fairness.demographic_parity_difference", ("race", "class"))
    assert by_class is not None
    assert macro.value == pytest.approx(np.mean([part.value for part in by_class.slices if part.value is not None]))
    assert report["performance.matthews_correlation"].value is not None
