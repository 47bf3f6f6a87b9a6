"""Rows drawn from a generator of tables are written as they are, and texts that look like formulas are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from auditkit.cli import call

FORMULA = '=HYPERLINK("http://a.example")'


def test_a_category_that_begins_like_a_formula_stays_what_it_is_and_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(0)
    rows = {"city": generator.choice([FORMULA, "Ulm"], 200), "gain": generator.normal(0, 1, 200)}
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv", index=False)
    command = ["train", "--dataset", str(tmp_path / "train.csv"), "--architecture", "tvae", "--epochs", "1", "--quiet"]
    assert call([*command, "--out", str(tmp_path / "model.pt")]) == 0
    assert call(["sample", str(tmp_path / "model.pt"), "--count", "100", "--out", str(tmp_path / "rows.csv")]) == 0
    drawn = pd.read_csv(tmp_path / "rows.csv")
    assert set(drawn["city"]) == {FORMULA, "Ulm"}
    assert (drawn["gain"] < 0).any()
    out = capsys.readouterr().out
    assert "run as formulas stand in city." in out
