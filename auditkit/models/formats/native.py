"""Native model files: weights and a card of words, no program; and foreign weights by the same rules."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError
from torch import nn

from auditkit.errors import ModelFileError
from auditkit.evidence.measurement import first_problem
from auditkit.evidence.messages import Message
from auditkit.models.architectures import READS
from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.factory import build_network, is_code
from auditkit.models.formats.archive import CARD, CARD_MEMBER, Contents, copied
from auditkit.models.formats.exported import program_in, save_program
from auditkit.models.formats.pickles import Refused
from auditkit.models.formats.weights import Weights, check_finite, check_fit, common_prefix, find_weights, shapes_of
from auditkit.models.generate import generating
from auditkit.models.model import NATIVE, OF_WEIGHTS, Card, Model, first_line
from auditkit.models.refit import FromCard, seeded
from auditkit.run_folder import PARTIAL
from auditkit.schema.schema import Schema


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
    beside = target.with_name(f".{target.name}.{os.getpid()}{PARTIAL}")
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
    def kind(self) -> str:
        """How the report calls this kind of file."""
        return self.contents.program or (NATIVE if self.card is not None else "weights")


class NativeFormat:
    """Files that auditkit wrote: weights, and a card of words."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the file holds weights and a card."""
        if source.contents is None or source.contents.program is not None:
            return None
        if card_text(source) is None:
            return None
        return Match(NATIVE, check=lambda options: check_stored(source))

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model; nothing of the file is run."""
        return open_weights_file(source, trust, config)


def open_weights_file(source: Source, trust: Trust, config: OpenOptions) -> Model:
    """Return the model of a file of plain weights, with or without a card.

    Raises:
        ModelFileError: it needs no trust and trust is given, or the weights do not fit the architecture.
    """
    for option in trust.given():
        raise ModelFileError(f"{source.name}: holds plain weights, which need no trust; leave {option} out.")
    found = model_file(source)
    card, notes = card_for(found, config)
    state = functools.partial(_load_state, source, found)
    return open_weights(found, card, state, notes, Message("weights only"), own_inputs=config.own_inputs)


def check_stored(source: Source) -> None:
    """Raise ModelFileError where a weight in a file of plain weights is NaN or infinite. No network is made for it."""
    check_finite(source.name, _load_state(source, model_file(source)))


def card_text(source: Source) -> str | None:
    """Return the text of a file's card, None where it has none.

    Raises:
        ModelFileError: it is no text, or the file holds something besides.
    """
    contents = source.contents
    assert contents is not None
    text = contents.metadata.get(CARD)
    if text is None and isinstance(contents.content, dict):
        text = contents.content.get(CARD)
        if text is not None and set(contents.content) != {CARD, "state_dict"}:
            raise ModelFileError(f"{source.name}: damaged: must hold a card and a state_dict, and nothing else.")
    if not isinstance(text, str | None):
        raise ModelFileError(f"{source.name}: damaged: its card is no text.")
    return text


def model_file(source: Source) -> ModelFile:
    """Return what one of torch's files holds, with the card of those that auditkit wrote.

    Raises:
        ModelFileError: it is damaged, or holds neither weights nor a program.
    """
    contents = source.contents
    if contents is None:
        raise ModelFileError(f"{source.name}: {source.damage}.")
    text = card_text(source)
    card = None if text is None else _read_card(source.name, text)
    weights = None
    if contents.program is None:
        weights = find_weights(contents.content)
        if weights is None:
            what = "a card, and a state_dict that is" if card else "plain values, but"
            raise ModelFileError(
                f"{source.name}: holds {what} no dictionary of named tensors; save "
                "torch.save(module.state_dict(), path)."
            )
    return ModelFile(str(source.path), source.sha256, source.byte_count, contents, weights, card)


def _read_card(name: str, text: str) -> Card:
    try:
        return Card.model_validate_json(text)
    except ValidationError as error:
        where, problem = first_problem(error)
        raise ModelFileError(f"{name}: its card is not valid: {where or 'its text'}: {problem}.") from error


def card_for(found: ModelFile, config: OpenOptions) -> tuple[Card, list[str]]:
    """Return the card to open weights by, the file's own or one made of what the user says, and notes.

    Raises:
        ModelFileError: the architecture or the schema is missing, or contradicts the file's card.
    """
    name, architecture, arguments, schema = (
        f"model {found.path}",
        config.architecture,
        config.arguments,
        config.schema,
    )
    if found.card is not None:
        card = found.card
        notes: list[str] = []
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
            notes.append(Message("The schema that was passed takes the place of the one in the model's card."))
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


def open_weights(
    found: ModelFile,
    card: Card,
    load: Callable[[], Mapping[str, torch.Tensor]],
    notes: list[str],
    trust: str,
    *,
    own_inputs: bool = False,
) -> Model:
    """Return the model of weights that fit the architecture; they are loaded once that is known.

    With `own_inputs` the user's preprocessing makes the inputs, and the schema is not held against the architecture.
    """
    name = f"model {found.path}"
    assert found.weights is not None
    expected = _expected(name, card)
    prefix = "" if found.card is not None else common_prefix(list(found.weights.tensors), list(expected))
    shapes = {key.removeprefix(prefix): tuple(part.shape) for key, part in found.weights.tensors.items()}
    if own_inputs:
        check_fit(name, card.architecture, expected, shapes)
    else:
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
        notes.append(
            Message(
                "The weights were found under {place} of the model file; its other content was left alone.",
                place=repr(place),
            )
        )
    if prefix:
        notes.append(Message("The prefix {prefix} was taken from the name of every weight.", prefix=repr(prefix)))
    halves = sorted({part.dtype for part in found.weights.tensors.values()} & {"float16", "bfloat16"})
    if halves:
        notes.append(
            Message("Weights of half precision ({halves}) were widened to those of the architecture.", halves=halves)
        )
    return Model(
        name=card.name or Path(found.path).stem,
        module=module.to("cpu").eval(),
        schema=card.schema_,
        card=card,
        path=found.path,
        sha256=found.sha256,
        kind=NATIVE if found.card is not None else "weights",
        trust=trust,
        notes=tuple(notes),
        **({"capabilities": OF_WEIGHTS} | generating(module, fresh=FromCard)),
    )


def _load_state(source: Source, found: ModelFile) -> dict[str, torch.Tensor]:
    name, file = source.name, source.file
    assert file is not None
    assert found.weights is not None
    file.seek(0)
    try:
        if found.contents.form == "safetensors file":
            return safetensors.torch.load(file.read())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols and storages of other versions of torch
            scanned = copied(file) if found.contents.form == "zip archive" else file
            content = torch.load(scanned, map_location="cpu", weights_only=True)
    except Refused as error:
        raise ModelFileError(f"{name}: {error}.") from error
    except pickle.UnpicklingError as error:
        raise ModelFileError(f"{name}: torch does not read it as plain weights; save its state_dict again.") from error
    except (RuntimeError, ValueError, LookupError, TypeError, EOFError, safetensors.SafetensorError) as error:
        raise ModelFileError(f"{name}: torch cannot read it: {first_line(error)}.") from error
    for key in found.weights.place:
        content = content[key]
    return dict(content)
