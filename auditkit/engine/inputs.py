"""The inputs of an audit: a request, and the objects that Python passes with it (model, rows, schema, policy)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from auditkit.config import AuditConfig, configured, with_settings
from auditkit.evidence.policy import Policy, default_policy, read_policy
from auditkit.schema.schema import Schema, read_schema

if TYPE_CHECKING:
    pass

IN_MEMORY = Path("in memory")
"""What the record states as the schema's file where the schema was an object of Python."""

Rows = pd.DataFrame | Path


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is audited, and how: the options, and the objects that some of them were given as.

    `model` is anything that predicts: see `auditkit.audit`. `preprocess` is a function, a fitted transformer, or what
    names one. `data` is None where the model brings the rows that it is audited on.
    """

    config: AuditConfig
    model: Any
    preprocess: Any
    data: Rows | None
    training: Rows | None
    schema: Schema | None
    policy: Policy


def read_inputs(model: Any, data: Any, config: AuditConfig | None, options: Mapping[str, Any]) -> Inputs:
    """Return the inputs that the arguments of `auditkit.audit` state; see there.

    Raises:
        InputError: an option is unknown or out of bounds, or a file cannot be read.
    """
    given = dict(options)
    objects = {
        "model": model,
        "dataset": given.pop("dataset", None) if data is None else data,
        "train_dataset": given.pop("training_data", given.pop("train_dataset", None)),
        "schema": given.pop("schema", None),
        "policy": given.pop("policy", None),
        "preprocess": given.pop("preprocess", None),
    }
    settings = given.pop("settings", None)
    files = {name: value for name, value in objects.items() if isinstance(value, str | Path)}
    config = configured(config, given | files)
    if isinstance(objects["schema"], Schema) or (model is not None and not _is_opened(model)):
        config = configured(config, {"schema": IN_MEMORY})
    if settings:
        config = with_settings(config, settings)
    file = config.model.schema_file
    schema = objects["schema"] if isinstance(objects["schema"], Schema) else None
    if schema is None and file is not None and file != IN_MEMORY:
        schema = read_schema(file)
    policy = objects["policy"]
    if not isinstance(policy, Policy):
        policy = default_policy() if config.policy.policy is None else read_policy(config.policy.policy)
    return Inputs(
        config=config,
        model=_object_or(model, config.model.model),
        preprocess=_object_or(objects["preprocess"], config.model.preprocess),
        data=_object_or(objects["dataset"], config.data.dataset),
        training=_object_or(objects["train_dataset"], config.data.train_dataset),
        schema=schema,
        policy=policy,
    )


def _is_opened(model: object) -> bool:
    """Return whether this is the path of a model, or a Model: where there is one, its module has been imported."""
    loaded = sys.modules.get("auditkit.models.model")
    return isinstance(model, str | Path) or (loaded is not None and isinstance(model, loaded.Model))


def _object_or(given: Any, path: Path | str | None) -> Any:
    """Return an object of Python as it is; a path, or nothing, as the request states it."""
    return path if given is None or isinstance(given, str | Path) else given
