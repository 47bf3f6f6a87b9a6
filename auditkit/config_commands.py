"""The requests of the commands besides audits: train, schema infer, retrain, mitigate, pack, replay and gate.

As in `config.py`, one field is an option of the command, a keyword in Python, and its documentation. These requests
come from the command line or from Python alone; auditkit.toml and `AUDITKIT_` variables are read for audits only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge

from auditkit.config_options import (
    AllowLarge,
    Architecture,
    ArchitectureArgs,
    Baseline,
    Bins,
    Classes,
    Compared,
    Dataset,
    Device,
    Drop,
    Encoding,
    Immutable,
    Lang,
    Names,
    Numbers,
    Option,
    OtherBaseline,
    Output,
    Policy,
    Quiet,
    SchemaFile,
    Section,
    Seed,
    Strict,
    Target,
    Threshold,
    TrustModel,
    TrustPickle,
    Waivers,
)

ModelFile = Annotated[Path | None, Option(help="A model file.", metavar="MODEL", argument=True)]
Results = Annotated[
    Path | None, Option(help="A results.json, or the folder of its run.", metavar="RESULTS", argument=True)
]
NewModel = Annotated[Path | None, Option(help="The model file to write (.pt).", metavar="FILE")]


class TrainDataConfig(Section):
    """The rows to learn from, and what their columns are."""

    heading: ClassVar[str] = "Data"

    dataset: Annotated[
        Path | None,
        Option(help="The training rows: a file, or a folder of images.", metavar="FILE", also="images"),
    ] = None
    target: Annotated[
        Names | None,
        Option(help="The label's column, or several labels", metavar="COLUMN", default="none: a generator"),
    ] = None
    sensitive: Compared = ()
    drop: Drop = ()
    immutable: Immutable = ()
    text: Annotated[str | None, Option(help="The texts that are the only feature.", metavar="COLUMN")] = None
    image: Annotated[
        str | tuple[int, int, int] | None,
        Option(help="The other columns are the pixels of an image, row by row; HxWx3 in colour.", metavar="HxW"),
    ] = None
    encoding: Encoding = "utf-8"


class SchemaInferConfig(Section):
    """The request for the schema of a data set."""

    dataset: Annotated[Path | None, Option(help="The rows a model is trained on.", argument=True)] = None
    target: Annotated[
        Names | None,
        Option(help="The label's column, or several labels", metavar="COLUMN", default="the last column"),
    ] = None
    sensitive: Compared = ()
    drop: Drop = ()
    immutable: Immutable = ()
    bins: Bins = None
    task: Annotated[
        Literal["binary", "multiclass", "multilabel", "regression"] | None,
        Option(help="What is predicted.", default="by the target"),
    ] = None
    encoding: Encoding = "utf-8"
    like: Annotated[
        str | None,
        Option(
            help="Encode as this fitted scikit-learn ColumnTransformer does.",
            metavar="FILE.skops|MODULE:OBJECT",
            default="as 'auditkit train' does",
        ),
    ] = None
    allow_large: AllowLarge = False


class NetworkConfig(Section):
    """The network, and how it is trained."""

    heading: ClassVar[str] = "Training"

    architecture: Annotated[
        str | None,
        Option(
            help="mlp, cnn, lstm, gru, transformer; generators vae, dcgan, ddpm, tvae, ctgan-like; language model gpt.",
            metavar="NAME",
            default="mlp, for images cnn, for texts transformer",
        ),
    ] = None
    architecture_args: ArchitectureArgs = None
    task: Annotated[
        Literal["binary", "multiclass", "multilabel", "regression", "language"] | None,
        Option(help="What is predicted; language: tokens of a text.", default="by the target"),
    ] = None
    epsilon: Annotated[
        float | None,
        Option(help="Train with differential privacy at this budget.", metavar="EPSILON", default="without"),
    ] = None
    epochs: Annotated[
        int | None, Option(help="Passes over the rows at most.", metavar="N", default="the trainer's"), Ge(1)
    ] = None
    device: Device = "auto"
    seed: Seed = 0


class TrainOutputConfig(Section):
    """Where the model goes."""

    heading: ClassVar[str] = "Output"

    out: NewModel = None
    allow_large: AllowLarge = False
    quiet: Quiet = False


class TrainConfig(Section):
    """The request for one training: rows, network, file."""

    data: TrainDataConfig = TrainDataConfig()
    network: NetworkConfig = NetworkConfig()
    output: TrainOutputConfig = TrainOutputConfig()


class RetrainModelConfig(Section):
    """The model whose architecture is trained again, and where its weights begin."""

    heading: ClassVar[str] = "Model"

    model: ModelFile = None
    public_init: Annotated[
        Path | None,
        Option(help="Start from this model, whose weights saw public data only.", metavar="MODEL", default="fresh"),
    ] = None
    trainable: Annotated[
        Names,
        Option(help="With --public-init, train these parameters alone ('output.*')", metavar="PATTERN", default="all"),
    ] = ()
    lora_rank: Annotated[
        int | None,
        Option(
            help="Train adapters of this rank in place of the weights of Linear layers: of --public-init, or of a "
            "language model's own weights, which must be public then.",
            metavar="RANK",
            default="none",
        ),
        Ge(1),
    ] = None
    architecture: Architecture = None
    architecture_args: ArchitectureArgs = None
    schema_file: SchemaFile = None
    trust_model: Annotated[
        Names,
        Option(
            help="Run the code of this torch.export file, the model's or that of --public-init",
            metavar="sha256:HASH",
            default="refuse it",
        ),
    ] = ()


class RetrainDataConfig(Section):
    """The rows to learn from."""

    heading: ClassVar[str] = "Data"

    train_dataset: Annotated[Path | None, Option(help="The training rows.", metavar="FILE")] = None
    dataset: Annotated[
        Path | None,
        Option(
            help="Held-out rows of a language model or Hugging Face folder: measure what each budget costs, by group.",
            metavar="FILE",
            default="not measured",
        ),
    ] = None
    target: Target = None
    text: Annotated[
        str | None, Option(help="The column that a language model reads.", metavar="COLUMN", default="text")
    ] = None
    unit: Annotated[
        str,
        Option(help="What the budget protects: a record, or all texts of one value of a column.", metavar="UNIT"),
    ] = "record"
    sensitive: Annotated[
        Names, Option(help="Compare the groups of this column", metavar="COLUMN", default="the model's")
    ] = ()
    encoding: Encoding = "utf-8"


class PrivateTrainingConfig(Section):
    """The privacy budgets, and how each is spent."""

    heading: ClassVar[str] = "Privacy"

    epsilon: Annotated[Numbers, Option(help="Privacy budget, one model each", metavar="EPSILON")] = ()
    delta: Annotated[
        Literal["auto"] | float,
        Option(help="auto: the smaller of 1e-5 and 1/(10 n).", metavar="NUMBER|auto"),
    ] = "auto"
    tuning_runs: Annotated[
        int, Option(help="Earlier private runs on these rows that led to these settings.", metavar="N"), Ge(0)
    ] = 0
    max_grad_norm: Annotated[
        float | None,
        Option(
            help="The norm that each row's gradient is clipped to.", metavar="NORM", default="10; language models 1"
        ),
    ] = None
    epochs: Annotated[int, Option(help="How often each row is drawn, in expectation.", metavar="N"), Ge(1)] = 20
    batch_size: Annotated[
        int | None, Option(help="Expected rows of a batch.", metavar="N", default="1024, at most n/4"), Ge(1)
    ] = None
    physical_batch_size: Annotated[
        int | None,
        Option(help="Rows that go through the network at once.", metavar="N", default="all; of texts by size"),
        Ge(1),
    ] = None
    clipping: Annotated[
        Literal["auto", "opacus", "bookkeeping", "chunked"],
        Option(help="How each row's gradient is clipped; auto: the fastest way that is right."),
    ] = "auto"
    device: Device = "auto"


class RetrainOutputConfig(Section):
    """Where the models go."""

    heading: ClassVar[str] = "Output"

    out: Annotated[Path | None, Option(help="Where the models go.", metavar="DIR", default="beside the model")] = None
    allow_large: AllowLarge = False
    quiet: Quiet = False


class RetrainConfig(Section):
    """The request for private models of one architecture: model, rows, budgets, folder."""

    model: RetrainModelConfig = RetrainModelConfig()
    data: RetrainDataConfig = RetrainDataConfig()
    privacy: PrivateTrainingConfig = PrivateTrainingConfig()
    output: RetrainOutputConfig = RetrainOutputConfig()


class MitigationDataConfig(Section):
    """The model with the gap, the rows to learn from, and those to audit."""

    heading: ClassVar[str] = "Data"

    model: ModelFile = None
    train_dataset: Annotated[Path | None, Option(help="The rows to learn from.", metavar="FILE")] = None
    dataset: Annotated[Path | None, Option(help="The rows to audit both models on.", metavar="FILE")] = None
    encoding: Encoding = "utf-8"


class MitigationConfig(Section):
    """Whose gap is made smaller, and how."""

    heading: ClassVar[str] = "Mitigation"

    sensitive: Annotated[str | None, Option(help="Whose groups to treat alike.", metavar="COLUMN")] = None
    method: Annotated[
        Literal["exponentiated_gradient", "adversarial", "threshold"],
        Option(help="Train again on reweighted rows or against an adversary, or move each group's threshold."),
    ] = "exponentiated_gradient"
    constraint: Annotated[
        Literal["demographic_parity", "equal_opportunity"],
        Option(help="Equal selection rates, or equal true positive rates."),
    ] = "demographic_parity"
    device: Device = "auto"
    seed: Seed = 0


class MitigationOutputConfig(Section):
    """Where the model and the two reports go."""

    heading: ClassVar[str] = "Output"

    out: NewModel = None
    reports: Annotated[Path | None, Option(help="Where the two reports go.", metavar="DIR", default="reports/OUT/")] = (
        None
    )
    allow_large: AllowLarge = False
    quiet: Quiet = False


class MitigateConfig(Section):
    """The request for a model with a smaller gap: model and rows, method, file."""

    data: MitigationDataConfig = MitigationDataConfig()
    mitigation: MitigationConfig = MitigationConfig()
    output: MitigationOutputConfig = MitigationOutputConfig()


class PackConfig(Section):
    """The request for one file of weights, architecture and schema."""

    model: ModelFile = None
    out: Annotated[Path | None, Option(help="The model file to write (.pt or .safetensors).", metavar="FILE")] = None
    architecture: Architecture = None
    architecture_args: ArchitectureArgs = None
    schema_file: SchemaFile = None
    output: Output = None
    threshold: Threshold = None
    classes: Classes = None
    trust_pickle: TrustPickle = None
    allow_large: AllowLarge = False
    quiet: Quiet = False


class ReplayConfig(Section):
    """The request to make a recorded audit again."""

    results: Results = None
    dataset: Dataset = None
    model: Annotated[Path | None, Option(help="The model that was audited.", metavar="MODEL")] = None
    train_dataset: Annotated[Path | None, Option(help="The training rows, if the run had them.", metavar="FILE")] = None
    tolerance: Annotated[
        float,
        Option(help="Numbers agree within this, times the larger of 1 and their size.", metavar="NUMBER"),
    ] = 1e-6
    architecture: Annotated[
        str | None,
        Option(help="Your own code that the record names: no file may name it alone.", metavar="MODULE:NAME"),
    ] = None
    trust_model: TrustModel = None
    trust_pickle: TrustPickle = None
    device: Device = "auto"
    allow_large: AllowLarge = False
    quiet: Quiet = False


class GateConfig(Section):
    """The request to judge a finished report anew."""

    results: Results = None
    policy: Policy = None
    baseline: Baseline = None
    waivers: Waivers = None
    out: Annotated[
        Path | None, Option(help="Write the judged reports there.", metavar="DIR", default="nothing is written")
    ] = None
    to: Annotated[
        Names,
        Option(
            help="What --out gets besides results.json; 'auditkit render --help' lists.", metavar="FORMATS", commas=True
        ),
    ] = ("html", "junit", "markdown")
    lang: Lang = "en"
    format: Annotated[
        Literal["text", "github", "json"],
        Option(help="Print sentences, GitHub annotations (and the step summary), or results.json."),
    ] = "text"
    strict: Strict = False
    other_baseline: OtherBaseline = False
    quiet: Quiet = False
