"""Any model file to a Model: the installed formats are asked in turn, and what none opens is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from auditkit import plugins
from auditkit.errors import ModelFileError
from auditkit.models.base import Match, ModelFormat, OpenOptions, Source, Trust, opened
from auditkit.models.formats.kinds import name_of
from auditkit.models.formats.native import ModelFile, model_file
from auditkit.models.model import Model
from auditkit.schema.schema import Schema

if TYPE_CHECKING:
    from auditkit.models.from_columns import Columns


class Recognised(NamedTuple):
    """The format that a source is of, by its entry point's name, and what it said of it."""

    name: str
    format: ModelFormat
    match: Match


def recognise(source: Source) -> Recognised:
    """Return the format of a source.

    Raises:
        ModelFileError: no installed format recognises it; what it looks like is named, with what would open it.
    """
    for name, point in plugins.installed("model_formats").items():
        try:
            kind: ModelFormat = point.load()()
        except ImportError:  # an extra that is not installed; `name_of` says which where the file is of that kind
            continue
        match = kind.recognise(source)
        if match is not None:
            return Recognised(name, kind, match)
    raise ModelFileError(f"{source.name}: {name_of(source) or source.damage}.")


def brings_rows(path: str | Path) -> bool:
    """Return whether a file is a model that brings the rows that it is audited on, as word vectors do."""
    try:
        with opened(path) as source:
            return recognise(source).match.own_rows
    except ModelFileError:  # whoever opens it says what is wrong
        return False


def read_model_file(path: str | Path) -> ModelFile:
    """Read what one of torch's model files is and holds. Nothing in it is run, and no weight is loaded.

    Raises:
        ModelFileError: no such file, damaged, no model, or neither weights nor a program of a known kind.
    """
    with opened(path) as source:
        if source.contents is None:
            raise ModelFileError(f"{source.name}: {name_of(source) or source.damage}.")
        return model_file(source)


def open_model(
    path: str | Path,
    *,
    architecture: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    schema: Schema | Callable[[], Schema] | None = None,
    trust_model: str | None = None,
    trust_pickle: str | None = None,
    columns: Columns | None = None,
    own_inputs: bool = False,
) -> Model:
    """Open a model file. Nothing in it is run unless it is trusted by its hash.

    Args:
        path: a file of auditkit (which needs nothing else), foreign weights (torch.save, safetensors), a program, or
            what an installed format opens.
        architecture: for weights without a card: one of auditkit's by name, or `package.module:factory`. A card
            that names such code needs it too: a file never gets to name code by itself.
        arguments: of the architecture, by name; default: the card's.
        schema: for a file without a card, or in place of the card's; a function is only called where there is none.
        trust_model: `sha256:...` of a torch.export or TorchScript program that may run its code.
        trust_pickle: `sha256:...` of a pickled module or object that may run its code.
        columns: makes a model of a file that predicts from data frames, such as an estimator.
        own_inputs: the user's preprocessing makes the network's inputs, and `schema` says nothing of their width.

    Raises:
        ModelFileError: no such file, not a model, a program or a pickled module that is not trusted (the remedies are
            spelled out), damaged, weights that do not fit the architecture, or weights that are not finite.
    """
    config = OpenOptions(
        architecture=architecture, arguments=arguments, schema=schema, columns=columns, own_inputs=own_inputs
    )
    return open_with(path, Trust(trust_model, trust_pickle), config)


def open_with(path: str | Path, trust: Trust, config: OpenOptions) -> Model:
    """Open a model file by the format that recognises it.

    Raises:
        ModelFileError: as `open_model`.
    """
    with opened(path) as source:
        found = recognise(source)
        if found.match.refusal is not None:
            raise ModelFileError(f"{source.name}: {found.match.refusal}")
        return found.format.open(source, trust, config)
