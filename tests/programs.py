"""Exported programs for tests: written to an archive and read again, as auditkit gets them."""

from __future__ import annotations

import io

import torch
from torch import nn

from auditkit.models.formats.exported import ExportedNetwork


def exported(module: nn.Module, inputs: torch.Tensor, *, decomposed: bool = False) -> ExportedNetwork:
    """Return a module as a program that takes any number of rows."""
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(module.eval(), (inputs,), dynamic_shapes=({0: rows},))
    file = io.BytesIO()
    torch.export.save(program.run_decompositions() if decomposed else program, file)
    return ExportedNetwork(torch.export.load(file), None)
