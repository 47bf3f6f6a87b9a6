"""The extraction of texts refuses an environment that would lose some."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from auditkit.render.i18n import extract


def test_catalogues_are_not_written_by_an_environment_that_was_installed_from_an_earlier_source() -> None:
    declared = {
        "auditkit.auditors": {"new": "auditkit.new:New", "moved": "auditkit.here:Moved", "same": "auditkit.a:A"}
    }
    installed = [
        EntryPoint("moved", "auditkit.there:Moved", "auditkit.auditors"),
        EntryPoint("same", "auditkit.a:A", "auditkit.auditors"),
        EntryPoint("gone", "auditkit.gone:RENDERER", "auditkit.renderers"),
        EntryPoint("auditkit", "auditkit.cli:main", "console_scripts"),
    ]
    assert extract.differing(declared, installed) == ["gone", "moved", "new"]
    assert extract.differing(declared, []) == ["moved", "new", "same"]
    assert extract.differing({"auditkit.auditors": {"same": "auditkit.a:A"}}, installed[1:2]) == []


def test_a_stale_environment_is_told_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The catalogues belong to the checkout, also where the tests run against an installed package.
    monkeypatch.setattr(extract, "PACKAGE", Path(__file__).parents[3] / "auditkit")
    monkeypatch.setattr(extract, "differing", lambda declared, installed: ["bias", "language"])
    monkeypatch.setattr(extract, "write_po", None)
    with pytest.raises(SystemExit, match="2"):
        extract.main()
    said = capsys.readouterr().err
    assert "in the entry points bias, language" in said
    assert "run python -m pip install" in said
    assert said.count("\n") == 1
