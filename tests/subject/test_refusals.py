"""What data that is nearly right is told: each refusal names the remedy that fits it."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditkit.errors import DatasetError
from auditkit.subject.data import read_data
from auditkit.subject.inference import infer_classes


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
        ("".join(f"{n}\n" for n in range(1001)), "approved", r"got 1,001; .*pass --task regression"),
        ("no\nyes\n", "APPROVED", r"did you mean 'approved'"),
    ],
)
def test_a_target_that_is_none_is_told_its_own_remedy(labels: str, target: str, remedy: str, tmp_path: Path) -> None:
    rows = "".join(f"1,{label}\n" for label in labels.split())
    (tmp_path / "rows.csv").write_text("age,approved\n" + rows, encoding="utf-8")
    with pytest.raises(DatasetError, match=remedy):
        infer_classes(read_data(tmp_path / "rows.csv").frame, target)
