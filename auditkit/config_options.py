"""What an option of a request is, and the options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from auditkit import plugins


@dataclass(frozen=True, kw_only=True)
class Option:
    """How a field appears to a user: its help, and what the help shows for its value and its default.

    `name` is the option's name where it is not the field's, and `also` another name for it. `default` are the words for
    a default that is no value. With `commas`, a text lists several values; else a field of several values is an option
    that can be repeated. An `argument` is given by its place on the command line.
    """

    help: str
    metavar: str | None = None
    default: str | None = None
    name: str | None = None
    also: str | None = None
    commas: bool = False
    argument: bool = False


def _several(value: Any) -> Any:
    """Return one value as a tuple of one, and a sequence as it is."""
    return tuple(value) if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping) else (value,)


TASKS = ("binary", "multiclass", "multilabel", "regression")
"""The tasks of auditkit in which something is predicted of each row."""


def tasks_of_others() -> list[str]:
    """Return the names of the tasks that other packages install."""
    return [name for name, point in plugins.installed("tasks").items() if not point.value.startswith("auditkit.")]


def _installed_task(name: str) -> str:
    if name not in TASKS and name not in tasks_of_others():
        raise ValueError(f"be one of {', '.join([*TASKS, *tasks_of_others()])}")
    return name


TaskName = Annotated[str, AfterValidator(_installed_task)]
Names = Annotated[tuple[str, ...], BeforeValidator(_several)]
Numbers = Annotated[tuple[float, ...], BeforeValidator(_several)]
Table = dict[str, Any]


class Section(BaseModel):
    """A group of options. `heading` stands above them in the help."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
        defer_build=True,  # what reads a section is made with the whole request's
    )

    heading: ClassVar[str] = "Options"


# Options that several requests have.
SchemaFile = Annotated[
    Path | None,
    Option(help="How columns become the input (.json).", metavar="FILE", default="the model's"),
    Field(alias="schema"),
]
Architecture = Annotated[
    str | None,
    Option(
        help="The network of a file of weights: one of auditkit's, or your own code.",
        metavar="NAME|MODULE:FACTORY",
        default="the model's",
    ),
]
ArchitectureArgs = Annotated[Table | None, Option(help="Its arguments, such as '{\"hidden\": 64}'.", metavar="JSON")]
TrustModel = Annotated[
    str | None,
    Option(help="Run the code of this torch.export or TorchScript file.", metavar="sha256:HASH", default="refuse it"),
]
TrustPickle = Annotated[
    str | None, Option(help="Run the code of this pickled module.", metavar="sha256:HASH", default="refuse it")
]
Output = Annotated[
    Literal["logits", "probabilities", "score"] | None,
    Option(help="What the model returns.", default="recognised"),
]
Threshold = Annotated[
    float | None,
    Option(
        help="From which probability, or score, on a row is positive.",
        metavar="NUMBER",
        default="the model's, or 0.5",
    ),
]
Classes = Annotated[
    Names | None,
    Option(
        help="The classes in the order of the outputs, positive last.",
        metavar="A,B,C",
        default="sorted",
        commas=True,
    ),
]
Dataset = Annotated[
    Path | None,
    Option(help="The rows: CSV, JSONL, Parquet, Arrow, npz, image folder or pattern.", metavar="FILE"),
]
Target = Annotated[
    Names | None,
    Option(help="The label's column, or several labels", metavar="COLUMN", default="the model's"),
]
Bins = Annotated[
    dict[str, str] | None,
    Option(help="Cut a continuous sensitive column: age=25,45,65 or age=quantiles:4", metavar="COLUMN=EDGES"),
]
Compared = Annotated[Names, Option(help="A column whose groups audits compare", metavar="COLUMN")]
Drop = Annotated[Names, Option(help="Not a feature: an id, a weight", metavar="COLUMN")]
Immutable = Annotated[
    Names, Option(help="A feature that nobody can change, as sensitive ones are taken to be", metavar="COLUMN")
]
Encoding = Annotated[str, Option(help="Encoding of text files.", metavar="NAME")]
Device = Annotated[Literal["auto", "cpu", "cuda"], Option(help="Where the model runs.")]
Seed = Annotated[int, Option(help="Seeds every random choice.", metavar="N"), Ge(0), Le(2**32 - 1)]
AllowLarge = Annotated[bool, Option(help="Raise the limits on what files may describe (rows, classes, ...).")]
Quiet = Annotated[bool, Option(help="Print nothing but errors.")]
Policy = Annotated[
    str | None,
    Option(
        help="Limits to judge by: a file (see 'auditkit init') or a profile's name.",
        metavar="FILE|PROFILE",
        default="auditkit's own",
    ),
]
Baseline = Annotated[
    Path | None,
    Option(help="A results.json, or its folder, that regressions are judged against.", metavar="PATH"),
]
Waivers = Annotated[Path | None, Option(help="Findings that may pass for a time, and who says so.", metavar="FILE")]
Lang = Annotated[Literal["en", "zh"], Option(help="zh: write the page in Simplified Chinese too, as NAME.zh.html.")]
Strict = Annotated[bool, Option(help="Exit 3 where the verdict is inconclusive.")]
OtherBaseline = Annotated[bool, Option(help="Under --strict: accept a baseline of another model or data set.")]
