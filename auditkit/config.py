"""AuditConfig: the one description of a request for an audit.

An option of `auditkit run` and `auditkit inspect`, a keyword of `auditkit.audit`, a key of `auditkit.toml`, an
`AUDITKIT_` variable and an entry of `config` in results.json are one field here. To add an option, add one field to
the section that it belongs to:

    min_group: Annotated[int, Option("Fewest rows of a group that is compared.", metavar="N"), Ge(1)] = 10

Then read `config.groups.min_group` where it is needed. Nothing else changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge
from pydantic import Field

from auditkit.config_options import (
    TASKS,
    AllowLarge,
    Architecture,
    ArchitectureArgs,
    Baseline,
    Bins,
    Classes,
    Device,
    Encoding,
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
    Table,
    Target,
    TaskName,
    Threshold,
    TrustModel,
    TrustPickle,
    Waivers,
)
from auditkit.config_settings import Place, put, read_request, updated


class ModelConfig(Section):
    """The model, and what its file does not say."""

    heading: ClassVar[str] = "Model"

    model: Annotated[
        Path | None,
        Option(help="A model file; without one, --prediction names what it decided.", metavar="MODEL", argument=True),
    ] = None
    prediction: Annotated[
        Names | None,
        Option(help="Without a model: the decisions (classes, yes/no, probabilities)", metavar="COLUMN"),
    ] = None
    score: Annotated[
        Names | None, Option(help="Without a model: the scores behind the decisions", metavar="COLUMN")
    ] = None
    outcome: Annotated[
        str | None,
        Option(help="Without a model or label: numbers that happened (scores, waiting times).", metavar="COLUMN"),
    ] = None
    samples: Annotated[
        Path | None,
        Option(help="Rows drawn from a generator; with its training rows, searched for copies.", metavar="FILE"),
    ] = None
    schema_file: SchemaFile = None
    architecture: Architecture = None
    architecture_args: ArchitectureArgs = None
    preprocess: Annotated[
        str | None,
        Option(help="Your own code that makes the model's input of a data frame.", metavar="MODULE:FUNCTION"),
    ] = None
    predictor: Annotated[
        str | None,
        Option(
            help="Your own code in the place of MODEL: a function of a data frame, or an estimator.",
            metavar="MODULE:OBJECT",
        ),
    ] = None
    missing_as: Annotated[
        str | None,
        Option(
            help="What a model of columns was trained to read where a category is missing, such as '?'.",
            metavar="TEXT",
            default="NaN",
        ),
    ] = None
    text: Annotated[
        str | None,
        Option(help="The column of free text that a model reads.", metavar="COLUMN"),
    ] = None
    expect: Annotated[
        str | None,
        Option(
            help="The column of the scores that the model is known to give: refuse one that gives others.",
            metavar="COLUMN",
        ),
    ] = None
    trust_model: TrustModel = None
    trust_pickle: TrustPickle = None
    output: Output = None
    output_index: Annotated[
        int | None,
        Option(help="Which of several outputs is meant, from 0.", metavar="N", default="the first"),
        Ge(0),
    ] = None
    threshold: Threshold = None
    top_k: Annotated[
        int | None, Option(help="Select the K rows of the highest scores.", metavar="K", default="a threshold"), Ge(1)
    ] = None
    task: Annotated[
        TaskName | None,
        Option(
            help="What the model predicts; NAME: the task of another package.",
            metavar=f"{'|'.join(TASKS)}|NAME",
            default="by its schema",
        ),
    ] = None
    positive: Annotated[
        str | None,
        Option(
            help="The class that a decision of 1 or yes, or a high score, stands for.",
            metavar="CLASS",
            default="by the words, or the last",
        ),
    ] = None
    classes: Classes = None


class DataConfig(Section):
    """The rows that are audited, and those that the model was trained on."""

    heading: ClassVar[str] = "Data"

    dataset: Annotated[
        Path | None,
        Option(
            help="The rows: CSV, JSONL, Parquet, Arrow, npz, image folder or pattern; or an evaluation's log.",
            metavar="FILE",
            also="results",
        ),
    ] = None
    target: Target = None
    where: Annotated[
        str | None, Option(help='Audit a part: "age >= 18".', metavar="EXPRESSION", default="all rows")
    ] = None
    limit: Annotated[
        int | None, Option(help="Audit a seeded sample of N rows.", metavar="N", default="all rows"), Ge(1)
    ] = None
    weight: Annotated[
        str | None,
        Option(help="Survey or sample weights: each row counts by its value here.", metavar="COLUMN"),
    ] = None
    cluster: Annotated[
        str | None,
        Option(
            help="Rows with the same value here (a person, an image, an author) are not independent.", metavar="COLUMN"
        ),
    ] = None
    train_dataset: Annotated[
        Path | None,
        Option(
            help="The training rows: also attack the model, and retrain it with differential privacy (minutes).",
            metavar="FILE",
        ),
    ] = None
    member: Annotated[
        str | None,
        Option(
            help="Rows with 1 here are the training rows, those with 0 are audited: instead of --train-dataset.",
            metavar="COLUMN",
        ),
    ] = None
    encoding: Encoding = "utf-8"

    @property
    def has_training_rows(self) -> bool:
        """Whether the request names the rows that the model was trained on."""
        return self.train_dataset is not None or self.member is not None


class GroupsConfig(Section):
    """Which groups are compared."""

    heading: ClassVar[str] = "Groups"

    sensitive: Annotated[
        Names | None, Option(help="Compare the groups of this column", metavar="COLUMN", default="the model's")
    ] = None
    bins: Bins = None
    intersections: Annotated[int, Option(help="Cross up to this many sensitive columns.", metavar="DEPTH")] = 2
    min_group: Annotated[
        int, Option(help="Groups of fewer rows are counted, and too few to judge.", metavar="N"), Ge(1)
    ] = 10
    merge: Annotated[
        Names,
        Option(help="Count a name of a group as another: sex:female=Female", metavar="COLUMN:NAME=GROUP"),
    ] = ()
    shift: Annotated[
        Names,
        Option(help="Judge once more with another share of a group: sex=Female:+0.10", metavar="COLUMN=GROUP:CHANGE"),
    ] = ()
    compare_missing: Annotated[
        bool, Option(help="Compare the rows without a value in a sensitive column as a group.")
    ] = False


class PolicyConfig(Section):
    """What the audit is judged by."""

    heading: ClassVar[str] = "Verdict"

    policy: Policy = None
    baseline: Baseline = None
    waivers: Waivers = None
    conf_level: Annotated[float, Option(help="The level of every interval.", metavar="LEVEL")] = 0.95
    strict: Strict = False
    other_baseline: OtherBaseline = False


class RunConfig(Section):
    """What is examined, and on which machine."""

    heading: ClassVar[str] = "Run"

    only: Annotated[Names, Option(help="Run this auditor alone", metavar="AUDITOR")] = ()
    skip: Annotated[Names, Option(help="Leave this auditor out", metavar="AUDITOR")] = ()
    effort: Annotated[
        Literal["quick", "standard", "thorough"],
        Option(help="How much to compute: standard samples rows of large models; thorough takes every row."),
    ] = "standard"
    operations_per_row: Annotated[
        int | None,
        Option(
            help="What a row costs the model, for --effort; counted, or measured where torch does not compute it.",
            metavar="N",
        ),
        Ge(1),
    ] = None
    device: Device = "auto"
    executor: Annotated[
        str,
        Option(
            help="What runs predictions, retrainings and shadow models: in_process, local_gpus, ray, or a package's.",
            metavar="NAME",
        ),
    ] = "in_process"
    allow_large: AllowLarge = False
    in_process_plugins: Annotated[
        bool, Option(help="For debugging: run auditors of other packages in this process.")
    ] = False
    plugin_seconds: Annotated[
        int, Option(help="How long an auditor of another package may take.", metavar="SECONDS"), Ge(1)
    ] = 1800
    plugin_gigabytes: Annotated[
        int, Option(help="How much memory an auditor of another package may take.", metavar="GB"), Ge(1)
    ] = 16
    seed: Seed = 0


class ReportConfig(Section):
    """What is written and printed."""

    heading: ClassVar[str] = "Report"

    out: Annotated[Path | None, Option(help="Where the reports go.", metavar="DIR", default="reports/MODEL-RUN/")] = (
        None
    )
    to: Annotated[
        Names,
        Option(
            help="What is written besides results.json; 'auditkit render --help' lists the formats.",
            metavar="FORMATS",
            commas=True,
        ),
    ] = ("html", "junit", "markdown")
    pdf: Annotated[bool, Option(help="Write report.pdf too; needs the extra pdf.")] = False
    lang: Lang = "en"
    facts: Annotated[
        Path | None,
        Option(help="What only people can state (facts.toml): purpose and owner on the page.", metavar="FILE"),
    ] = None
    sign: Annotated[
        Path | None, Option(help="Sign the manifest with this ed25519 private key (PEM).", metavar="KEY")
    ] = None
    print_json: Annotated[bool, Option(help="Print results.json to standard output."), Field(alias="json")] = False
    quiet: Quiet = False


class AuditorSection(Section):
    """Settings of one auditor: those with an option of their own, and any other that it has."""

    model_config = Section.model_config | {"extra": "allow"}

    heading: ClassVar[str] = "Auditors"


class DataAuditorConfig(AuditorSection):
    """Settings of the auditor `data`."""

    population: Annotated[
        Path | Table | None,
        Option(help="Shares of the groups that the data should resemble (.toml).", metavar="FILE"),
    ] = None


class FairnessConfig(AuditorSection):
    """Settings of the auditor `fairness`."""

    reference_group: Annotated[
        Names, Option(help="Measure each group's difference from this one", metavar="COLUMN=GROUP")
    ] = ()
    legitimate: Annotated[
        Names, Option(help="Compare groups within the values of this column too", metavar="COLUMN")
    ] = ()
    cross_check: Annotated[bool, Option(help="Compute the rates and gaps of recorded decisions by Fairlearn too.")] = (
        False
    )


class ExplainabilityConfig(AuditorSection):
    """Settings of the auditor `explainability`."""

    method: Annotated[
        str | None,
        Option(
            name="explain",
            help="How the model is explained: shapley, deep_lift, occlusion, ...",
            metavar="METHOD",
            default="by kind of model",
        ),
    ] = None
    immutable: Annotated[
        Names,
        Option(help="A feature that nobody can change, as sensitive ones are taken to be", metavar="COLUMN"),
    ] = ()
    show_rows: Annotated[bool, Option(help="Show single rows, texts or images of the data in the report.")] = False


class IdentityTermsConfig(AuditorSection):
    """Settings of the auditor `identity_terms`."""

    terms: Annotated[
        Path | Table | None,
        Option(
            name="identity_terms",
            help="More words that name groups of people, to swap in texts (.toml).",
            metavar="FILE",
        ),
    ] = None


class LeakageConfig(AuditorSection):
    """Settings of the auditor `leakage`."""

    shadows: Annotated[int, Option(help="Shadow models to attack the model with; 0 for none.", metavar="N")] = 8


class MemorisationConfig(AuditorSection):
    """Settings of the auditor `memorisation`."""

    reference: Annotated[
        Path | None,
        Option(help="Of a language model: the model that it was trained from.", metavar="MODEL"),
    ] = None
    canaries: Annotated[
        Path | None,
        Option(
            name="canary_record",
            help="Of a language model: what 'auditkit canaries' wrote into its training texts (.json).",
            metavar="FILE",
        ),
    ] = None


class PrivacyConfig(AuditorSection):
    """Settings of the auditor `privacy`."""

    epsilon: Annotated[Numbers, Option(help="Privacy budget of a retraining", metavar="EPSILON")] = (3.0,)
    seeds: Annotated[int, Option(help="Repeat each private retraining; 3 show its luck.", metavar="N")] = 1
    canaries: Annotated[int, Option(help="Test the claim of each retraining by so many canaries.", metavar="N")] = 0
    clipping: Annotated[
        Literal["auto", "opacus", "bookkeeping", "chunked"],
        Option(help="How each row's gradient is clipped; auto: the fastest way that is right."),
    ] = "auto"
    tuning_runs: Annotated[
        int,
        Option(help="Earlier private runs on these rows that led to these settings.", metavar="N"),
        Ge(0),
    ] = 0


class AuditorsConfig(Section):
    """The settings of every auditor by its name; of one without a section here, such as a plug-in's, any settings."""

    model_config = Section.model_config | {"extra": "allow"}
    __pydantic_extra__: dict[str, Table]

    data: DataAuditorConfig = DataAuditorConfig()
    fairness: FairnessConfig = FairnessConfig()
    explainability: ExplainabilityConfig = ExplainabilityConfig()
    identity_terms: IdentityTermsConfig = IdentityTermsConfig()
    leakage: LeakageConfig = LeakageConfig()
    memorisation: MemorisationConfig = MemorisationConfig()
    privacy: PrivacyConfig = PrivacyConfig()

    @property
    def names(self) -> list[str]:
        """The auditors that a setting was given for."""
        return [name for name in (*type(self).model_fields, *self.__pydantic_extra__) if self.given(name)]

    def given(self, auditor: str) -> dict[str, Any]:
        """Return the settings of an auditor that were stated; the others are the auditor's own defaults."""
        if auditor not in type(self).model_fields:
            return dict(self.__pydantic_extra__.get(auditor, {}))
        section = getattr(self, auditor)
        return {name: getattr(section, name) for name in sorted(section.model_fields_set)}


class AuditConfig(Section):
    """The request for one audit: what is audited, what it is judged by, what is examined, what is written."""

    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    groups: GroupsConfig = GroupsConfig()
    policy: PolicyConfig = PolicyConfig()
    run: RunConfig = RunConfig()
    report: ReportConfig = ReportConfig()
    auditors: AuditorsConfig = AuditorsConfig()


def configured(config: AuditConfig | None = None, options: Mapping[str, Any] | None = None) -> AuditConfig:
    """Return a request in which these options, by name, replace those of `config`. None leaves an option as it is.

    >>> configured(options={"limit": 500}).data.limit
    500

    Raises:
        InputError: there is no such option, or it cannot have this value.
    """
    return updated(config or AuditConfig(), options or {})


def with_settings(config: AuditConfig, settings: Mapping[str, Mapping[str, Any]]) -> AuditConfig:
    """Return a request with these settings of auditors, by the auditor's name."""
    document = config.model_dump(by_alias=True, exclude_unset=True)
    for auditor, values in settings.items():
        for name, value in values.items():
            put(document, ("auditors", auditor, name), value)
    return read_config(document)


def read_config(document: Mapping[str, Any], origins: Mapping[Place, str] | None = None) -> AuditConfig:
    """Return the request that nested tables state. `origins` says where each value comes from, for messages.

    Raises:
        InputError: a key is unknown, or its value is of another type or out of bounds.
    """
    return read_request(AuditConfig, document, origins)
