"""A finished report as a run of Weights & Biases, offline unless its user's settings say otherwise.

Numbers go into the summary, the verdict into the configuration, the report's files into an artifact.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from auditkit.errors import InputError
from auditkit.evidence.report import Report, read_report
from auditkit.extras import install_extra
from auditkit.trackers.logged import metrics, report_files, run_name, tags


def log(folder: str | Path, *, experiment: str | None = None) -> str:
    """Log the report in a run's folder to Weights & Biases; return the run's id and how an offline run is uploaded.

    Where a run is active the numbers join it, and it stays open. Else a run begins in the project `experiment`, by
    default "auditkit". It is offline, a folder under `WANDB_DIR`, unless `WANDB_MODE` says otherwise. Of the machine,
    its source code and its console nothing is recorded.

    Raises:
        InputError: the folder holds no report, the client is not installed, or it refuses.
    """
    folder = Path(folder)
    report = read_report(folder)
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before it is imported: crash reports go to its makers
    try:
        import wandb
    except ImportError as error:
        raise InputError(f"logging to Weights & Biases needs its client; {install_extra('wandb')}.") from error
    try:
        if wandb.run is not None:
            return _log_into(wandb.run, report, folder)
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            silent=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        with wandb.init(
            project=experiment or "auditkit", name=run_name(report), job_type="audit", mode=mode, settings=settings
        ) as run:
            said = _log_into(run, report, folder)
            return f"{said}, offline; upload it with: wandb sync {Path(run.dir).parent}" if mode == "offline" else said
    except (wandb.Error, OSError) as error:
        first = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise InputError(f"Weights & Biases: {first}; see WANDB_MODE and WANDB_BASE_URL.") from error


def _log_into(run: Any, report: Report, folder: Path) -> str:
    import wandb

    run.summary.update(metrics(report))
    run.config.update(tags(report))
    artifact = wandb.Artifact(f"auditkit-{report.run_id}", type="audit")
    for file in report_files(folder):
        artifact.add_file(str(file))
    run.log_artifact(artifact)
    return str(run.id)
