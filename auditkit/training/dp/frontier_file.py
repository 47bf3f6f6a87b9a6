"""The file in which a retraining with held-out texts states what each budget costs them, beside the models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from auditkit.budgets import Budget
from auditkit.documents import parse_json
from auditkit.errors import InputError
from auditkit.evidence.measurement import Group, Record, first_problem
from auditkit.evidence.scalars import Number, WholeNumber
from auditkit.files import read_text

if TYPE_CHECKING:
    from auditkit.training.dp.retrained import GroupCost

FRONTIER = "frontier.json"
"""The name of the file, in the folder that the models are written to."""

FRONTIER_BYTES = Budget("bytes", 2**20, 2**30)

NotNegative = Annotated[Number, Field(ge=0)]


class StatedModel(Record):
    """A model that was written: the budget that it was asked for, and the sha256 that it opens with."""

    epsilon: Annotated[Number, Field(gt=0)]
    sha256: str


class StatedCost(Record):
    """What a model costs a group of held-out texts: see `GroupCost`."""

    epsilon: NotNegative | None
    group: Group | None
    texts: WholeNumber
    bits_per_byte: NotNegative
    low: NotNegative | None
    high: NotNegative | None

    @model_validator(mode="after")
    def _ordered(self) -> StatedCost:
        if self.low is not None and self.high is not None and not self.low <= self.bits_per_byte <= self.high:
            raise ValueError(f"{self.bits_per_byte} lies outside its interval, {self.low} to {self.high}")
        return self


class Frontier(Record):
    """What each budget costs: the models, the hash of the held-out texts, and the costs by model and group."""

    version: Literal[1] = 1
    held_out_sha256: str | None
    level: Annotated[Number, Field(gt=0, lt=1)]
    models: Annotated[tuple[StatedModel, ...], Field(min_length=1)]
    costs: Annotated[tuple[StatedCost, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> Frontier:
        keys = {(one.epsilon, one.group) for one in self.costs}
        if len(keys) < len(self.costs):
            raise ValueError("a model has two costs of one group")
        return self


def write_frontier(
    folder: Path, models: Sequence[StatedModel], held_out_sha256: str | None, level: float, costs: Sequence[GroupCost]
) -> Path:
    """Write what each budget costs into a folder, and return the file; one that is there is replaced."""
    stated = tuple(
        StatedCost(
            epsilon=one.epsilon,
            group=one.group,
            texts=one.count,
            bits_per_byte=one.value,
            low=one.low,
            high=one.high,
        )
        for one in costs
    )
    found = Frontier(held_out_sha256=held_out_sha256, level=level, models=tuple(models), costs=stated)
    path = folder / FRONTIER
    path.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path


def read_frontier(path: str | Path) -> Frontier:
    """Return what a file states that `write_frontier` wrote.

    Raises:
        InputError: there is no such file, or it states something else.
    """
    name = f"frontier {path}"
    remedy = f"pass the {FRONTIER} that auditkit retrain --dataset wrote"
    try:
        return Frontier.model_validate(parse_json(read_text(Path(path), name, budget=FRONTIER_BYTES)))
    except ValidationError as error:
        where, problem = first_problem(error)
        raise InputError(f"{name}: {where}: {problem}; {remedy}.") from error
    except ValueError as error:
        raise InputError(f"{name}: is not valid JSON; {remedy}.") from error
