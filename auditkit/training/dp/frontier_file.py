"""The file in which a retraining with held-out rows or texts states what each budget costs them, by its models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from auditkit.budgets import Budget
from auditkit.documents import parse_json
from auditkit.errors import InputError
from auditkit.evidence.measurement import Group, Record, first_problem
from auditkit.evidence.scalars import Number, WholeNumber
from auditkit.files import read_text

FRONTIER = "frontier.json"
"""The name of the file, in the folder that the models are written to."""

FRONTIER_BYTES = Budget("bytes", 2**20, 2**30)

CostMeasure = Literal["bits per byte", "accuracy", "mean absolute error"]
"""In what the cost of a budget is measured: of texts, of classes, of numbers."""

NotNegative = Annotated[Number, Field(ge=0)]


class StatedModel(Record):
    """A model that was written: the budget that it was asked for, and the sha256 that it opens with."""

    epsilon: Annotated[Number, Field(gt=0)]
    sha256: str


class StatedCost(Record):
    """What a model costs a group of held-out rows or texts: see `GroupCost`."""

    epsilon: NotNegative | None
    group: Group | None
    count: WholeNumber
    value: NotNegative
    low: NotNegative | None
    high: NotNegative | None

    @model_validator(mode="before")
    @classmethod
    def _of_version_1(cls, stated: Any) -> Any:
        """Return what version 1 states, of language models alone, in the words of version 2."""
        if not isinstance(stated, dict):
            return stated
        renamed = {"texts": "count", "bits_per_byte": "value"}
        return {renamed.get(key, key): value for key, value in stated.items()}

    @model_validator(mode="after")
    def _ordered(self) -> StatedCost:
        if self.low is not None and self.high is not None and not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} lies outside its interval, {self.low} to {self.high}")
        return self


class Frontier(Record):
    """What each budget costs: the models, the hash of the held-out data, and the costs by model and group."""

    version: Literal[1, 2] = 2
    measure: CostMeasure = "bits per byte"
    held_out_sha256: str | None
    level: Annotated[Number, Field(gt=0, lt=1)]
    models: Annotated[tuple[StatedModel, ...], Field(min_length=1)]
    costs: Annotated[tuple[StatedCost, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _each_once(self) -> Frontier:
        keys = {(one.epsilon, one.group) for one in self.costs}
        if len(keys) < len(self.costs):
            raise ValueError("a model has two costs of one group")
        if self.measure == "accuracy" and any(one.value > 1 for one in self.costs):
            raise ValueError("an accuracy is above 1")
        return self


def write_frontier(folder: Path, found: Frontier) -> Path:
    """Write what each budget costs into a folder, and return the file; one that is there is replaced."""
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
