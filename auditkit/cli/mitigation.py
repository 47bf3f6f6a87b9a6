"""The command that makes a model with a smaller gap, and audits it beside the original: mitigate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.config_commands import MitigateConfig
    from auditkit.evidence.report import Report


def mitigate(config: MitigateConfig) -> None:
    """Make a model with a smaller gap between groups. Packs it, and audits it beside the original."""
    from auditkit import progress_display
    from auditkit.data.dataset import read_data
    from auditkit.models.formats.opening import open_model
    from auditkit.run_folder import output_folder
    from auditkit.training.mitigate import mitigate as make

    data, asked, output = config.data, config.mitigation, config.output
    assert data.model is not None
    assert data.train_dataset is not None
    assert asked.sensitive is not None
    assert output.out is not None
    if output.out.resolve() == data.model.resolve():
        raise InputError(f"out must not be the model itself, got {output.out}; pass --out mitigated.pt.")
    folder = output.reports or Path("reports") / output.out.stem
    with output_folder(output.out.parent), progress_display.progress(silent=output.quiet) as progress:
        made = make(
            open_model(data.model),
            read_data(data.train_dataset, encoding=data.encoding),
            config=config,
            progress=lambda share, what: progress("mitigating", share, what),
        )
    before, after = (
        _audited(path, folder / name, config) for name, path in (("original", data.model), ("mitigated", output.out))
    )
    if not output.quiet:
        from auditkit import terminal

        terminal.mitigated(made, before, after, sensitive=asked.sensitive, folder=folder)


def _audited(model: Path, folder: Path, config: MitigateConfig) -> Report:
    """Audit a model's performance and fairness into a folder."""
    from auditkit import progress_display
    from auditkit.engine.audit import audit, new_run_id
    from auditkit.render import render
    from auditkit.run_folder import output_folder, replace_run, write_files

    assert config.mitigation.sensitive is not None
    with output_folder(folder) as place, progress_display.progress(silent=config.output.quiet) as progress:
        run_id = new_run_id()
        replace_run(place, run_id)
        report = audit(
            model,
            config.data.dataset,
            sensitive=[config.mitigation.sensitive],
            only=["performance", "fairness"],
            seed=config.mitigation.seed,
            device=config.mitigation.device,
            encoding=config.data.encoding,
            progress=progress,
            run_id=run_id,
        )
        write_files(place, {"results.json": report.to_json(), **render(report)})
    return report
