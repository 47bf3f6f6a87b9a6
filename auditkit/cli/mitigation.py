"""The command that makes a model with a smaller gap, and audits it beside the original: mitigate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from auditkit.cli.options import Device, DeviceOption, Encoding, ModelFile, Quiet, Seed
from auditkit.errors import InputError


class MitigationMethod(StrEnum):
    """How a gap is made smaller."""

    exponentiated_gradient = "exponentiated_gradient"
    adversarial = "adversarial"
    threshold = "threshold"


class MitigationConstraint(StrEnum):
    """Whose gap is made smaller."""

    demographic_parity = "demographic_parity"
    equal_opportunity = "equal_opportunity"


def mitigate(
    model: ModelFile,
    train_dataset: Annotated[Path, typer.Option(help="The rows to learn from.", show_default=False)],
    dataset: Annotated[Path, typer.Option("--dataset", help="The rows to audit both models on.", show_default=False)],
    sensitive: Annotated[str, typer.Option(metavar="COLUMN", help="Whose groups to treat alike.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The model file to write (.pt).", show_default=False)],
    method: Annotated[
        MitigationMethod,
        typer.Option(help="Train again on reweighted rows or against an adversary, or move each group's threshold."),
    ] = MitigationMethod.exponentiated_gradient,
    constraint: Annotated[
        MitigationConstraint, typer.Option(help="Equal selection rates, or equal true positive rates.")
    ] = MitigationConstraint.demographic_parity,
    reports: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the two reports go.", show_default="reports/OUT/")
    ] = None,
    device: DeviceOption = Device.auto,
    seed: Seed = 0,
    encoding: Encoding = "utf-8",
    quiet: Quiet = False,
) -> None:
    """Make a model with a smaller gap between groups. Packs it, and audits it beside the original."""
    from auditkit import terminal
    from auditkit.data.dataset import read_data
    from auditkit.engine.audit import audit, new_run_id
    from auditkit.models.formats.opening import open_model
    from auditkit.render import render
    from auditkit.run_folder import output_folder, replace_run, write_files
    from auditkit.training.mitigate import mitigate as make

    if out.resolve() == model.resolve():
        raise InputError(f"out must not be the model itself, got {out}; pass --out mitigated.pt.")
    folder = reports or Path("reports") / out.stem
    found = []
    with output_folder(out.parent), terminal.progress(silent=quiet) as progress:
        made = make(
            open_model(model),
            read_data(train_dataset, encoding=encoding),
            sensitive=sensitive,
            method=method.value,
            constraint=constraint.value,
            out=out,
            seed=seed,
            device=device,
            progress=lambda share, what: progress("mitigating", share, what),
        )
    for name, path in (("original", model), ("mitigated", out)):
        with output_folder(folder / name) as place, terminal.progress(silent=quiet) as progress:
            run_id = new_run_id()
            replace_run(place, run_id)
            report = audit(
                path,
                dataset,
                sensitive=[sensitive],
                only=["performance", "fairness"],
                seed=seed,
                device=device,
                encoding=encoding,
                progress=progress,
                run_id=run_id,
            )
            write_files(place, {"results.json": report.to_json(), **render(report)})
        found.append(report)
    if not quiet:
        terminal.mitigated(made, *found, sensitive=sensitive, folder=folder)
