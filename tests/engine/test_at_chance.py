"""A model at chance is said on the first screen, and whether another order of its columns fits the labels better."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import auditkit
from auditkit.evidence.report import Report
from auditkit.schema.infer import numeric_schema

ROWS = 600


def rows(seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({name: generator.normal(size=ROWS) for name in "abcd"})
    return frame.assign(y=np.where(2 * frame["a"] + generator.normal(size=ROWS) > 0, "yes", "no"))


class Reads(torch.nn.Module):
    """Scores rows by one of the columns that it is given."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        return self.weight * cells[:, self.place : self.place + 1]


def audit_of(place: int, frame: pd.DataFrame) -> Report:
    schema = numeric_schema(list("abcd"), target="y", classes=["no", "yes"])
    return auditkit.audit(Reads(place), frame, schema=schema, only=["performance"])


def said(report: Report) -> str:
    return " ".join(str(text) for text in (*report.subject.statements, *report.subject.encoding))


def test_a_model_that_reads_another_column_is_at_chance_and_the_order_that_fits_is_named() -> None:
    found = said(audit_of(3, rows()))
    assert "no better than chance: the area under the ROC curve is 0." in found
    assert "Is the order of the columns right?" in found
    assert "with the columns in the order d, b, c, a" in found


def test_a_model_that_tells_classes_apart_is_not_asked() -> None:
    assert "chance" not in said(audit_of(0, rows()))


@pytest.mark.parametrize("row_count", [99, 100])
def test_nothing_is_said_of_few_rows(row_count: int) -> None:
    """With 100 rows an interval of an area at 0.5 ends about 0.61: it shows neither skill nor the lack of it."""
    assert "chance" not in said(audit_of(3, rows().head(row_count)))


def test_recorded_decisions_and_several_classes_are_held_against_chance() -> None:
    generator = np.random.default_rng(1)
    frame = pd.DataFrame({"y": generator.integers(0, 2, 2000), "p": generator.integers(0, 2, 2000)})
    found = said(auditkit.audit(None, frame, prediction="p", target="y", positive="1", only=["performance"]))
    assert "1 is decided for " in found
    assert "Are p and y of the same rows?" in found
    several = pd.DataFrame({"y": generator.choice(list("abc"), 2000), "p": generator.choice(list("abc"), 2000)})
    found = said(auditkit.audit(None, several, prediction="p", target="y", only=["performance"]))
    assert "labels and predictions agree in " in found
    agreeing = several.assign(p=np.where(generator.random(2000) < 0.3, several["y"], several["p"]))
    assert "chance" not in said(auditkit.audit(None, agreeing, prediction="p", target="y", only=["performance"]))


def test_an_accurate_looking_model_at_the_rate_of_the_majority_is_at_chance() -> None:
    """92 % of rows are no, and decisions are drawn without a look at them: the accuracy of 85 % says nothing."""
    generator = np.random.default_rng(2)
    frame = pd.DataFrame({"y": generator.random(3000) < 0.08, "p": generator.random(3000) < 0.08}).astype(int)
    found = said(auditkit.audit(None, frame, prediction="p", target="y", positive="1", only=["performance"]))
    assert "no better than chance" in found


def test_weights_and_clusters_decide_what_is_said() -> None:
    """Half of the rows are decided right and half wrong; by their weights nine in ten are right."""
    generator = np.random.default_rng(5)
    labels, heavy = generator.integers(0, 2, 2000), np.arange(2000) < 1000
    frame = pd.DataFrame({"y": labels, "p": np.where(heavy, labels, 1 - labels), "w": np.where(heavy, 9.0, 1.0)})
    given: dict[str, Any] = {"prediction": "p", "target": "y", "positive": "1", "only": ["performance"]}
    assert "no better than chance" in said(auditkit.audit(None, frame, **given))
    assert "no better than chance" not in said(auditkit.audit(None, frame, weight="w", **given))
    people = pd.DataFrame({"y": generator.integers(0, 2, 40), "p": generator.integers(0, 2, 40), "person": range(40)})
    rows = people.loc[np.repeat(np.arange(40), 50)].reset_index(drop=True)
    assert "no better than chance" not in said(auditkit.audit(None, rows, cluster="person", **given)), "40 persons"
