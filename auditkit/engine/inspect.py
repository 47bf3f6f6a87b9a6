"""What a model file is, and what an audit could do with it, told without running code of the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from auditkit.budgets import allow_large
from auditkit.config import AuditConfig, ModelConfig, configured
from auditkit.data.dataset import Data, naming, read_data
from auditkit.engine.audit import begin
from auditkit.engine.auditor import installed
from auditkit.engine.inputs import read_inputs
from auditkit.engine.open_subject import ProgressReporter
from auditkit.engine.plan import Part, Plan, plan_of
from auditkit.engine.requirements import CAPABILITIES, Lack, Request, request
from auditkit.errors import AuditkitError, InputError, ModelFileError
from auditkit.evidence.measurement import Record
from auditkit.modalities.base import modality_for
from auditkit.models.base import InputSpec, Match, OpenOptions, Source, Trust, opened
from auditkit.models.cache import Cache
from auditkit.models.capabilities import OTHER_WEIGHTS, Capability, Layered, PrivatelyTrained, Runnable, StatedTraining
from auditkit.models.factory import build_network, is_code
from auditkit.models.formats.archive import Contents
from auditkit.models.formats.exported import refusal
from auditkit.models.formats.native import ModelFile, model_file
from auditkit.models.formats.opening import recognise
from auditkit.models.formats.weights import check_fit, common_prefix, shapes_of
from auditkit.models.generate import generating
from auditkit.models.model import LACKS, OF_WEIGHTS, lack_of
from auditkit.models.refit import FromCard
from auditkit.schema.schema import Schema, as_target, read_schema


class Ability(Record):
    """Whether an auditor could run on the model and the data, and why not, or under which condition."""

    auditor: str
    able: bool
    reason: str = ""


class Cost(Record):
    """What an auditor would compute: how many passes of a row through the model, and about how long they take."""

    part: str
    row_passes: int
    seconds: float | None


class Inspection(Record):
    """Everything that `auditkit inspect` says.

    `opens` says whether an audit would open the file as it is called here; else `problems` says why not, with the
    remedy. `ledger` is the privacy ledger of the weights; `ledger_problem` says why the ledger that there is claims
    nothing of them. Costs are those of the plan that a run on the data set begins with, where it could begin; their
    seconds are measured on one batch.
    """

    path: str
    kind: str
    trust: str
    sha256: str
    byte_count: int
    opens: bool
    problems: tuple[str, ...] = ()
    architecture: str | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    parameter_count: int | None = None
    tensors: tuple[tuple[str, tuple[int, ...], str], ...] = ()
    inputs: tuple[InputSpec, ...] = ()
    operations_per_row: int | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema", serialization_alias="schema")
    training: dict[str, Any] = Field(default_factory=dict)
    ledger: dict[str, Any] | None = None
    ledger_problem: str | None = None
    row_count: int | None = None
    abilities: tuple[Ability, ...] = ()
    costs: tuple[Cost, ...] = ()

    model_config = Record.model_config | {"populate_by_name": True, "serialize_by_alias": True}


def inspect_model(
    path: str | Path | None = None,
    *,
    config: AuditConfig | None = None,
    schema: Schema | None = None,
    cache: Cache | None = None,
    **options: Any,
) -> Inspection:
    """Tell what a model file is; without a data set weights are read, but not run. Only the user's factory is called.

    With a data set an audit is begun, as far as trust is given, up to the predictions of its rows: what would stop the
    audit is a problem here. So it is for a model that brings rows of its own, such as word vectors.

    `config` is the request for an audit, `options` replace what it states, by name. `cache` keeps the predictions.

    Raises:
        InputError: no such file, or one that no option would open.
    """
    config = configured(config, options | {"model": path, "schema": options.get("schema")})
    if config.model.model is None:
        raise InputError("no model to inspect; pass a model file.")
    with opened(config.model.model) as source:
        match = recognise(source).match
        found = model_file(source) if source.contents is not None else _other_file(source)
        asked = _trust_asked(match, config.model, source.sha256)
        problems = list(_refusals(source, found, match, config))
        inputs = () if problems else match.inputs()
    data = None if config.data.dataset is None else read_data(config.data.dataset, encoding=config.data.encoding)
    schema = _stated(schema, found, config)
    named, given = _named_architecture(found, config.model)
    stated = _stated_training(found, match)
    problems += _unfit(found, config.model.architecture, schema, data) if not problems else []
    network, misfits = _network_of(found, config.model.architecture or _own(named), given)
    problems += misfits
    plan = None
    if not problems and (data is not None or match.own_rows):
        plan, stops = _planned(config, schema, cache)
        problems += stops
    offered = _request(_lacks(match, network, stated), schema, data, config)
    abilities = tuple(_abilities(match, asked, network, offered, problems, {} if plan is None else dict(plan.idle)))
    return Inspection(
        path=found.path,
        kind=match.kind,
        trust=_trust(match, found.sha256),
        sha256=found.sha256,
        byte_count=found.byte_count,
        opens=not problems,
        problems=tuple(problems),
        architecture=named,
        arguments=given,
        parameter_count=_parameter_count(found, network),
        tensors=_tensors(found),
        inputs=inputs,
        operations_per_row=None if network is None or schema is None else _operations(network, schema),
        schema=None if schema is None else schema.for_report(),
        **_training(found, stated),
        row_count=None if data is None else len(data.frame),
        abilities=abilities,
        costs=() if plan is None else _costs(plan),
    )


def _trust(match: Match, sha256: str) -> str:
    """Return in words which trust the file asks for."""
    if match.trust is not None:
        return f"opens only with {match.trust} sha256:{sha256}"
    return "weights only: nothing of it is run" if match.refusal is None else "never"


def _tensors(found: ModelFile) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    """Return name, shape and type of every tensor among the weights."""
    tensors = {} if found.weights is None else found.weights.tensors
    return tuple((key, part.shape, part.dtype) for key, part in tensors.items())


def _other_file(source: Source) -> ModelFile:
    """Return what is known of a file that is none of torch's, before its format opens it."""
    return ModelFile(str(source.path), source.sha256, source.byte_count, Contents("other"), None, None)


def _stated(schema: Schema | None, found: ModelFile, config: AuditConfig) -> Schema | None:
    """Return a schema, or that of the request's file or the model's, with the columns that the request names."""
    schema = schema or (None if config.model.schema_file is None else read_schema(config.model.schema_file))
    schema = schema or (found.card.schema_ if found.card is not None else None)
    if schema is None:
        return None
    target = None if config.data.target is None else as_target(config.data.target)
    named = {"target": target, "sensitive": config.groups.sensitive}
    return schema.model_copy(update={name: value for name, value in named.items() if value is not None})


def _named_architecture(found: ModelFile, config: ModelConfig) -> tuple[str | None, dict[str, Any]]:
    """Return the architecture that the request names, or the file's card, and its arguments."""
    known = found.card if found.contents.program is None else None  # a program carries its own graph
    named = config.architecture or (known.architecture if known is not None else None)
    return named, dict(config.architecture_args or (found.card.arguments if found.card is not None else {}))


def _trust_asked(match: Match, config: ModelConfig, sha256: str) -> str | None:
    """Return the option that must still name the file's sha256; None where it does, or none is needed."""
    given = Trust(config.trust_model, config.trust_pickle).given()
    return None if match.trust is None or given.get(match.trust) == f"sha256:{sha256}" else match.trust


def _refusals(source: Source, found: ModelFile, match: Match, config: AuditConfig) -> Iterator[str]:
    """Yield why a file would not open as the request names it: it is never opened, not trusted, or does not fit."""
    if match.refusal is not None:
        yield match.refusal
        return
    if _trust_asked(match, config.model, source.sha256) is not None:
        if match.remedy is None:
            yield refusal(match.trust, found.contents.what, found.sha256)
        else:
            yield refusal(match.trust, f"a {match.kind}", found.sha256, match.remedy)
        return
    for option in Trust(config.model.trust_model, config.model.trust_pickle).given():
        if option != match.trust:
            yield f"{source.name}: needs no {option}; leave it out."
    try:
        match.check(OpenOptions(architecture=config.model.architecture, arguments=config.model.architecture_args))
    except ModelFileError as error:
        yield str(error)


def _unfit(found: ModelFile, architecture: str | None, schema: Schema | None, data: Data | None) -> Iterator[str]:
    """Yield what weights need besides, and columns of the data that the schema does not fit."""
    if found.weights is not None and found.card is None and architecture is None:
        yield "holds weights without auditkit's card: pass --architecture package.module:factory, or one of auditkit's."
    if found.card is not None and is_code(found.card.architecture) and architecture is None:
        yield "its card names code that is not auditkit's; only if that code is your own, name it with --architecture."
    if schema is not None and data is not None:
        try:
            with naming(data):
                schema.check_columns(data.frame)
        except AuditkitError as error:
            yield str(error)


def _planned(config: AuditConfig, schema: Schema | None, cache: Cache | None) -> tuple[Plan | None, list[str]]:
    """Begin the audit as it is asked for, up to the predictions of its rows; return its plan, or why it would stop."""
    progress = ProgressReporter(lambda name, fraction, what: None)
    try:
        inputs = read_inputs(config.model.model, config.data.dataset, config, {"schema": schema})
        with allow_large(config.run.allow_large):
            begun = begin(inputs, auditors=None, cache=cache, progress=progress)
            return plan_of(begun.subject, begun.chosen), []
    except InputError as error:
        return None, [str(error)]


def _costs(plan: Plan) -> tuple[Cost, ...]:
    """Return what the parts of a plan cost, the predictions of the rows first."""
    parts = [Part("predictions", plan.row_count, plan.seconds_of(plan.row_count)), *plan.parts]
    return tuple(
        Cost(
            part=part.auditor,
            row_passes=round(part.passes),
            seconds=None if part.seconds is None else round(part.seconds, 1),
        )
        for part in parts
        if part.passes
    )


def _own(architecture: str | None) -> str | None:
    """Return an architecture that a card names, unless it is code."""
    return None if architecture is None or is_code(architecture) else architecture


def _network_of(
    found: ModelFile, architecture: str | None, arguments: Mapping[str, Any]
) -> tuple[nn.Module | None, list[str]]:
    """Return the network that weights are of, None where there are no weights, or where they do not fit, and why."""
    if found.weights is None or architecture is None:
        return None, []
    try:
        return _network(found, architecture, arguments), []
    except ModelFileError as error:
        return None, [str(error)]


def _network(found: ModelFile, architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build the architecture, without memory for weights where it is auditkit's, and hold the file against it."""
    if is_code(architecture):
        network = build_network(architecture, arguments)
    else:
        with torch.device("meta"):
            network = build_network(architecture, arguments)
    expected = shapes_of(network)
    assert found.weights is not None
    prefix = "" if found.card is not None else common_prefix(list(found.weights.tensors), list(expected))
    shapes = {key.removeprefix(prefix): part.shape for key, part in found.weights.tensors.items()}
    check_fit(f"model {found.path}", architecture, expected, shapes)
    return network.to("meta").eval()


def _stated_training(found: ModelFile, match: Match) -> StatedTraining | None:
    """Return what a model's file states about a training with privacy, once its epsilon is what its numbers give."""
    card = found.card
    stated = match.stated() if card is None or card.ledger is None else StatedTraining(card.training, card.ledger)
    if stated is None:
        return None
    from auditkit.training.dp.accounting import read_ledger

    read_ledger(stated.ledger, f"model {found.path}")
    return stated


def _training(found: ModelFile, stated: StatedTraining | None) -> dict[str, Any]:
    """Return what a model's file says of the training of its weights, and the ledger of it, as fields of the result."""
    training = {} if found.card is None else found.card.training
    if stated is None:
        return {"training": training}
    if not stated.of_these_weights:
        return {"training": training, "ledger_problem": str(OTHER_WEIGHTS)}
    return {"training": dict(stated.training), "ledger": dict(stated.ledger)}


def _parameter_count(found: ModelFile, network: nn.Module | None) -> int | None:
    if network is not None:
        return sum(parameter.numel() for parameter in network.parameters())
    return None if found.weights is None else found.weights.count


def _operations(network: nn.Module, schema: Schema) -> int | None:
    """Count the additions and multiplications that one row takes, on a network without weights."""
    from auditkit.models.operations import counted_operations

    row = torch.as_tensor(modality_for(schema).blank(1))
    return counted_operations(network, row.to("meta")) or None


def _abilities(
    match: Match,
    trust: str | None,
    network: nn.Module | None,
    offered: Request,
    problems: list[str],
    idle: Mapping[str, str],
) -> Iterator[Ability]:
    """Yield what each installed auditor could do.

    `trust` is the option that the file still asks for, if any, and `idle` says which the plan of a run leaves out.
    """
    for name, point in installed().items():
        try:
            kind = point.load()
        except Exception as error:  # noqa: BLE001  # a plugin's import may raise anything
            yield Ability(auditor=name, able=False, reason=f"does not load: {type(error).__name__}: {error}")
            continue
        requires = getattr(kind, "requires", ())
        lacks = offered.missing(kind)
        missing = [lack.reason for lack in lacks if lack.remedy is None]
        asked = [lack.sentence for lack in lacks if lack.remedy is not None]
        if problems and trust is None and not missing + asked:
            missing.append("no check can begin before the problem above is solved")
        if trust is not None:
            asked.insert(0, f"the file must be trusted: {trust}")
        if "refitting" in requires and network is not None:
            missing += list(_unsupported(network))
        if name in idle and not lacks:  # the budget does not pay for it
            missing.append(idle[name])
        if "model" in requires and "refitting" not in requires and Layered in match.lacks:
            asked.append(match.lacks[Layered])
        able = not missing and (not problems or trust is not None)
        yield Ability(auditor=name, able=able, reason="; ".join(missing + asked))


def _lacks(match: Match, network: nn.Module | None, stated: StatedTraining | None) -> dict[type[Capability], str]:
    """Return the capabilities that a network of this architecture has not got; of an unknown one only what is sure."""
    sure = dict(match.lacks)
    if stated is None:
        sure[PrivatelyTrained] = LACKS[PrivatelyTrained]
    if network is None:
        return sure
    made = {"capabilities": OF_WEIGHTS} | generating(network, fresh=FromCard)
    has = (*made["capabilities"], Runnable, PrivatelyTrained)
    kinds = [kind for kind in CAPABILITIES.values() if not any(issubclass(one, kind) for one in has)]
    return {kind: lack_of(kind, made.get("lacks", {})) for kind in kinds} | sure


def _request(
    lacking: Mapping[type[Capability], str], schema: Schema | None, data: Data | None, config: AuditConfig
) -> Request:
    """Return what an audit of this file on these data would have of what auditors may require."""
    target = schema.targets if schema is not None else config.data.target or ()
    sensitive = schema.sensitive if schema is not None else config.groups.sensitive or ()
    training = config.data.has_training_rows
    offered = request(schema, lacking, sensitive=sensitive, training=training)
    columns = None if data is None else {str(column) for column in data.frame.columns}
    lacks = {name: lack for name, lack in offered.lacks.items() if name != "labels" or not target}
    for requirement, what, names in (
        ("labels", "column", target),
        ("sensitive", "sensitive column", sensitive),
    ):
        absent = [name for name in names if columns is not None and name not in columns]
        if absent:
            lacks[requirement] = Lack(requirement, "; ".join(f"the data has no {what} {name!r}" for name in absent))
    return dataclasses.replace(offered, lacks=lacks)


def _unsupported(network: nn.Module) -> Iterator[str]:
    from opacus.validators import ModuleValidator

    from auditkit.training.dp.generators import part_that_reads_rows

    for error in ModuleValidator.validate(part_that_reads_rows(network).train(), strict=False):
        yield "Opacus cannot train it: " + str(error).strip().partition(". ")[0]
        return
