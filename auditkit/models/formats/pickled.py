"""Pickled modules: opened only where the user trusts the very file; other pickles and packages are named."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import torch

from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.formats.estimators import JoblibFormat
from auditkit.models.formats.exported import Opened, running_code
from auditkit.models.formats.trusted import match_program, open_trusted
from auditkit.models.model import OF_MODULE, Model

TRUST = "--trust-pickle"


class PickledFormat:
    """Archives of `torch.save` that hold a module, or anything else than plain weights."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the file is a pickle that names code, or a torch.package."""
        if JoblibFormat().recognise(source) is not None:
            return None
        return (
            match_program(source, "pickled module", TRUST)
            or match_program(source, "pickle", None)
            or match_program(source, "torch.package", None)
        )

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model; opening it runs its author's code."""
        return open_trusted(source, trust, config, option=TRUST, open_bytes=_open, capabilities=OF_MODULE, lacks={})


def _open(content: bytes) -> Opened:
    with running_code():
        return Opened(_unpickle(content))


def _unpickle(content: bytes) -> Any:
    here = str(Path.cwd())
    sys.path.insert(0, here)  # a pickled module names its class, which is often beside it
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)  # the user trusts its hash
    finally:
        sys.path.remove(here)
