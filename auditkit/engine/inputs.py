"""The inputs of an audit: a request, and the objects that Python passes with it (model, rows, schema, policy)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from auditkit.config import AuditConfig, configured, with_settings
from auditkit.errors import InputError
from auditkit.evidence.policy import Policy, default_policy, read_policy
from auditkit.schema.schema import Schema, read_schema

if TYPE_CHECKING:
    import torch

    from auditkit.models.model import Model

IN_MEMORY = Path("in memory")
"""What the record states as the schema's file where the schema was an object of Python."""

Rows = pd.DataFrame | Path


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is audited, and how: the options, and the objects that some of them were given as."""

    config: AuditConfig
    model: torch.nn.Module | Model | Path | None
    data: Rows
    training: Rows | None
    schema: Schema | None
    policy: Policy


def read_inputs(model: Any, data: Any, config: AuditConfig | None, options: Mapping[str, Any]) -> Inputs:
    """Return the inputs that the arguments of `auditkit.audit` state; see there.

    Raises:
        InputError: an option is unknown or out of bounds, a file cannot be read, or no rows are named.
    """
    given = dict(options)
    objects = {
        "model": model,
        "dataset": data,
        "train_dataset": given.pop("training_data", given.pop("train_dataset", None)),
        "schema": given.pop("schema", None),
        "policy": given.pop("policy", None),
    }
    settings = given.pop("settings", None)
    files = {name: value for name, value in objects.items() if isinstance(value, str | Path)}
    config = configured(config, given | files)
    if isinstance(objects["schema"], Schema) or _is_module(model):
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
    rows = _object_or(data, config.data.dataset)
    if rows is None:
        raise InputError("no rows to audit; pass a data set (--dataset FILE).")
    return Inputs(
        config=config,
        model=_object_or(model, config.model.model),
        data=rows,
        training=_object_or(objects["train_dataset"], config.data.train_dataset),
        schema=schema,
        policy=policy,
    )


def _is_module(model: object) -> bool:
    """Return whether this is a module of torch: where there is one, torch has been imported."""
    loaded = sys.modules.get("torch")
    return loaded is not None and isinstance(model, loaded.nn.Module)


def _object_or(given: Any, path: Path | None) -> Any:
    """Return an object of Python as it is; a path, or nothing, as the request states it."""
    return path if given is None or isinstance(given, str | Path) else given
