"""Options and arguments that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Device(StrEnum):
    """Where the model runs."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


def results_of(path: Path | None) -> Path | None:
    """Return the results.json of a run's folder, or the path as it is."""
    return path / "results.json" if path is not None and path.is_dir() else path


Results = Annotated[
    Path, typer.Argument(callback=results_of, help="A results.json, or the folder of its run.", show_default=False)
]
ModelOrNone = Annotated[
    Path | None,
    typer.Argument(help="A model file; without one, --prediction names what it decided.", show_default=False),
]
Prediction = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Without a model: the decisions (classes, yes/no, probabilities).", show_default=False
    ),
]
Score = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Without a model: the scores behind the decisions.", show_default=False),
]
BinsOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=EDGES",
        help="Cut a continuous sensitive column: age=25,45,65 or age=quantiles:4; repeatable.",
        show_default=False,
    ),
]
Where = Annotated[
    str | None, typer.Option(metavar="EXPRESSION", help='Audit a part: "age >= 18".', show_default="all rows")
]
Population = Annotated[
    Path | None,
    typer.Option(help="Shares of the groups that the data should resemble (.toml).", show_default=False),
]
IdentityTermsOption = Annotated[
    Path | None,
    typer.Option(
        "--identity-terms",
        help="More words that name groups of people, to swap in texts (.toml).",
        show_default=False,
    ),
]
ModelFile = Annotated[Path, typer.Argument(help="A model file.", show_default=False)]
Architecture = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|MODULE:FACTORY",
        help="The network of a file of weights: one of auditkit's, or your own code.",
        show_default="the model's",
    ),
]
ArchitectureArgs = Annotated[
    str | None, typer.Option(metavar="JSON", help="Its arguments, such as '{\"hidden\": 64}'.", show_default=False)
]
SchemaFile = Annotated[
    Path | None, typer.Option("--schema", help="How columns become the input (.json).", show_default="the model's")
]
TrustModel = Annotated[
    str | None,
    typer.Option(
        metavar="sha256:HASH", help="Run the code of this torch.export or TorchScript file.", show_default="refuse it"
    ),
]
TrustPickle = Annotated[
    str | None,
    typer.Option(metavar="sha256:HASH", help="Run the code of this pickled module.", show_default="refuse it"),
]


class Output(StrEnum):
    """What a model returns."""

    logits = "logits"
    probabilities = "probabilities"
    score = "score"


class Task(StrEnum):
    """What a model predicts: one of two classes, one of several, several labels at once, or a number."""

    binary = "binary"
    multiclass = "multiclass"
    multilabel = "multilabel"
    regression = "regression"


class Clipping(StrEnum):
    """How a private training clips each row's gradient."""

    auto = "auto"
    opacus = "opacus"
    bookkeeping = "bookkeeping"
    chunked = "chunked"


ClippingOption = Annotated[
    Clipping, typer.Option(help="How each row's gradient is clipped; auto: the fastest way that is right.")
]
TuningRuns = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Earlier private runs on these rows that led to these settings."),
]
OutputOption = Annotated[Output | None, typer.Option(help="What the model returns.", show_default="recognised")]
TaskOption = Annotated[Task | None, typer.Option(help="What the model predicts.", show_default="by its schema")]
TrainedTask = Annotated[Task | None, typer.Option("--task", help="What is predicted.", show_default="by the target")]
Classes = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C", help="The classes in the order of the outputs, positive last.", show_default="sorted"
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="From which probability, or score, on a row is positive.",
        show_default="the model's, or 0.5",
    ),
]
Dataset = Annotated[
    Path,
    typer.Option(
        "--dataset", help="The rows: CSV, JSONL, Parquet, Arrow, npz, image folder or pattern.", show_default=False
    ),
]
Target = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The label's column; several labels: a,b,c.", show_default="the model's"),
]
Sensitive = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Compare the groups of this column; repeatable.", show_default="the model's"),
]
Compared = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="A column whose groups audits compare; repeatable.", show_default=False),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Not a feature: an id, a weight; repeatable.", show_default=False),
]
Immutable = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="A feature that nobody can change, as sensitive ones are taken to be; repeatable.",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Where the reports go.", show_default="reports/MODEL-RUN/")
]
PolicyFile = Annotated[
    str | None,
    typer.Option(
        "--policy",
        metavar="FILE|PROFILE",
        help="Limits to judge by: a file (see 'auditkit init') or a profile's name.",
        show_default="auditkit's own",
    ),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option(
        "--baseline",
        callback=results_of,
        help="A results.json, or its folder, that regressions are judged against.",
        show_default=False,
    ),
]
WaiversFile = Annotated[
    Path | None,
    typer.Option("--waivers", help="Findings that may pass for a time, and who says so.", show_default=False),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 where the verdict is inconclusive.")]
DeviceOption = Annotated[Device, typer.Option(help="Where the model runs.")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="Seeds every random choice.")]
Encoding = Annotated[str, typer.Option(metavar="NAME", help="Encoding of text files.")]


class Language(StrEnum):
    """The languages of pages; auditkit/render/i18n has a catalogue for each but English."""

    en = "en"
    zh = "zh"


Lang = Annotated[Language, typer.Option("--lang", help="zh: write the page in Simplified Chinese, as NAME.zh.html.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print results.json to standard output.")]
