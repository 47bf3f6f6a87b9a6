"""A finished report as a run of MLflow: numbers as metrics, the verdict as a tag, the report's files as artifacts."""

from __future__ import annotations

from pathlib import Path

from auditkit.errors import InputError
from auditkit.evidence.report import Report, read_report
from auditkit.extras import install_extra
from auditkit.trackers.logged import metrics, report_files, run_name, tags


def log(folder: str | Path, *, experiment: str | None = None) -> str:
    """Log the report in a run's folder to MLflow, and return the id of MLflow's run.

    The server and its sign-in are MLflow's own settings (`MLFLOW_TRACKING_URI` and the like); so is the run, where
    one is active or `MLFLOW_RUN_ID` names it: then the numbers join it. Else a run begins in `experiment`, by default
    MLflow's own choice, and is named after the model.

    Raises:
        InputError: the folder holds no report, MLflow is not installed, or its server refuses.
    """
    folder = Path(folder)
    report = read_report(folder)
    try:
        import mlflow
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise InputError(f"logging to MLflow needs its client; {install_extra('mlflow')}.") from error
    try:
        active = mlflow.active_run()
        if active is not None:
            return _log_into(active.info.run_id, report, folder)
        if experiment is not None:
            mlflow.set_experiment(experiment)
        with mlflow.start_run(run_name=run_name(report)) as run:
            return _log_into(run.info.run_id, report, folder)
    except (MlflowException, OSError) as error:
        first = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        raise InputError(f"MLflow at {mlflow.get_tracking_uri()}: {first}; see MLFLOW_TRACKING_URI.") from error


def _log_into(run_id: str, report: Report, folder: Path) -> str:
    import mlflow

    mlflow.log_metrics(metrics(report))
    mlflow.set_tags(tags(report))
    for file in report_files(folder):
        mlflow.log_artifact(str(file), artifact_path="auditkit")
    return run_id
