"""What data that is nearly right is told: each refusal names the remedy that fits it."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from auditkit.data.dataset import read_data
from auditkit.errors import DatasetError, InputError, ModelFileError
from auditkit.models.architectures import build
from auditkit.models.formats.opening import open_model
from auditkit.models.open import plain_schema
from auditkit.schema.infer import infer_classes


@pytest.mark.parametrize(
    ("name", "content", "remedy"),
    [
        ("german.csv", b"age;income\n30;1,5\n", r"read_csv\(path, sep=';', decimal=','\)\.to_csv"),
        ("tabs.csv", b"age\tincome\n30\t1.5\n", "reads comma-separated text"),
        ("sheet.xlsx", b"PK\x03\x04" + bytes(30), "of a spreadsheet save the sheet as CSV"),
    ],
)
def test_a_table_of_another_kind_is_told_how_to_become_one(
    name: str, content: bytes, remedy: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=remedy):
        read_data(tmp_path / name)


@pytest.mark.parametrize(
    ("labels", "target", "remedy"),
    [
        ("no\nno\n", "approved", r"got 1; name both, such as --classes no,yes"),
        ("".join(f"{n}\n" for n in range(2001)), "approved", r"got 2,001; .*pass --task regression"),
        ("no\nyes\n", "APPROVED", r"did you mean 'approved'"),
    ],
)
def test_a_target_that_is_none_is_told_its_own_remedy(labels: str, target: str, remedy: str, tmp_path: Path) -> None:
    rows = "".join(f"1,{label}\n" for label in labels.split())
    (tmp_path / "rows.csv").write_text("age,approved\n" + rows, encoding="utf-8")
    with pytest.raises(DatasetError, match=remedy):
        infer_classes(read_data(tmp_path / "rows.csv").frame, target)


def test_a_sensitive_column_that_is_none_is_told_before_any_other_column_is_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("age,gender,approved\n1,f,no\n2,m,yes\n", encoding="utf-8")
    rows = read_data(tmp_path / "rows.csv")
    with pytest.raises(InputError, match=r"sensitive column 'genders' is not in .*did you mean 'gender'"):
        plain_schema(rows, "approved", ["genders"], None, None)
    assert plain_schema(rows, "approved", ["gender"], None, None).sensitive == ("gender",)


def test_code_of_the_users_own_is_named_with_a_colon() -> None:
    with pytest.raises(ModelFileError, match=r"'my_package.Net' is unknown; .* as module:factory, with a colon"):
        build("my_package.Net", {})


@pytest.mark.parametrize("protocol", [0, 1])
def test_pickles_of_python_2_are_named(protocol: int, tmp_path: Path) -> None:
    weights = {"w": torch.zeros(2, 2)}
    torch.save(weights, tmp_path / "old.pth", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    things = {"dict": {"a": 1}, "list": [1, 2], "object": OrderedDict(a=1.0)}
    for name, thing in things.items():
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(thing, protocol=protocol))
    for name in ("old.pth", *(f"{name}.pkl" for name in things)):
        with pytest.raises(ModelFileError, match=r"a pickle of protocol 0 or 1.*save its weights again, torch\.save"):
            open_model(tmp_path / name)
    (tmp_path / "codes.csv").write_bytes(b"code\ncollections are not meant\n")
    with pytest.raises(ModelFileError, match="not a model file"):
        open_model(tmp_path / "codes.csv")
