"""TorchScript programs: opened only where the user trusts the very file, and after a preflight."""

from __future__ import annotations

import io

import torch

from auditkit.evidence.messages import Message
from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.capabilities import Differentiable, Layered, Refittable
from auditkit.models.formats.archive import copied
from auditkit.models.formats.exported import HOOKS_NOTHING, Opened, running_code
from auditkit.models.formats.preflight import check_torchscript
from auditkit.models.formats.trusted import match_program, open_trusted
from auditkit.models.model import Model

TRUST = "--trust-model"
NO_ARCHITECTURE = Message(
    "fresh weights cannot be drawn: a TorchScript program has no architecture to build anew; "
    "audit its weights with --architecture package.module:factory, or export it with torch.export"
)

LACKS = {Layered: HOOKS_NOTHING, Refittable: NO_ARCHITECTURE}


class TorchScriptFormat:
    """Archives of `torch.jit.save`."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the file holds a TorchScript program."""
        return match_program(source, "TorchScript", TRUST, LACKS)

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model; opening it runs its author's code."""
        return open_trusted(
            source,
            trust,
            config,
            option=TRUST,
            open_bytes=_open,
            capabilities=(Differentiable,),
            lacks=LACKS,
        )


def _open(content: bytes) -> Opened:
    with running_code():
        check_torchscript(content)
        return Opened(torch.jit.load(copied(io.BytesIO(content)), map_location="cpu"))
