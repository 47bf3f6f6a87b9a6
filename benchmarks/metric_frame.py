"""Per-group metrics of a million rows and three sensitive columns: auditkit against Fairlearn's MetricFrame.

Both start from the same frame and end at the same 4 metrics for each group of the three columns' intersection, whose
values are compared to the last bit first. Coding the groups is part of the time. Fairlearn 0.15 stacks every column
in a Python loop over rows; the second figure for it has that loop replaced by the array that it copies.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from common import METRICS, SENSITIVE, best_of, resampled, write
from fairlearn import metrics as fairlearn
from fairlearn.metrics import MetricFrame
from fairlearn.metrics._annotated_metric_function import AnnotatedMetricFunction
from sklearn.metrics import accuracy_score

from auditkit.data.dataset import Data
from auditkit.engine.subject import Subject
from auditkit.models.recorded import Decisions, Recorded
from auditkit.schema.infer import numeric_schema
from auditkit.stats.counts import Counts, tally
from auditkit.stats.rates import rate_measurement, successes_and_trials

ROWS = 1_000_000


def by_auditkit(frame: pd.DataFrame) -> dict[str, dict[tuple[str, ...], float]]:
    counts = counted(frame)
    values = {}
    for name in METRICS:
        successes, trials = successes_and_trials(counts.table, name)
        with np.errstate(invalid="ignore"):
            values[name] = dict(zip(counts.groups, (successes / trials).tolist(), strict=True))
    return values


def counted(frame: pd.DataFrame) -> Counts:
    subject = Subject(
        audited=Recorded(
            numeric_schema(["score"], target="label", classes=("0", "1"), sensitive=SENSITIVE),
            Decisions(prediction="prediction"),
        ),
        data=Data(frame=frame, path=None, sha256=None),
        labels=frame["label"].to_numpy(),
        sensitive=SENSITIVE,
        row_count_read=len(frame),
    )
    names, codes = subject.group_codes(SENSITIVE)
    return tally(SENSITIVE, names, codes, subject.labels, frame["prediction"].to_numpy(), ("0", "1"))


def by_fairlearn(frame: pd.DataFrame) -> pd.DataFrame:
    functions = {name: getattr(fairlearn, name, accuracy_score) for name in METRICS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas 3 warns about what Fairlearn 0.15 does
        return MetricFrame(
            metrics=functions,
            y_true=frame["label"].to_numpy(),
            y_pred=frame["prediction"].to_numpy(),
            sensitive_features=frame[list(SENSITIVE)],
        ).by_group


@contextmanager
def repaired() -> Iterator[None]:
    """Fairlearn without its loop over rows."""

    def call(self: Any, frame: Any) -> Any:
        import narwhals.stable.v1 as narwhals

        table = narwhals.from_native(frame, eager_only=True, pass_through=False)
        named = {key: table.get_column(column).to_numpy() for key, column in self.kw_argument_mapping.items()}
        return self.func(*(table.get_column(name).to_numpy() for name in self.postional_argument_names), **named)

    shipped = AnnotatedMetricFunction.__call__
    AnnotatedMetricFunction.__call__ = call
    try:
        yield
    finally:
        AnnotatedMetricFunction.__call__ = shipped


def main() -> None:
    numbers: dict[str, Any] = {"rows": ROWS, "sensitive_columns": SENSITIVE, "metrics": METRICS}
    categories = resampled(ROWS)
    for kind, dtype in (("categories", "category"), ("str", "str"), ("texts", object)):
        frame = categories.astype(dict.fromkeys(SENSITIVE, dtype))
        ours, mine = best_of(7, lambda frame=frame: by_auditkit(frame))
        with repaired():
            theirs, table = best_of(1, lambda frame=frame: by_fairlearn(frame))
        started = time.process_time()
        shipped_table = by_fairlearn(frame)
        shipped = time.process_time() - started
        groups = 0
        for key, row in table.iterrows():
            if tuple(map(str, key)) not in mine[METRICS[0]]:
                continue  # MetricFrame lists intersections without rows
            groups += 1
            for name in METRICS:
                value = mine[name][tuple(map(str, key))]
                if np.isnan(value):
                    continue  # undefined, which Fairlearn calls 0
                assert value == row[name] == shipped_table.loc[key, name], (key, name)
        assert groups == len(mine[METRICS[0]])
        counts = counted(frame)
        intervals, _ = best_of(3, lambda counts=counts: [rate_measurement(counts, name) for name in METRICS])
        numbers[kind] = {
            "groups": groups,
            "auditkit_seconds": round(ours, 4),
            "auditkit_intervals_seconds": round(intervals, 4),
            "metric_frame_repaired_seconds": round(theirs, 3),
            "metric_frame_shipped_seconds": round(shipped, 3),
            "ratio_to_repaired": round(theirs / ours, 1),
            "ratio_to_shipped": round(shipped / ours, 1),
        }
    write("metric_frame", numbers)


if __name__ == "__main__":
    main()
