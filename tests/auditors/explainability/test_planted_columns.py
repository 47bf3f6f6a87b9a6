"""Audits of networks over columns whose truth is planted: the report must say what it is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import auditkit
from auditkit.auditors.explainability.auditor import Explainability
from auditkit.auditors.explainability.methods import METHODS
from auditkit.errors import InputError
from auditkit.evidence.measurement import Facts, Table
from auditkit.evidence.report import Outcome, Report


class Product(torch.nn.Module):
    """log-odds 3 a b + c: a and b matter through each other alone, c by itself, d not at all."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        value = 3 * rows[:, 0] * rows[:, 1] + rows[:, 2]
        return torch.stack([torch.zeros_like(value), value], dim=1)


class Sum(torch.nn.Module):
    """log-odds a + 2 b - c: additive, d does not matter."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        value = rows[:, 0] + 2 * rows[:, 1] - rows[:, 2]
        return torch.stack([torch.zeros_like(value), value], dim=1)


class OnlyA(torch.nn.Module):
    """log-odds 2 a: of what gives the sex away, and of nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 2, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.0], [2.0]]))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(rows[:, :1])
        return out


def people(count: int = 600) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(count, 4)), columns=["a", "b", "c", "d"])
    frame["sex"] = np.where(frame["a"] + 0.3 * rng.normal(size=count) > 0, "F", "M")
    frame["y"] = np.where(rng.random(count) < 0.5, "yes", "no")
    return frame


def audit(module: torch.nn.Module, frame: pd.DataFrame | None = None, **settings: object) -> Report:
    auditor = Explainability(**{"rows": 300, **settings})  # type: ignore[arg-type]
    return auditkit.audit(
        module, people() if frame is None else frame, target="y", sensitive=["sex"], auditors=[auditor], device="cpu"
    )


def outcome(report: Report) -> Outcome:
    return next(part for part in report.outcomes if part.auditor == "explainability")


def slices(report: Report, name: str, *by: str) -> dict[str, float | None]:
    measurement = report.measurement(f"explainability.{name}", by)
    assert measurement is not None, name
    return {part.group.text: part.value for part in measurement.slices}


def exhibit(report: Report, title: str) -> Table | Facts | None:
    found = [part for part in outcome(report).exhibits if part.title.startswith(title)]
    return found[0] if found else None  # type: ignore[return-value]


def test_the_planted_interaction_comes_first_and_nothing_else_interacts() -> None:
    pairs = slices(audit(Product()), "interaction_ratio", "pair")
    first, *others = pairs
    assert first == "a & b"
    assert (pairs[first] or 0) > 0.3
    assert all((pairs[name] or 0) < 1e-5 for name in others)


def test_an_additive_model_has_no_interaction() -> None:
    assert all((value or 0) < 1e-5 for value in slices(audit(Sum()), "interaction_ratio", "pair").values())


def test_the_report_names_the_proxy_that_carries_the_sensitive_column() -> None:
    report = audit(OnlyA())
    share = report.measurement("explainability.proxy_attribution_share")
    assert share is not None
    assert share.value == pytest.approx(1)
    read = report.measurement("explainability.sensitive_attribution_share")
    assert read is not None
    assert read.value == 0
    assert any(
        note.startswith("a is a proxy for sex: ") and "the model does not read it" in note
        for note in outcome(report).notes
    )
    table = exhibit(report, "Proxies for sensitive")
    assert isinstance(table, Table)
    assert [row[:2] for row in table.rows] == [("sex", "a")]


def test_without_a_proxy_nothing_rests_on_one() -> None:
    frame = people()
    frame["sex"] = np.random.default_rng(9).choice(["F", "M"], len(frame))
    report = audit(Sum(), frame)
    share = report.measurement("explainability.proxy_attribution_share")
    assert share is not None
    assert share.value == 0
    assert exhibit(report, "Proxies for sensitive") is None
    assert not any("is a proxy for" in note for note in outcome(report).notes)


def test_each_class_has_its_own_columns() -> None:
    frame = people()
    frame["y"] = np.resize(["p", "q", "r"], len(frame))
    module = torch.nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[5.0, 0, 0, 0], [0, 5.0, 0, 0], [0, 0, 5.0, 0]]))
    shares = slices(audit(module, frame), "attribution_share", "column", "class")
    for column, name in zip("abc", "pqr", strict=True):
        assert shares[f"{column} & {name}"] == pytest.approx(1)


def test_recourse_leaves_alone_what_nobody_can_change() -> None:
    free, bound = audit(Sum()), audit(Sum(), immutable=("a", "b", "c"))
    rates = [report.measurement("explainability.recourse_rate") for report in (free, bound)]
    assert rates[0] is not None
    assert (rates[0].value or 0) > 0.9
    assert rates[1] is not None
    assert rates[1].value == 0, "only d is left, which the model ignores"
    facts = exhibit(bound, "How recourse was searched")
    assert isinstance(facts, Facts)
    assert dict(facts.rows)["Taken as unchangeable"] == "a, b, c"
    turning = exhibit(free, "What would change")
    assert isinstance(turning, Table)
    assert "d" not in {row[0] for row in turning.rows}
    with pytest.raises(InputError, match="immutable: the model reads no column 'e'"):
        audit(Sum(), immutable=("e",))


def test_single_rows_show_only_where_they_are_asked_for() -> None:
    without, shown = audit(Sum()), audit(Sum(), show_rows=True)
    assert exhibit(without, "Individual records") is None
    assert exhibit(shown, "Individual records") is not None
    profiles = exhibit(without, "Typical profiles")
    assert isinstance(profiles, Table)
    assert {row[0] for row in profiles.rows} == {"predicted no", "predicted yes"}
    assert sum(int(row[1] or 0) for row in profiles.rows) == 300
    assert all(str(row[4]).startswith("b ") for row in profiles.rows), "b weighs twice as much"


class Rough(torch.nn.Module):
    """A decision that turns with every small move: no explanation of it can hold."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        value = torch.sin(300 * rows).sum(dim=1)
        return torch.stack([torch.zeros_like(value), value], dim=1)


def test_an_explanation_that_fails_is_stamped_wherever_it_shows() -> None:
    found = outcome(audit(Rough()))
    assert any(note.startswith("The explanation is not trustworthy: it fails ") for note in found.notes)
    attributions = ("Share of", "Typical", "Proxies for", "Main reasons")
    notes = [exhibit.note for exhibit in found.exhibits if exhibit.title.startswith(attributions)]
    assert len(notes) >= 4
    assert all(note.startswith("Not trustworthy: fails ") for note in notes)


def test_of_a_single_column_no_order_is_checked() -> None:
    frame = people()[["a", "y"]]
    report = auditkit.audit(
        torch.nn.Linear(1, 2), frame, target="y", auditors=[Explainability(method="kernel_shap")], device="cpu"
    )
    assert report.measurement("explainability.deletion_advantage") is None
    assert report.measurement("explainability.infidelity") is not None
    assert slices(report, "attribution_share", "column") == {"a": 1}


@pytest.mark.parametrize("method", [name for name, each in METHODS.items() if "table" in each.kinds])
def test_every_method_finds_what_matters_and_its_checks_hold(method: str) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    with torch.no_grad():
        network[0].weight[:, 3] = 0  # type: ignore[operator]  # torch types what a module holds as Tensor | Module
    report = audit(network, method=method, rows=120)
    shares = slices(report, "attribution_share", "column")
    assert shares["d"] == pytest.approx(0, abs=1e-6)
    assert METHODS[method].title in (report.measurement("explainability.attribution_share", ("column",)).definition)  # type: ignore[union-attr]
    facts = exhibit(report, "How the attributions")
    assert isinstance(facts, Facts)
    assert dict(facts.rows)["Method"].startswith(METHODS[method].title)
    deletion = report.measurement("explainability.deletion_advantage")
    assert deletion is not None
    assert (deletion.value or 0) > 0
    completeness = report.measurement("explainability.completeness_error")
    assert (completeness is not None) == METHODS[method].complete
    if completeness is not None:
        assert completeness.value is not None
        assert completeness.value < 0.05
