"""Every block of Python in CONTRIBUTING.md is run, and does what the page says."""

from __future__ import annotations

import importlib
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import auditkit
from auditkit.data.readers.base import DataSource, Reader, ReadOptions
from auditkit.errors import DatasetError, ModelFileError
from auditkit.models.base import ModelFormat, OpenOptions, Trust, opened
from auditkit.schema.infer import numeric_schema
from auditkit.stats.estimates import Breakdown
from auditkit.stats.quality import CLASSIFICATION_METRICS
from auditkit.tasks.base import Predictions, Rows

PAGE = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS: dict[str, str] = dict(re.findall(r"```python\n# (\w+)\.py[^\n]*\n(.*?)```", PAGE, re.DOTALL))

Block = Callable[[str], ModuleType]


@pytest.fixture
def block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Block:
    def load(name: str) -> ModuleType:
        (tmp_path / f"{name}.py").write_text(BLOCKS[name], encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def test_every_block_of_the_page_is_tested_here_or_beside() -> None:
    assert set(BLOCKS) == {
        "my_package",
        "my_metric",
        "my_task",
        "my_format",
        "my_reader",
        "my_modality",
    }  # the first in tests/test_plugin.py
    assert PAGE.count("```python") == len(BLOCKS)


def test_a_metric_is_one_function_and_one_row(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CLASSIFICATION_METRICS, "error_rate", CLASSIFICATION_METRICS["accuracy"])  # taken back after
    module = block("my_metric")
    found = module.error_rate(np.array([[40, 10], [5, 45]]), (0.95,))
    assert found.value == 0.15
    assert found.bounds[0][0] < 0.15 < found.bounds[0][1]
    assert CLASSIFICATION_METRICS["error_rate"] is module.ROW


def test_a_task_has_a_metric_and_errors_of_its_own(block: Block) -> None:
    schema = numeric_schema(["a"], target="grade", classes=["low", "medium", "high"])
    task = block("my_task").Grades(schema)
    labels, told = np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1])
    rows = Rows(labels, Predictions(labels=told, class_probabilities=None))
    assert task.errors(rows).tolist() == [0, 2, 0, 1]
    names, _ = task.measurable(rows.predictions)
    (found,) = task.measure("mean_absolute_error", rows, Breakdown(), level=0.95)
    assert found.value == 0.75
    assert names[-1] == "mean_absolute_error"
    (accuracy,) = task.measure("accuracy", rows, Breakdown(), level=0.95)
    assert accuracy.value == 0.5


def test_a_model_format_recognises_and_opens(block: Block, tmp_path: Path) -> None:
    module = block("my_format")
    kind = module.CoefficientsFormat()
    assert isinstance(kind, ModelFormat)
    path = tmp_path / "model.txt"
    path.write_text("#coefficients\n0.5\n-1.0\n0.25\n")
    schema = numeric_schema(["a", "b"], target="y", classes=["no", "yes"])
    with opened(path) as source:
        match = kind.recognise(source)
        assert match is not None
        assert match.kind == "coefficients"
        model = kind.open(source, Trust(), OpenOptions(schema=schema))
    assert model.sha256
    draws = np.random.default_rng(0)
    rows = {"a": draws.standard_normal(200), "b": draws.standard_normal(200)}
    frame = {**rows, "y": np.where(rows["a"] > rows["b"], "yes", "no")}
    report = auditkit.audit(model, pd.DataFrame(frame), only=["performance"])
    accuracy = report.measurement("performance.accuracy")
    assert accuracy is not None
    assert accuracy.value is not None
    assert accuracy.value > 0.8
    path.write_text("#coefficients\n0.5\n")
    with opened(path) as source, pytest.raises(ModelFileError, match="an intercept, has 1"):
        kind.open(source, Trust(), OpenOptions(schema=schema))
    path.write_text("something else")
    with opened(path) as source:
        assert kind.recognise(source) is None


def test_a_reader_recognises_and_reads(block: Block) -> None:
    reader = block("my_reader").FixedWidthReader()
    assert isinstance(reader, Reader)
    text = b"name  age\nAnn   41 \nBob   7  \n"
    source = DataSource(path=Path("people.fwf"), head=text, is_folder=False, file=io.BytesIO(text))
    assert reader.recognise(source)
    frame = reader.read(source, ReadOptions()).frame
    assert frame.to_dict("list") == {"name": ["Ann", "Bob"], "age": ["41", "7"]}
    assert list(frame.index) == [2, 3]
    empty = DataSource(path=Path("none.fwf"), head=b"", is_folder=False, file=io.BytesIO(b""))
    with pytest.raises(DatasetError, match=r"dataset none\.fwf"):
        reader.read(empty, ReadOptions())


def test_a_modality_adds_a_corruption(block: Block) -> None:
    schema = numeric_schema(["a", "b"], target="y", classes=["no", "yes"])
    modality = block("my_modality").Sensors(schema)
    frame = pd.DataFrame(np.random.default_rng(0).standard_normal((100, 2)), columns=["a", "b"])
    inputs = modality.encode(frame)
    found = {one.name: one for one in modality.corruptions(frame, inputs, inputs, seed=0)}
    assert set(found) <= set(modality.corruption_names)
    for share in (0.1, 0.5):
        changed = (found["stuck_sensor"].at(share) != inputs).mean()
        assert share - 0.02 <= changed <= share
    assert len(found) > 1
