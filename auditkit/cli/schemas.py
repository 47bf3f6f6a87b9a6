"""Commands about schemas: that of results.json, and that of a data set."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from auditkit.cli.configured import generated

if TYPE_CHECKING:
    from auditkit.config_commands import SchemaInferConfig

schema = typer.Typer(add_completion=False, rich_markup_mode=None)


@schema.callback(invoke_without_command=True)
def _results(context: typer.Context) -> None:
    """Print the JSON Schema of results.json. 'schema infer' writes that of a data set."""
    if context.invoked_subcommand is None:
        from auditkit.evidence.report import results_schema

        typer.echo(json.dumps(results_schema(), indent=2))


def _infer(config: SchemaInferConfig) -> None:
    """Decide what each column is, once. Prints the schema as JSON, to be edited and passed with --schema."""
    from auditkit.data.dataset import read_data
    from auditkit.schema.infer_whole import infer_whole
    from auditkit.schema.schema import as_target

    assert config.dataset is not None
    rows = read_data(config.dataset, encoding=config.encoding)
    found, notes = infer_whole(
        rows,
        target=as_target(config.target) if config.target else None,
        sensitive=config.sensitive,
        drop=config.drop,
        immutable=config.immutable,
        bins=config.bins or {},
        task=config.task,
    )
    if config.like is not None:
        from auditkit.models.formats.estimators import fitted_object
        from auditkit.schema.like_pipeline import features_like

        found = found.model_copy(update={"features": features_like(fitted_object(config.like), rows.frame)})
    for note in notes:
        typer.echo(f"auditkit: {note}", err=True)
    typer.echo(found.model_dump_json(indent=2, exclude_defaults=True))


@schema.command("infer", cls=generated(_infer, "SchemaInferConfig", needs=("dataset",)), help=_infer.__doc__)
def _generated() -> None:
    """Stand in for a command whose options and body are generated."""
