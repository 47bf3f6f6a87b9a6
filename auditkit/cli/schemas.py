"""Commands about schemas: that of results.json, and that of a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from auditkit.cli.options import BinsOption, Compared, Drop, Encoding, Immutable, TrainedTask, with_allow_large

schema = typer.Typer(add_completion=False, rich_markup_mode=None)


@schema.callback(invoke_without_command=True)
def _results(context: typer.Context) -> None:
    """Print the JSON Schema of results.json. 'schema infer' writes that of a data set."""
    if context.invoked_subcommand is None:
        from auditkit.evidence.report import results_schema

        typer.echo(json.dumps(results_schema(), indent=2))


@schema.command()
@with_allow_large
def infer(  # noqa: PLR0913  # a parameter for each option
    dataset: Annotated[Path, typer.Argument(help="The rows a model is trained on.", show_default=False)],
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="The label's column, or several labels; repeatable.", show_default="the last column"
        ),
    ] = None,
    sensitive: Compared = None,
    drop: Drop = None,
    immutable: Immutable = None,
    bins: BinsOption = None,
    task: TrainedTask = None,
    encoding: Encoding = "utf-8",
    like: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.skops|MODULE:OBJECT",
            help="Encode as this fitted scikit-learn ColumnTransformer does.",
            show_default="as 'auditkit train' does",
        ),
    ] = None,
) -> None:
    """Decide what each column is, once. Prints the schema as JSON, to be edited and passed with --schema."""
    from auditkit.data.bins import parse_bins
    from auditkit.data.dataset import read_data
    from auditkit.schema.infer_whole import infer_whole
    from auditkit.schema.schema import as_target

    rows = read_data(dataset, encoding=encoding)
    found, notes = infer_whole(
        rows,
        target=as_target(target) if target else None,
        sensitive=sensitive or (),
        drop=drop or (),
        immutable=immutable or (),
        bins=parse_bins(bins or ()),
        task=None if task is None else task.value,
    )
    if like is not None:
        from auditkit.models.formats.estimators import fitted_object
        from auditkit.schema.like_pipeline import features_like

        found = found.model_copy(update={"features": features_like(fitted_object(like), rows.frame)})
    for note in notes:
        typer.echo(f"auditkit: {note}", err=True)
    typer.echo(found.model_dump_json(indent=2, exclude_defaults=True))
