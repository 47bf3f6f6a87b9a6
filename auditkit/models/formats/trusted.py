"""Files that hold code: opened only where the user names the sha256 of the very file, and after a preflight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.capabilities import Capability
from auditkit.models.formats.exported import Opened, refusal
from auditkit.models.formats.native import ModelFile, card_for, model_file, open_weights
from auditkit.models.formats.pickles import ProgramKind, Refused
from auditkit.models.formats.weights import check_finite, find_weights
from auditkit.models.model import Card, Model
from auditkit.schema.schema import Schema

TRUSTED = Message("trusted by its hash: its author's code was run")


def match_program(
    source: Source,
    kind: ProgramKind,
    option: str | None,
    lacks: Mapping[type[Capability], str] = MappingProxyType({}),
) -> Match | None:
    """Return the match of a program of one kind that `option` opens, None where the source is something else."""
    contents = source.contents
    if contents is None or contents.program != kind:
        return None
    said = refusal(option, contents.what, source.sha256)
    return Match(kind, refusal=said if option is None else None, trust=option, lacks=lacks)


def trusted_content(source: Source, trust: Trust, option: str) -> bytes:
    """Return the bytes of a file that the user trusts by its hash.

    Raises:
        ModelFileError: it is not trusted (the remedies are spelled out), or another file is, or it changed.
    """
    contents = source.contents
    assert contents is not None
    given = trust.given().get(option)
    if given is None:
        raise ModelFileError(f"{source.name}: {refusal(option, contents.what, source.sha256)}")
    if given != f"sha256:{source.sha256}":
        raise ModelFileError(f"{source.name}: {option} names {given[:80]!r}, but this file is sha256:{source.sha256}.")
    return source.content()


def open_trusted(
    source: Source,
    trust: Trust,
    config: OpenOptions,
    *,
    option: str,
    open_bytes: Callable[[bytes], Opened],
    capabilities: tuple[type[Capability], ...],
    lacks: Mapping[type[Capability], str],
) -> Model:
    """Open a program, or a pickled module or weights, if the user names the sha256 of this very file.

    `open_bytes` runs its author's code.

    Raises:
        ModelFileError: it is not trusted, the preflight refuses it, or it holds no model.
    """
    name, contents = source.name, source.contents
    assert contents is not None
    content = trusted_content(source, trust, option)
    note = Message(
        "The model file is {what}. It was opened because {option} names its sha256.", what=contents.what, option=option
    )
    try:
        opened = open_bytes(content)
    except Refused as error:
        raise ModelFileError(f"{name}: {error}.") from error
    found = model_file(source)
    if not isinstance(opened.module, nn.Module):
        return _trusted_weights(name, found, opened.module, config, note)
    card: Card | None = None
    notes: list[str] = []
    if found.card is not None:
        card, notes = card_for(found, replace(config, architecture=found.card.architecture, arguments=None))
        known = card.schema_
    elif config.schema is not None:
        known = config.schema if isinstance(config.schema, Schema) else config.schema()
    else:
        raise ModelFileError(f"{name}: has no schema of its inputs and outputs; pass --schema schema.json.")
    check_finite(name, opened.module.state_dict())
    return Model(
        name=(card.name if card else "") or Path(found.path).stem,
        module=opened.module.eval(),
        schema=known,
        card=card,
        path=found.path,
        sha256=found.sha256,
        kind=found.kind,
        trust=TRUSTED,
        notes=(note, *opened.notes, *notes),
        capabilities=capabilities,
        lacks=lacks,
    )


def _trusted_weights(name: str, found: ModelFile, unpickled: Any, config: OpenOptions, note: str) -> Model:
    """Open weights that a trusted pickle holds, at any place in it."""
    weights = find_weights(unpickled)
    if weights is None:
        raise ModelFileError(f"{name}: holds a {type(unpickled).__name__}, and neither a module nor weights.")
    for key in weights.place:
        unpickled = unpickled[key]
    found = replace(found, weights=weights)
    made, notes = card_for(found, config)
    return open_weights(found, made, lambda: unpickled, [note, *notes], TRUSTED, own_inputs=config.own_inputs)
