"""The model format of CONTRIBUTING.md, installed."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from auditkit.errors import ModelFileError
from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.model import Model, model_from_module


class CoefficientsFormat:
    """A logistic regression as a text: `#coefficients`, then one weight a line, the intercept last."""

    def recognise(self, source: Source) -> Match | None:
        return Match("coefficients") if source.head.startswith(b"#coefficients\n") else None

    def open(self, source: Source, trust: Trust, options: OpenOptions) -> Model:
        try:
            numbers = [float(line) for line in source.content().decode("ascii").split()[1:]]
        except ValueError as error:
            raise ModelFileError(f"{source.name}: holds something else than numbers.") from error
        schema = options.schema() if callable(options.schema) else options.schema
        if schema is None or len(numbers) != len(schema.features) + 1:
            raise ModelFileError(
                f"{source.name}: needs one weight for each column and an intercept, has {len(numbers)}."
            )
        layer = nn.Linear(len(numbers) - 1, 1)
        layer.load_state_dict({"weight": torch.tensor([numbers[:-1]]), "bias": torch.tensor(numbers[-1:])})
        model = model_from_module(layer, schema, name=source.path.stem)
        return dataclasses.replace(model, path=str(source.path), sha256=source.sha256, kind="coefficients")
