"""The bytecode of templates is kept beside them, and made again wherever it would be another."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinja2 import Environment, FunctionLoader

from auditkit.render.html.bytecode import TemplateBytecode
from auditkit.render.html.environment import packaged

TEMPLATE = "card.html.jinja"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let Python keep bytecode under a folder of the test's own."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "kept"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return tmp_path / "kept"


class Counting(Environment):
    """Counts the templates that it compiles."""

    compiled = 0

    def _generate(self, *arguments: object, **more: object) -> str:
        self.compiled += 1
        return super()._generate(*arguments, **more)  # type: ignore[arg-type]


def compiled_by(text: str = "{{ 1 + 1 }}", sources: tuple[str, ...] = ("environment.py",)) -> int:
    """Fill a template of this text as a new process would, and return how many templates were compiled for it."""
    environment = Counting(loader=FunctionLoader(lambda name: text), bytecode_cache=TemplateBytecode(sources))
    assert environment.get_template(TEMPLATE).render() == text.replace("{{ 1 + 1 }}", "2")
    return environment.compiled


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("card*") if path.is_file()]


def test_a_template_is_compiled_once(folder: Path) -> None:
    assert [compiled_by() for _ in range(3)] == [1, 0, 0]
    (file,) = kept(folder)
    assert file.suffix == ".pyc"


def test_a_changed_template_is_compiled_again() -> None:
    assert [compiled_by(), compiled_by("other"), compiled_by("other"), compiled_by()] == [1, 1, 0, 1]


def test_templates_are_compiled_again_where_they_are_compiled_in_another_way() -> None:
    assert [compiled_by(), compiled_by(sources=("charts.py",)), compiled_by()] == [1, 1, 1]


@pytest.mark.parametrize("content", [b"", b"j2", b"\x80\x04garbage", None])
def test_damaged_bytecode_is_passed_over_and_replaced(folder: Path, content: bytes | None) -> None:
    compiled_by()
    (file,) = kept(folder)
    file.write_bytes(file.read_bytes()[:-10] if content is None else content)
    assert [compiled_by(), compiled_by()] == [1, 0]


def test_nothing_is_kept_where_python_keeps_no_bytecode(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert [compiled_by(), compiled_by()] == [1, 1]
    assert kept(folder) == []


def test_a_folder_that_cannot_be_written_to_is_no_error(folder: Path) -> None:
    folder.write_text("a file where a folder would have to be")
    assert [compiled_by(), compiled_by()] == [1, 1]


def test_the_packaged_templates_compile_to_the_same_page_with_and_without_kept_bytecode() -> None:
    environment = Environment(
        loader=FunctionLoader(packaged),
        bytecode_cache=TemplateBytecode(["environment.py"]),
        extensions=["jinja2.ext.do"],
    )
    first = environment.get_template("shapes.svg").render()
    environment.cache.clear()  # type: ignore[union-attr]  # Jinja's of loaded templates
    assert environment.get_template("shapes.svg").render() == first
