"""Model files: weights and words, no program. Saving, and opening so that nothing of the file is run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import stat
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import nn

from auditkit.errors import ModelFileError
from auditkit.evidence.measurement import first_problem
from auditkit.models.architectures import READS
from auditkit.models.factory import build_network, is_code
from auditkit.models.formats.archive import CARD, CARD_MEMBER, Contents, read_contents
from auditkit.models.formats.exported import TRUST_OPTIONS, open_program, program_in, refusal, save_program
from auditkit.models.formats.pickles import ProgramKind, Refused
from auditkit.models.formats.weights import Weights, check_finite, check_fit, common_prefix, find_weights, shapes_of
from auditkit.models.model import Card, Kind, Model, first_line, seeded
from auditkit.schema.schema import Schema

TRUSTED = "trusted by its hash: its author's code was run"


def save_model(path: str | Path, module: nn.Module, card: Card) -> None:
    """Write the weights of a module and its card as a native model file, whole or not at all.

    A path that ends in `.safetensors` gives that format, any other the format of torch.save. A module that is an
    exported program becomes a torch.export archive, with the card in it.

    Raises:
        ModelFileError: the weights do not fit the card's architecture or are not finite, or the file cannot be
            written.
    """
    name = f"model {path}"
    state = {key: value.detach().to("cpu").contiguous().clone() for key, value in module.state_dict().items()}
    exported = program_in(module)
    if exported is None:
        _check_card(name, card, shapes_of(module))
    check_finite(name, state)
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with open(beside, "xb") as file:
            if exported is not None:
                save_program(file, exported, {CARD_MEMBER: card.model_dump_json()})
            elif target.suffix == ".safetensors":
                file.write(safetensors.torch.save(state, metadata={CARD: card.model_dump_json()}))
            else:
                torch.save({CARD: card.model_dump_json(), "state_dict": state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except OSError as error:
        raise ModelFileError(f"{name}: cannot be written: {error.strerror or error}.") from error
    except RuntimeError as error:
        # On a full disk torch.save says "unexpected pos", and closing the file raises nothing.
        raise ModelFileError(f"{name}: cannot be written (is the disk full?): {first_line(error)}.") from error
    finally:
        beside.unlink(missing_ok=True)


@dataclass(frozen=True)
class ModelFile:
    """What a model file is, told without running anything of it.

    `weights` is None for a program, `card` for everything that auditkit did not write.
    """

    path: str
    sha256: str
    byte_count: int
    contents: Contents
    weights: Weights | None
    card: Card | None

    @property
    def kind(self) -> Kind | ProgramKind:
        """How the report calls this kind of file."""
        return self.contents.program or ("auditkit" if self.card is not None else "weights")


def read_model_file(path: str | Path) -> ModelFile:
    """Read what a model file is and holds. Nothing in it is run, and no weight is loaded.

    Raises:
        ModelFileError: no such file, damaged, no model, or neither weights nor a program of a known kind.
    """
    with _opened(path) as file:
        return _read(f"model {path}", path, file)


def open_model(
    path: str | Path,
    *,
    architecture: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    schema: Schema | Callable[[], Schema] | None = None,
    trust_model: str | None = None,
    trust_pickle: str | None = None,
) -> Model:
    """Open a model file. Nothing in it is run unless it is trusted by its hash.

    Args:
        path: a file of auditkit (which needs nothing else), foreign weights (torch.save, safetensors), or a program.
        architecture: for weights without a card: one of auditkit's by name, or `package.module:factory`. A card
            that names such code needs it too: a file never gets to name code by itself.
        arguments: of the architecture, by name; default: the card's.
        schema: for a file without a card, or in place of the card's; a function is only called where there is none.
        trust_model: `sha256:...` of a torch.export or TorchScript program that may run its code.
        trust_pickle: `sha256:...` of a pickled module or object that may run its code.

    Raises:
        ModelFileError: no such file, not a model, a program or a pickled module that is not trusted (the remedies are
            spelled out), damaged, weights that do not fit the architecture, or weights that are not finite.
    """
    name = f"model {path}"
    with _opened(path) as file:
        found = _read(name, path, file)
        trust = {"--trust-model": trust_model, "--trust-pickle": trust_pickle}

        def card_of(found: ModelFile) -> tuple[Card, list[str]]:
            return _card_of(name, found, architecture, arguments, schema)

        if found.contents.program is not None:
            return _open_trusted(name, found, file, schema, trust, card_of)
        for option, given in trust.items():
            if given is not None:
                raise ModelFileError(f"{name}: holds plain weights, which need no trust; leave {option} out.")
        card, notes = card_of(found)
        return _open_weights(name, found, card, lambda: _load_state(name, file, found), notes, "weights only")


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[BufferedReader]:
    name = f"model {path}"
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ModelFileError(f"{name}: is no regular file.")
            yield file
    except OSError as error:
        raise ModelFileError(f"{name}: {error.strerror or error}.") from error


def _read(name: str, path: str | Path, file: BufferedReader) -> ModelFile:
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size = file.seek(0, os.SEEK_END)
    try:
        contents = read_contents(file)
    except Refused as error:
        raise ModelFileError(f"{name}: {error}.") from error
    text = contents.metadata.get(CARD)
    if text is None and isinstance(contents.content, dict):
        text = contents.content.get(CARD)
        if text is not None and set(contents.content) != {CARD, "state_dict"}:
            raise ModelFileError(f"{name}: damaged: must hold a card and a state_dict, and nothing else.")
    if not isinstance(text, str | None):
        raise ModelFileError(f"{name}: damaged: its card is no text.")
    card = None if text is None else _read_card(name, text)
    weights = None
    if contents.program is None:
        weights = find_weights(contents.content)
        if weights is None:
            what = "a card, and a state_dict that is" if card else "plain values, but"
            raise ModelFileError(
                f"{name}: holds {what} no dictionary of named tensors; save torch.save(module.state_dict(), path)."
            )
    return ModelFile(str(path), sha256, size, contents, weights, card)


def _read_card(name: str, text: str) -> Card:
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        where, problem = first_problem(error)
        raise ModelFileError(f"{name}: its card is not valid: {where or 'its text'}: {problem}.") from error


def _card_of(
    name: str,
    found: ModelFile,
    architecture: str | None,
    arguments: Mapping[str, Any] | None,
    schema: Schema | Callable[[], Schema] | None,
) -> tuple[Card, list[str]]:
    """Return the card to open weights by: the file's own, or one made of what the user says."""
    if found.card is not None:
        card, notes = found.card, []
        if is_code(card.architecture) and architecture != card.architecture:
            raise ModelFileError(
                f"{name}: its card names the architecture {card.architecture[:80]!r}, which is code that is not "
                "auditkit's; only if that code is your own, name it yourself with --architecture."
            )
        if architecture not in (None, card.architecture):
            raise ModelFileError(
                f"{name}: its card names the architecture {card.architecture!r}, not {architecture!r}; "
                "leave --architecture out."
            )
        if arguments and not is_code(card.architecture):
            raise ModelFileError(f"{name}: its card names its architecture's arguments; leave --architecture-args out.")
        if isinstance(schema, Schema):
            card = card.model_copy(update={"schema_": schema})
            notes.append("The schema that was passed takes the place of the one in the model's card.")
        return card.model_copy(update={"arguments": dict(arguments)}) if arguments else card, notes
    if architecture is None:
        raise ModelFileError(
            f"{name}: holds weights without auditkit's card, so their architecture is unknown; pass --architecture "
            "package.module:factory (your own code, with --architecture-args '{...}') or the name of one of auditkit's."
        )
    if schema is None:
        raise ModelFileError(f"{name}: holds weights without auditkit's card; pass --schema schema.json.")
    known = schema if isinstance(schema, Schema) else schema()
    return Card(
        schema=known, architecture=architecture, arguments=dict(arguments or {}), name=Path(found.path).stem
    ), []


def _check_card(name: str, card: Card, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare names and shapes with those of the card's architecture, built without memory where it is auditkit's."""
    check_fit(name, card.architecture, _expected(name, card), shapes)
    inputs, outputs = card.arguments.get("input_width"), card.arguments.get("output_width")
    if isinstance(inputs, int) and inputs != card.schema_.input_width:
        raise ModelFileError(f"{name}: reads {inputs} cells a row, but its schema encodes {card.schema_.input_width}.")
    reads = READS.get(card.architecture, card.schema_.kind)
    if reads != card.schema_.kind:
        raise ModelFileError(
            f"{name}: {card.architecture} reads a {reads}, but its schema describes a {card.schema_.kind}."
        )
    for argument, value in card.schema_.network_arguments().items():
        given = card.arguments.get(argument, value)
        if card.schema_.kind != "table" and argument != "output_width" and given != value:
            raise ModelFileError(f"{name}: has {argument} {given}, but its schema encodes {value}.")
    allowed = {len(card.schema_.classes) or 1} | ({1} if card.schema_.task == "binary" else set())
    if isinstance(outputs, int) and outputs not in allowed:
        needed = f"names {len(card.schema_.classes)} classes" if card.schema_.classes else "is of a regression"
        raise ModelFileError(f"{name}: has {outputs} outputs, but its schema {needed}.")


def _expected(name: str, card: Card) -> dict[str, tuple[int, ...]]:
    try:
        # The user's own code may compute while it builds, which the meta device does not allow.
        with seeded(0), contextlib.nullcontext() if is_code(card.architecture) else torch.device("meta"):
            return shapes_of(build_network(card.architecture, card.arguments))
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error}") from error


def _open_weights(
    name: str,
    found: ModelFile,
    card: Card,
    load: Callable[[], Mapping[str, torch.Tensor]],
    notes: list[str],
    trust: str,
) -> Model:
    """Return the model of weights that fit the architecture; they are loaded once that is known."""
    assert found.weights is not None
    expected = _expected(name, card)
    prefix = "" if found.card is not None else common_prefix(list(found.weights.tensors), list(expected))
    shapes = {key.removeprefix(prefix): tuple(part.shape) for key, part in found.weights.tensors.items()}
    _check_card(name, card, shapes)
    state = {key.removeprefix(prefix): value for key, value in load().items()}
    check_finite(name, state)
    with seeded(0):
        module = build_network(card.architecture, card.arguments)
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise ModelFileError(f"{name}: does not load into {card.architecture}: {first_line(error)}.") from error
    if found.weights.place and found.card is None:
        place = ".".join(found.weights.place)
        notes.append(f"The weights were found under {place!r} of the model file; its other content was left alone.")
    if prefix:
        notes.append(f"The prefix {prefix!r} was taken from the name of every weight.")
    halves = sorted({part.dtype for part in found.weights.tensors.values()} & {"float16", "bfloat16"})
    if halves:
        notes.append(f"Weights of half precision ({', '.join(halves)}) were widened to those of the architecture.")
    return Model(
        name=card.name or Path(found.path).stem,
        module=module.to("cpu").eval(),
        schema=card.schema_,
        card=card,
        path=found.path,
        sha256=found.sha256,
        kind="auditkit" if found.card is not None else "weights",
        trust=trust,
        notes=tuple(notes),
    )


def _load_state(name: str, file: BufferedReader, found: ModelFile) -> dict[str, torch.Tensor]:
    file.seek(0)
    try:
        if found.contents.form == "safetensors file":
            return safetensors.torch.load(file.read())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols and storages of other versions of torch
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(f"{name}: torch does not read it as plain weights; save its state_dict again.") from error
    except (RuntimeError, ValueError, LookupError, TypeError, EOFError, safetensors.SafetensorError) as error:
        raise ModelFileError(f"{name}: torch cannot read it: {first_line(error)}.") from error
    assert found.weights is not None
    for key in found.weights.place:
        content = content[key]
    return dict(content)


def _open_trusted(
    name: str,
    found: ModelFile,
    file: BufferedReader,
    schema: Schema | Callable[[], Schema] | None,
    trust: Mapping[str, str | None],
    card_of: Callable[[ModelFile], tuple[Card, list[str]]],
) -> Model:
    """Open a program or a pickled module, if the user names the sha256 of this very file."""
    kind = found.contents.program
    assert kind is not None
    option = TRUST_OPTIONS.get(kind)
    given = trust.get(option or "")
    if option is None or given is None:
        raise ModelFileError(f"{name}: {refusal(kind, found.contents.what, found.sha256)}")
    if given != f"sha256:{found.sha256}":
        raise ModelFileError(f"{name}: {option} names {given[:80]!r}, but this file is sha256:{found.sha256}.")
    file.seek(0)
    content = file.read()
    if hashlib.sha256(content).hexdigest() != found.sha256:
        raise ModelFileError(f"{name}: changed while it was read.")
    note = f"The model file is {found.contents.what}. It was opened because {option} names its sha256."
    try:
        opened = open_program(kind, content)
    except Refused as error:
        raise ModelFileError(f"{name}: {error}.") from error
    if not isinstance(opened.module, nn.Module):
        weights = find_weights(opened.module)
        if weights is None:
            raise ModelFileError(f"{name}: holds a {type(opened.module).__name__}, and neither a module nor weights.")
        unpickled: Any = opened.module
        for key in weights.place:
            unpickled = unpickled[key]
        found = replace(found, weights=weights)
        made, notes = card_of(found)
        return _open_weights(name, found, made, lambda: unpickled, [note, *notes], TRUSTED)
    card: Card | None = None
    notes = []
    if found.card is not None:
        card, notes = _card_of(name, found, found.card.architecture, None, schema)
        known = card.schema_
    elif schema is not None:
        known = schema if isinstance(schema, Schema) else schema()
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
        kind=kind,  # type: ignore[arg-type]  # what TRUST_OPTIONS lists is a Kind
        trust=TRUSTED,
        notes=(note, *opened.notes, *notes),
    )
