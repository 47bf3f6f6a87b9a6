"""Generators of tables: their cells, a table with the columns of the data, and an audit as synthetic records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import auditkit
from auditkit.cli import call
from auditkit.errors import DatasetError, ModelFileError
from auditkit.models.architectures import TABLE_GENERATORS, build
from auditkit.models.architectures.table_generators import TableVae
from auditkit.models.capabilities import Refittable, SampleTable
from auditkit.models.formats.opening import open_model
from auditkit.schema.infer import record_schema
from auditkit.training.table_columns import cells_of, describe_columns


def people(count: int, seed: int) -> pd.DataFrame:
    """Ages with two modes, a category that goes with them, a price with decimals, and missing values."""
    rng = np.random.default_rng(seed)
    old = rng.random(count) < 0.4
    age = np.where(old, rng.normal(70, 4, count), rng.normal(25, 3, count)).round()
    city = pd.Series(np.where(rng.random(count) < 0.5, "Ulm", "Bonn")).mask(rng.random(count) < 0.1)
    price = pd.Series(rng.exponential(3, count).round(2)).mask(rng.random(count) < 0.2)
    return pd.DataFrame(
        {"age": age.astype(np.int64), "city": city, "price": price, "retired": np.where(old, "yes", "no")}
    )


def test_cells_say_the_mode_and_the_distance_and_return_to_the_values() -> None:
    frame = people(600, 1)
    columns = describe_columns(frame, record_schema(frame, target="retired"), seed=0)
    age, city, price, retired = columns
    assert [len(column["modes"]) > 0 for column in columns] == [True, False, True, False]
    assert (age["decimals"], price["decimals"]) == (0, 2)
    assert (age["missing"], city["missing"], price["missing"], retired["missing"]) == (False, True, True, False)
    assert {"Ulm", "Bonn"} == set(city["options"])
    middles = [mean for mean, _ in age["modes"]]
    assert min(abs(middle - 70) for middle in middles) < 3
    assert min(abs(middle - 25) for middle in middles) < 3
    cells = cells_of(frame, columns, seed=0)
    module = build("tvae", {"columns": columns})
    assert isinstance(module, TableVae)
    assert cells.shape == (600, module.width)
    distances, options = torch.from_numpy(cells).split([2, module.width - 2], dim=1)
    values = module.values(distances, options).numpy()
    beyond = np.abs(values[:, 0] - frame["age"]) > 0.01  # a number is cut off four deviations from its mode
    assert beyond.mean() < 0.01
    assert (np.isnan(values[:, 2]) == frame["price"].isna()).all()
    assert (np.isnan(values[:, 1]) == frame["city"].isna()).all()
    words = np.array(retired["options"])[values[:, 3].astype(int)]
    assert (words == frame["retired"]).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    for name, seed in (("train", 1), ("unseen", 2)):
        people(600, seed).to_csv(folder / f"{name}.csv", index=False)
    return folder


@pytest.mark.parametrize("architecture", TABLE_GENERATORS)
def test_a_generator_of_tables_is_trained_packed_and_sampled(architecture: str, folder: Path) -> None:
    out, samples = folder / f"{architecture}.pt", folder / f"{architecture}.csv"
    command = ["train", "--dataset", str(folder / "train.csv"), "--architecture", architecture, "--target", "retired"]
    epochs = "300" if architecture == "tvae" else "40"
    assert call([*command, "--out", str(out), "--epochs", epochs, "--quiet"]) == 0
    assert call(["sample", str(out), "--count", "300", "--out", str(samples)]) == 0
    made, real = pd.read_csv(samples), pd.read_csv(folder / "train.csv")
    assert made.dtypes.to_dict() == real.dtypes.to_dict()
    assert list(made.columns) == list(real.columns)
    assert set(made["city"].dropna()) <= {"Ulm", "Bonn"}
    assert set(made["retired"]) <= {"yes", "no"}
    model = open_model(out)
    assert model.capability(Refittable) is None
    able = model.require(SampleTable)
    first, again, other = (able.table(50, seed=seed, device=torch.device("cpu")) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)
    if architecture == "tvae":
        assert abs((made["retired"] == "yes").mean() - 0.4) < 0.15
        assert made.loc[made["retired"] == "yes", "age"].median() > 55
        assert made.loc[made["retired"] == "no", "age"].median() < 40


def test_a_generator_of_tables_is_audited_as_synthetic_records_and_by_fresh_sets(folder: Path) -> None:
    out = folder / "audited.pt"
    command = ["train", "--dataset", str(folder / "train.csv"), "--architecture", "tvae", "--target", "retired"]
    assert call([*command, "--out", str(out), "--epochs", "20", "--quiet"]) == 0
    report = auditkit.audit(
        out,
        folder / "unseen.csv",
        training_data=folder / "train.csv",
        only=["synthetic", "memorisation", "generation"],
        settings={"generation": {"rows": 200}, "memorisation": {"samples": 300}},
    )
    ran = [outcome for outcome in report.outcomes if outcome.auditor in ("synthetic", "memorisation", "generation")]
    assert [outcome.error or outcome.reason for outcome in ran] == [None, None, None]
    assert report["synthetic.train_on_synthetic_accuracy"].value is not None
    copies = report["memorisation.near_copy_excess"].interval
    assert copies is not None
    assert copies.low <= 0.02
    assert report["generation.precision"].interval is not None
    assert report["memorisation.membership_roc_auc"].value is not None


def test_what_a_table_generator_cannot_make_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dates = people(150, 1).assign(day="2026-01-02")
    dates.to_csv(tmp_path / "dates.csv", index=False)
    command = ["train", "--architecture", "tvae", "--out", str(tmp_path / "m.pt"), "--dataset"]
    assert call([*command, str(tmp_path / "dates.csv")]) == 2
    assert "'day' holds dates" in capsys.readouterr().err
    people(20, 1).to_csv(tmp_path / "few.csv", index=False)
    assert call([*command, str(tmp_path / "few.csv")]) == 2
    assert "at least 100 rows" in capsys.readouterr().err
    assert not (tmp_path / "m.pt").exists()
    empty = people(150, 1).assign(nothing=np.nan)
    with pytest.raises(DatasetError, match="'nothing' holds no value"):
        describe_columns(empty, record_schema(empty), seed=0)


@pytest.mark.parametrize(
    "column",
    [
        {"modes": [], "options": []},
        {"modes": [[0.0, 1.0]], "options": ["a"]},
        {"modes": [[0.0]]},
        {"modes": [[0.0, float("nan")]]},
        {"options": [1]},
        {"options": ["a"] * 1001},
        {"decimals": -1},
    ],
)
def test_a_card_with_odd_columns_is_refused(column: dict[str, object]) -> None:
    whole = {"name": "a", "modes": [], "options": ["a"], "missing": False, "decimals": 0} | column
    if column.get("modes") and "options" not in column:
        whole["options"] = []
    with pytest.raises(ModelFileError):
        build("tvae", {"columns": [whole]})
