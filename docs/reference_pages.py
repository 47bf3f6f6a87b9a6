"""The pages of the reference that are made of the code: measurements, commands, and public names of Python.

Definitions and intervals of measurements are those recorded in the gallery's reports, so that the page says what a
report says.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import auditkit
from auditkit import plugins
from auditkit.cli import call
from auditkit.evidence.messages import title

GALLERY = Path(__file__).parent.parent / "reports"
IDEAL = {"higher": "higher is better", "lower": "lower is better", "zero": "0 is best", "one": "1 is best"}


def write_pages(folder: Path) -> None:
    """Write measurements.md, commands.md and python.md into the folder."""
    folder.mkdir(exist_ok=True)
    for name, lines in (("measurements", measurements()), ("commands", commands()), ("python", public_names())):
        (folder / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def recorded() -> dict[str, dict[str, Any]]:
    """Return one record of each measurement that the gallery's reports hold, by id: one with an interval, if any."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(GALLERY.glob("*/results.json")):
        for outcome in json.loads(path.read_text(encoding="utf-8"))["outcomes"]:
            for one in outcome["measurements"]:
                if one["id"] not in found or (found[one["id"]]["interval"] is None and one["interval"] is not None):
                    found[one["id"]] = one
    return found


def measurements() -> Iterator[str]:
    """Yield the page of all measurements, by auditor."""
    known = recorded()
    yield "# Measurements"
    yield ""
    yield "Every number that an audit can hold, by auditor. Definition, interval and software are as the reports of the"
    yield "gallery record them; where the gallery has no such number, the title stands alone, and a report with it says"
    yield "the rest. A number is undefined, with its reason, where its rows are missing or too few; it is never 0 then."
    for name in plugins.installed("auditors"):
        auditor = plugins.load("auditors", name)
        ids = getattr(auditor, "measures", ())
        if not ids:
            continue
        yield from ("", f"## {name}", "", (auditor.__doc__ or "").strip().splitlines()[0], "")
        yield "| measurement | what it is | interval |"
        yield "|---|---|---|"
        for id in ids:
            yield _row(id, known.get(id))


def _row(id: str, one: dict[str, Any] | None) -> str:
    if one is None:
        return f"| `{id}` | **{title(id)}** | |"
    ideal = IDEAL.get(one["better"], "")
    what = [f"**{title(id)}**", _plain(one["definition"]), ideal, f"computed by {_plain(one['computed_by'])}"]
    interval = "" if one["interval"] is None else f"{_plain(one['interval']['method'])}"
    return f"| `{id}` | {'; '.join(part for part in what if part)} | {interval} |"


def _plain(text: Any) -> str:
    """Return a text of results.json, which is plain or a template with its arguments, for a cell of a table."""
    return (text["text"] if isinstance(text, dict) else str(text)).replace("|", "\\|").replace("\n", " ")


def commands() -> Iterator[str]:
    """Yield the page of all commands, as their --help prints them."""
    from typer.main import get_command

    from auditkit.cli import app

    yield from ("# Commands", "", "As `auditkit COMMAND --help` prints them.")
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # typer's stubs say Command
        yield from ("", f"## auditkit {name}", "", "```text", _help([name]).strip(), "```")
        for inner in getattr(command, "commands", {}):
            yield from ("", f"### auditkit {name} {inner}", "", "```text", _help([name, inner]).strip(), "```")


def _help(command: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        call([*command, "--help"])
    return said.getvalue()


def public_names() -> Iterator[str]:
    """Yield the page of the public names, which autodoc fills from their docstrings."""
    yield from ("# Python", "", "The public names of `auditkit`, and what tests and trackers use besides.")
    for name in auditkit.__all__:
        value = getattr(auditkit, name)
        directive = "autofunction" if not isinstance(value, type) else "autoclass"
        yield from ("", f"## {name}", "", "```{eval-rst}", f".. {directive}:: {value.__module__}.{name}")
        if directive == "autoclass" and name in {"Report", "Policy", "Subject", "Model", "Comparison", "Picture"}:
            yield "   :members:"
        yield "```"
    yield from ("", "## assert_passes", "", "```{eval-rst}", ".. autofunction:: auditkit.testing.assert_passes", "```")
