"""An audit made again from its own record: the same files, settings and seed, and which numbers came out otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auditkit.budgets import DATA_BYTES
from auditkit.config import AuditConfig, read_config
from auditkit.config_commands import ReplayConfig
from auditkit.config_settings import updated
from auditkit.engine.audit import audit
from auditkit.engine.auditor import installed
from auditkit.errors import InputError
from auditkit.evidence.comparison import ReplayDifference, replay_differences
from auditkit.evidence.records import DatasetRecord, ModelRecord
from auditkit.evidence.report import Outcome, Report
from auditkit.files import sha256_of
from auditkit.models.factory import is_code
from auditkit.progress import AuditProgress
from auditkit.schema.schema import Schema

SPENT = ("effort", "operations_per_row")
"""What the request says of how much is computed."""


def replay(
    recorded: Report,
    *,
    config: ReplayConfig | None = None,
    progress: AuditProgress = lambda auditor, fraction, what: None,
    **options: Any,
) -> tuple[Report, list[ReplayDifference]]:
    """Make the audit of `recorded` again; return the new report, and every number that is not within the tolerance.

    `options` are those of `auditkit replay` by name, such as `model`, `dataset` and `train_dataset`; they replace what
    `config` states. Auditors run with their recorded settings and seed; those that were left out, or are new since, are
    left out. Code that the record names is run only where the caller names it too, by `architecture`. Predictions kept
    from earlier runs are not used. Verdicts follow from the numbers and the policy, and are not compared.

    Numbers agree where they differ by at most the tolerance times the larger of 1 and their magnitude. Sums differ in
    the seventh digit between one thread and two; another device or another torch may need more.

    Raises:
        InputError: a file is not the one that was audited, an auditor of the record is not installed, or the record
            names code that the caller did not.
    """
    config = updated(config or ReplayConfig(), options)
    _check_files(recorded, config)
    if not 0 <= config.tolerance < 1:
        raise InputError(f"tolerance must be at least 0 and below 1, got {config.tolerance}.")
    ran = {outcome.auditor: outcome for outcome in recorded.outcomes if outcome.version and not outcome.left_out}
    absent = [name for name in ran if name not in installed()]
    if absent:
        raise InputError(f"the auditor '{absent[0]}' of the record is not installed here.")
    _check_code(recorded, config.architecture)
    subject = recorded.subject
    schema = Schema.model_validate(subject.schema_) if recorded.config.model.schema_file is not None else None
    again = audit(
        config.model,
        config.dataset,
        config=_repeated(recorded, ran, config.device),
        training_data=config.train_dataset,
        schema=schema,
        policy=recorded.policy,
        trust_model=config.trust_model,
        trust_pickle=config.trust_pickle,
        progress=progress,
    )
    for what, one, other in (
        ("model", subject.model, again.subject.model),
        ("dataset", subject.dataset, again.subject.dataset),
    ):
        if one and other and one.sha256 != other.sha256:
            raise InputError(f"{what}: not what was audited, sha256 {other.sha256} instead of {one.sha256}.")
    kept = tuple(outcome for outcome in again.outcomes if outcome.auditor in ran)
    return again, replay_differences(recorded, again.model_copy(update={"outcomes": kept}), config.tolerance)


def _check_files(recorded: Report, config: ReplayConfig) -> None:
    """Raise InputError for a file that the record has and the caller does not name, or names another."""
    subject = recorded.subject
    if (config.model is None) != (subject.model is None):
        raise InputError(
            "the record is of a model; pass --model FILE." if subject.model else "the record has no model."
        )
    _check_file(config.model, subject.model, "model")
    _check_file(config.dataset, subject.dataset, "dataset")
    in_dataset = recorded.config.data.member is not None
    if subject.training_dataset is not None and config.train_dataset is None and not in_dataset:
        raise InputError("the audit had training data; pass --train-dataset FILE.")
    _check_file(config.train_dataset, subject.training_dataset, "training data")


def _check_code(recorded: Report, architecture: str | None) -> None:
    """Raise InputError where the record names code that is not auditkit's and that the caller does not name."""
    named = str(recorded.config.model.architecture or "")
    if is_code(named) and architecture != named:
        raise InputError(
            f"the record names the architecture {named[:80]!r}, which is code that is not auditkit's; only if that "
            "code is your own, name it yourself with --architecture."
        )
    for option in ("preprocess", "predictor"):
        if getattr(recorded.config.model, option) is not None:
            raise InputError(f"the record names code as its {option}, and replay runs no code that a record names.")


def _repeated(recorded: Report, ran: Mapping[str, Outcome], device: str) -> AuditConfig:
    """Return the recorded request without its files and its trust, which the caller states anew.

    Auditors get the settings that they ran with, which a caller in Python may have given them outside the request.
    """
    document = recorded.config.model_dump(by_alias=True, exclude_unset=True)
    for name in ("model", "schema", "trust_model", "trust_pickle", "preprocess", "predictor"):
        document.get("model", {}).pop(name, None)
    for name in ("dataset", "train_dataset"):
        document.get("data", {}).pop(name, None)
    kept: dict[str, Any] = {name: document[name] for name in ("model", "data", "groups") if name in document}
    if kept.get("data", {}).get("target"):
        kept["data"]["target"] = Schema.model_validate(recorded.subject.schema_).targets
    kept["policy"] = {"conf_level": recorded.config.policy.conf_level}
    kept["run"] = {"only": tuple(ran), "seed": recorded.environment.seed, "device": device}
    kept["run"] |= {name: document["run"][name] for name in SPENT if name in document.get("run", {})}
    kept["auditors"] = {name: _tuples(outcome.settings) for name, outcome in ran.items()}
    return read_config(kept)


def _check_file(path: str | Path | None, record: ModelRecord | DatasetRecord | None, what: str) -> None:
    """Refuse a file that is not the recorded one before the audit starts; folders and patterns are told after it."""
    if path is None or record is None or record.sha256 is None or not Path(path).is_file():
        return
    sha256 = sha256_of(path, f"{what} {path}", budget=DATA_BYTES)
    if sha256 != record.sha256:
        raise InputError(f"{what} {path}: not the file that was audited, sha256 {sha256} instead of {record.sha256}.")


def _tuples(value: Any) -> Any:
    """Return settings as an auditor takes them: JSON knows no tuples."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
