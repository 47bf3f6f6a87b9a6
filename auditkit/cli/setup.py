"""Commands for the first minutes: init writes what a user edits, doctor says what is installed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer


def init(
    path: Annotated[
        Path, typer.Argument(help="The folder to write into, or a policy file (.toml) to write alone.")
    ] = Path(),
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The policy to start from: default, eu-high-risk, four-fifths, ll144, dp-release, generation, "
            "synthetic-data, language, embeddings.",
        ),
    ] = "default",
    example: Annotated[
        bool, typer.Option("--example", help="Write a small data set too, on which 'auditkit run' works at once.")
    ] = False,
) -> None:
    """Write a commented auditkit.toml and policy.toml to start from."""
    from auditkit.config_text import template
    from auditkit.demo.decisions import OPTIONS, decisions_csv
    from auditkit.run_folder import write_new

    if path.suffix == ".toml":
        write_new(path, _policy(profile, path.stem))
        typer.echo(f"{path}: edit the limits, then pass --policy {path}")
        return
    files = {"policy.toml": _policy(profile, "policy")}
    if example:
        files[str(OPTIONS["dataset"])] = decisions_csv()
    files["auditkit.toml"] = template({"policy": "policy.toml", **(OPTIONS if example else {})})
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_new(path / name, text)
    for name in files:
        typer.echo(path / name)
    inside = "" if path == Path() else f", in {path}"
    before = "" if example else "Name the model and the data in auditkit.toml. "
    typer.echo(f"{before}Next{inside}: auditkit run")


def _policy(profile: str, name: str) -> str:
    from auditkit.evidence.policy import profile_text

    return re.sub(r'(?m)^name = ".*"$', lambda _: f"name = {json.dumps(name)}", profile_text(profile), count=1)


def doctor() -> None:
    """Tell which packages and extras are installed. It names the device that models run on."""
    from auditkit.installation import examine

    for line in examine():
        typer.echo(line)
