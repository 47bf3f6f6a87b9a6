"""The command that writes canaries into training texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditkit.cli.options import Encoding, Seed
from auditkit.errors import InputError


def canaries(
    dataset: Annotated[Path, typer.Argument(help="The training texts: JSONL, CSV, Parquet.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The texts with canaries to write (.jsonl).", show_default=False)],
    text: Annotated[str, typer.Option(metavar="COLUMN", help="The column of the texts.")] = "text",
    count: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="How many canaries.")] = 200,
    controls: Annotated[
        int, typer.Option(min=0, max=100_000, metavar="N", help="How many more that stand in no text.")
    ] = 40,
    repeat: Annotated[
        str, typer.Option(metavar="N,N,N", help="In how many texts a canary stands, in turn.")
    ] = "1,4,16",
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
) -> None:
    """Write invented secrets into training texts. 'auditkit run --canary-record' asks a model for them."""
    from auditkit.data.canaries import draw_canaries, seeded_lines
    from auditkit.data.dataset import read_data
    from auditkit.run_folder import output_folder, write_files

    if out.suffix != ".jsonl":
        raise InputError(f"out must end in .jsonl, got {out}; pass --out seeded.jsonl.")
    times = repeat.split(",")
    if not all(part.strip().isdecimal() for part in times):
        raise InputError(f"repeat must be whole numbers such as 1,4,16, got {repeat!r}.")
    made = draw_canaries(count, controls, [int(part) for part in times], seed=seed)
    rows = read_data(dataset, encoding=encoding)
    lines = seeded_lines(rows, text, made)
    record = out.with_suffix(".canaries.json")
    with output_folder(out.parent) as place:
        write_files(place, {out.name: "".join(lines), record.name: made.model_dump_json(indent=1) + "\n"})
    more = len(lines) - len(rows.frame)
    typer.echo(f"Texts: {out} ({len(lines):,} rows, of which {more:,} hold canaries)")
    typer.echo(f"Record: {record} (keep it from the training; auditkit run --canary-record {record})")
