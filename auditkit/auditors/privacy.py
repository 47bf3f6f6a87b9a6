"""What a differentially private model would cost, and whom: retraining under DP-SGD, judged beside the original."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from auditkit.errors import InputError, NotRun
from auditkit.evidence.counts import tally
from auditkit.evidence.measurement import (
    Column,
    Curve,
    Evidence,
    Exhibit,
    Facts,
    Line,
    Measurement,
    Slice,
    SliceChart,
    Table,
)
from auditkit.metrics.disparity import gap_measurements
from auditkit.metrics.privacy_audit import OneRun, one_run_lower_bound
from auditkit.metrics.quality import quality_measurement
from auditkit.metrics.rates import rate_measurement
from auditkit.metrics.repetitions import slice_of_runs
from auditkit.metrics.scores import paired_difference_interval
from auditkit.subject.predict import Predictions, predict
from auditkit.subject.subject import Subject
from auditkit.training.accounting import Ledger, composed_epsilon
from auditkit.training.fit import Output
from auditkit.training.private import fit_private

Runs = dict[str, list[Predictions]]
"""What each model says of the audited rows: the original once, each epsilon once a seed."""

ORIGINAL = "original"
GAPS = ("demographic_parity_difference", "equalized_odds_difference")
NIST = "NIST SP 800-226"
AUDITED, EXCESS = "privacy.audited_epsilon", "privacy.audited_epsilon_excess"


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """Retrain the same architecture from fresh weights with DP-SGD at each `epsilon`, and compare.

    `delta` of None takes the one that the ledger states; it must lie below 1 / training rows. With `seeds` of three
    or more each retraining is repeated, and the intervals cover the luck of training too. To test the claim, each
    retraining is made once more with that many `canaries` in it; 0 leaves the claim untested.
    """

    epsilon: tuple[float, ...] = (3.0,)
    delta: float | None = None
    seeds: int = 1
    canaries: int = 0

    requires: ClassVar = ("model", "training", "labels", "scores")
    measures: ClassVar = (
        "privacy.epsilon",
        "privacy.epsilon_of_all_runs",
        "privacy.accuracy",
        "privacy.accuracy_loss",
        "privacy.calibration_error",
        AUDITED,
        EXCESS,
        *(f"privacy.{gap}" for gap in GAPS),
    )

    def __post_init__(self) -> None:
        """Refuse an epsilon that no mechanism can have, and the same one twice."""
        if not self.epsilon:
            raise InputError("epsilon must name at least one value; pass --epsilon 3.")
        for value in self.epsilon:
            if not 0 < value < float("inf"):
                raise InputError(f"epsilon must be above 0 and finite, got {value}; pass --epsilon 3.")
        for smaller, larger in itertools.pairwise(sorted(self.epsilon)):
            if smaller == larger:
                raise InputError(f"epsilon {smaller} is given twice; name each value once.")
        if self.seeds not in range(1, 101):
            raise InputError(f"seeds must be from 1 to 100, got {self.seeds}; pass --seeds 3.")
        if self.canaries and self.canaries not in range(10, 10_001):
            raise InputError(f"canaries must be 0 or from 10 to 10,000, got {self.canaries}; pass --canaries 1000.")

    def audit(self, subject: Subject) -> Evidence:
        """Retrain at each epsilon, predict the audited rows, and set the results side by side."""
        inputs, labels = subject.training_inputs, subject.training_labels
        if inputs is None or labels is None:
            raise NotRun("no training data; pass --train-dataset FILE")
        output = subject.schema.output
        if output not in ("logits", "probabilities"):
            raise NotRun("the model gives scores that are no probabilities: there is no loss to train it by")
        ledgers: dict[str, list[Ledger]] = {}
        runs: Runs = {ORIGINAL: [subject.predictions]}
        for index, (epsilon, seed) in enumerate(itertools.product(self.epsilon, range(self.seeds))):
            name = f"epsilon {epsilon:g}"
            module = subject.model.fresh(subject.seed + seed)

            def progress(fraction: float, what: str, index: int = index, name: str = name) -> None:
                share = self.seeds / (self.seeds + bool(self.canaries))
                subject.progress(share * (index + fraction) / (len(self.epsilon) * self.seeds), f"{name}: {what}")

            ledger = fit_private(
                module,
                inputs,
                labels,
                epsilon=epsilon,
                delta=self.delta,
                seed=subject.seed + seed,
                device=subject.device,
                output=output,
                initial_weights="fresh, drawn by seed; never those that saw the data without privacy",
                progress=progress,
            )
            ledgers.setdefault(name, []).append(ledger)
            predictions = predict(module, subject.inputs, subject.schema, device=subject.device)
            runs.setdefault(name, []).append(predictions)
        measurements = _measurements(subject, runs, ledgers)
        exhibits = _exhibits(subject, runs, ledgers, measurements)
        if self.canaries:
            tested = {
                name: self._test_claim(subject, inputs, labels, output, index, parts[0])
                for index, (name, parts) in enumerate(ledgers.items())
            }
            measurements += _audited(tested, ledgers)
            exhibits.append(_claims(tested, ledgers, subject.conf_level))
        return Evidence(
            measurements=measurements,
            exhibits=exhibits,
            notes=_notes(subject, len(labels), self.seeds, bool(self.canaries)),
        )

    def _test_claim(
        self,
        subject: Subject,
        inputs: NDArray[Any],
        labels: NDArray[np.int64],
        output: Output,
        index: int,
        claimed: Ledger,
    ) -> OneRun:
        """Retrain once more, with canaries, and return what their scores show."""
        found: list[OneRun] = []
        share = 1 / (self.seeds + 1)

        def judge(scores: NDArray[np.float64], included: NDArray[np.bool_]) -> None:
            found.append(one_run_lower_bound(scores, included, delta=claimed.delta, level=subject.conf_level))

        fit_private(
            subject.model.fresh(subject.seed),
            inputs,
            labels,
            epsilon=claimed.target_epsilon,
            delta=claimed.delta,
            seed=subject.seed,
            device=subject.device,
            output=output,
            canaries=self.canaries,
            on_canaries=judge,
            progress=lambda done, what: subject.progress(
                1 - share + share * (index + done) / len(self.epsilon), f"testing the claim: {what}"
            ),
        )
        return found[0]


def _audited(tested: dict[str, OneRun], ledgers: dict[str, list[Ledger]]) -> list[Measurement]:
    source = "Steinke, Nasr & Jagielski 2023 (arXiv:2305.08846), white-box canaries in one run"
    count = next(iter(tested.values())).canary_count
    claims = {name: ledger[0].epsilon for name, ledger in ledgers.items()}
    return [
        Measurement(
            id=AUDITED,
            by=("retraining",),
            unit="epsilon",
            better="neither",
            count=count,
            slices=tuple(Slice(name=name, value=run.bound, count=run.guess_count) for name, run in tested.items()),
            source=f"{source}; a lower bound, which proves little while it lies under the claim",
        ),
        Measurement(
            id=EXCESS,
            unit="epsilon",
            better="lower",
            count=count,
            value=max(run.bound - claims[name] for name, run in tested.items()),
            source=f"{source}; the largest lower bound minus its claim: above 0 a claim is false",
        ),
    ]


def _claims(tested: dict[str, OneRun], ledgers: dict[str, list[Ledger]], level: float) -> Table:
    rows = []
    for name, run in tested.items():
        claim = ledgers[name][0].epsilon
        verdict = "the claim is false" if run.bound > claim else "no contradiction"
        guesses = f"{run.correct_count:,} of {run.guess_count:,}"
        rows.append((name, claim, run.bound, run.ceiling, guesses, verdict))
    return Table(
        title="Is the claim true? An attack on the retraining",
        note=(
            f"Each retraining was made once more with canaries, each in it by a fair coin, and an attacker who sees "
            f"every step guessed which. The lower bound holds at {level * 100:g} %. The ceiling is the bound if every "
            f"guess had been right. A bound above the claim proves a fault; one below it proves no privacy."
        ),
        columns=(
            Column(name="retraining"),
            Column(name="claimed epsilon", unit="epsilon"),
            Column(name="lower bound", unit="epsilon"),
            Column(name="ceiling", unit="epsilon"),
            Column(name="guessed right"),
            Column(name="result"),
        ),
        rows=tuple(rows),
    )


def _measurements(subject: Subject, runs: Runs, ledgers: dict[str, list[Ledger]]) -> list[Measurement]:
    first = next(iter(ledgers.values()))[0]
    level, min_group = subject.conf_level, subject.min_group
    epsilon = Measurement(
        id="privacy.epsilon",
        by=("retraining",),
        unit="epsilon",
        better="lower",
        count=first.row_count,
        slices=tuple(
            Slice(name=name, value=part[0].epsilon, count=part[0].row_count) for name, part in ledgers.items()
        ),
        source=f"{NIST}; Opacus {first.accountant} accountant",
    )
    released = [ledger for part in ledgers.values() for ledger in part]
    together = Measurement(
        id="privacy.epsilon_of_all_runs",
        unit="epsilon",
        better="lower",
        count=first.row_count,
        value=composed_epsilon(released, first.delta),
        source=f"{NIST}: the budget over all {len(released)} retrainings together; Opacus rdp accountant",
    )

    def measured(name: str, given: NDArray[Any]) -> Measurement:
        classes = len(subject.schema.classes)
        return quality_measurement(name, subject.labels, given, class_count=classes, level=level)

    accuracy = _side_by_side(
        "privacy.accuracy",
        {name: [measured("accuracy", part.labels) for part in parts] for name, parts in runs.items()},
    )
    calibration = _side_by_side(
        "privacy.calibration_error",
        {name: [measured("calibration_error", part.probabilities) for part in parts] for name, parts in runs.items()},
    )
    measurements = [epsilon, together, accuracy, _accuracy_loss(subject, runs), calibration]
    for column in subject.sensitive:
        names, codes = subject.group_codes((column,))
        found: dict[str, list[Measurement]] = {}
        gaps: dict[str, list[dict[str, Measurement]]] = {}
        for name, parts in runs.items():
            for part in parts:
                counts = tally((column,), names, codes, subject.labels, part.labels, subject.schema.classes)
                rates = rate_measurement(counts, "accuracy", prefix="privacy", level=level, min_group=min_group)
                found.setdefault(name, []).append(rates)
                if subject.schema.task == "binary":
                    pairs = gap_measurements(counts, prefix="privacy", level=level, min_group=min_group)
                    gaps.setdefault(name, []).append({pair.id.partition(".")[2]: pair for pair in pairs})
        measurements.append(_by_group("privacy.accuracy", column, found))
        for gap in GAPS if gaps else ():
            measurements.append(
                _side_by_side(
                    f"privacy.{gap}", {name: [part[gap] for part in parts] for name, parts in gaps.items()}, (column,)
                )
            )
    return measurements


def _accuracy_loss(subject: Subject, runs: Runs) -> Measurement:
    right = runs[ORIGINAL][0].labels == subject.labels
    slices = []
    for name, parts in list(runs.items())[1:]:
        losses = []
        for part in parts:
            value, interval = paired_difference_interval(right, part.labels == subject.labels, level=subject.conf_level)
            losses.append(Slice(name=name, value=value, count=len(right), interval=interval))
        slices.append(slice_of_runs(name, losses, low=-1.0, high=1.0))
    return Measurement(
        id="privacy.accuracy_loss",
        by=("retraining",),
        unit="rate_difference",
        better="lower",
        count=len(right),
        slices=tuple(slices),
        source=f"{NIST}: utility against the non-private model",
    )


def _side_by_side(id: str, models: dict[str, list[Measurement]], columns: tuple[str, ...] = ()) -> Measurement:
    first = models[ORIGINAL][0]
    return Measurement(
        id=id,
        by=("retraining", *columns),
        unit=first.unit,
        better=first.better,
        count=first.count,
        slices=tuple(slice_of_runs(name, parts, low=0.0, high=1.0) for name, parts in models.items()),
        source=f"{first.source}; {NIST}: utility and bias against the non-private model",
    )


def _by_group(id: str, column: str, models: dict[str, list[Measurement]]) -> Measurement:
    """Return the numbers of every group under every model: a slice for each pair, `epsilon 3 & Female`."""
    first = models[ORIGINAL][0]
    slices = []
    for name, runs in models.items():
        for parts in zip(*(run.slices for run in runs), strict=True):
            slices.append(slice_of_runs(f"{name} & {parts[0].name}", parts, low=0.0, high=1.0))
    return Measurement(
        id=id,
        by=("retraining", column),
        unit=first.unit,
        better=first.better,
        count=first.count,
        slices=tuple(slices),
        source=f"{first.source}; {NIST}: utility and bias against the non-private model",
        reason=first.reason,
    )


def _exhibits(
    subject: Subject, runs: Runs, ledgers: dict[str, list[Ledger]], measurements: list[Measurement]
) -> list[Exhibit]:
    exhibits: list[Exhibit] = [
        SliceChart(
            title="Accuracy of the original and of the private retraining",
            measurement="privacy.accuracy",
            by=("retraining",),
        )
    ]
    targets = {name: part[0].target_epsilon for name, part in ledgers.items()}
    by = {(part.id.partition(".")[2], part.by): part for part in measurements}
    for metric in ("accuracy", "calibration_error") if len(targets) > 1 else ():
        exhibits.append(_frontier(metric, by[metric, ("retraining",)], targets))
    for column in subject.sensitive:
        exhibits.append(_who_pays(by["accuracy", ("retraining", column)], column, list(runs)))
        for gap in GAPS if len(targets) > 1 else ():
            if (gap, ("retraining", column)) in by:
                exhibits.append(_frontier(f"{gap}, {column}", by[gap, ("retraining", column)], targets))
    exhibits += [ledger_facts(name, parts[0]) for name, parts in ledgers.items()]
    return exhibits


def _frontier(metric: str, measurement: Measurement, targets: dict[str, float]) -> Curve:
    """Return a number over epsilon with its band, and the original's as a level line."""
    words = metric.replace("_", " ")
    slices = {part.name: part for part in measurement.slices}
    points = sorted((epsilon, name) for name, epsilon in targets.items() if slices[name].value is not None)
    lines = [_line("private", [epsilon for epsilon, _ in points], [slices[name] for _, name in points])]
    if slices[ORIGINAL].value is not None:
        ends = [min(targets.values()), max(targets.values())]
        lines.append(_line(ORIGINAL, ends, [slices[ORIGINAL]] * 2))
    return Curve(
        title=f"The price of privacy: {words}",
        note="Smaller epsilon is more private. Bands are the intervals; the original has no epsilon.",
        x_label="epsilon",
        y_label=words.partition(",")[0],
        x_unit="epsilon",
        y_unit=measurement.unit,
        lines=tuple(lines),
    )


def _line(name: str, across: list[float], parts: list[Slice]) -> Line:
    intervals = [part.interval for part in parts if part.interval is not None]
    banded = len(intervals) == len(parts)
    return Line(
        name=name,
        x=tuple(across),
        y=tuple(part.value or 0.0 for part in parts),
        low=tuple(interval.low for interval in intervals) if banded else None,
        high=tuple(interval.high for interval in intervals) if banded else None,
    )


def ledger_facts(name: str, ledger: Ledger) -> Facts:
    """Return the ledger as statements a reader can check, with what the budget does not cover."""
    rows = (
        (
            "Guarantee",
            f"({ledger.epsilon:.4g}, {ledger.delta:.2g})-differential privacy ({ledger.accountant.upper()} accountant)",
        ),
        ("Planned with", f"epsilon at most {ledger.target_epsilon:g}; RDP accountant {ledger.epsilon_rdp:.4g}"),
        ("Mechanism", ledger.mechanism),
        ("Trust model", ledger.trust_model),
        ("Unit of privacy", ledger.unit_of_privacy),
        ("Contribution bound", ledger.contribution_bound),
        ("Neighbouring relation", ledger.neighbouring_relation),
        ("Rows n", f"{ledger.row_count:,} (1/n = {1 / ledger.row_count:.2g})"),
        ("Sampling", ledger.sampling),
        ("Expected batch", f"{ledger.expected_batch_size:,} rows"),
        ("Noise multiplier", f"{ledger.noise_multiplier:.4g}"),
        ("Clipping norm", f"{ledger.max_grad_norm:g}"),
        ("Steps", f"{ledger.steps:,} ({ledger.epochs} epochs)"),
        *((("Lost and paid for", f"{ledger.lost_steps:,} steps, by a kill"),) if ledger.lost_steps else ()),
        (
            "Tuning",
            f"{ledger.tuning_runs} earlier runs declared: epsilon {ledger.epsilon_with_tuning:.4g} with them "
            "(RDP accountant)",
        ),
        ("Initial weights", ledger.initial_weights),
        ("Noise seed", ledger.seed_statement),
        ("Library", f"Opacus {ledger.opacus}, torch {ledger.torch}"),
        *(("Not covered", statement) for statement in ledger.not_covered),
    )
    return Facts(title=f"Privacy ledger, {name}", rows=rows)


def _who_pays(accuracy: Measurement, column: str, models: list[str]) -> Table:
    by_model: dict[str, list[Slice]] = {name: [] for name in models}
    for part in accuracy.slices:
        by_model[part.name.partition(" & ")[0]].append(part)
    rows = []
    for parts in zip(*by_model.values(), strict=True):
        values = [part.value for part in parts]
        losses = [None if values[0] is None or value is None else value - values[0] for value in values[1:]]
        group = parts[0].name.removeprefix(f"{ORIGINAL} & ")
        rows.append((group, float(parts[0].count), *values, *losses))
    return Table(
        title=f"Who pays for privacy: accuracy by {column}",
        note="The change is private minus original, in percentage points: negative where the group loses accuracy.",
        columns=(
            Column(name=column),
            Column(name="rows", unit="rows"),
            *(Column(name=name, unit="rate") for name in models),
            *(Column(name=f"change at {name}", unit="rate_difference") for name in models[1:]),
        ),
        rows=tuple(rows),
    )


def _notes(subject: Subject, training_row_count: int, seeds: int, tested: bool) -> list[str]:
    luck = f"with seed {subject.seed}: the intervals cover the audited rows, not the luck of the training run."
    if seeds > 1:
        luck = (
            f"{seeds} times, with seeds {subject.seed} to {subject.seed + seeds - 1}: numbers are means over the runs, "
            f"and the intervals cover the audited rows and the luck of training."
        )
    notes = [
        f"Each private model was trained from fresh weights on {training_row_count:,} rows, "
        + ("once, " if seeds == 1 else "")
        + luck,
        "Each ledger is of one model. Whoever is given several of them, or their numbers, learns more: "
        "epsilon_of_all_runs bounds all retrainings of this report together.",
        "The budget covers the retrained weights only. The original model and this report were made from the same data "
        "without privacy.",
        "Canaries test the noise, the sampling and the count of steps of the training as it runs here, after each "
        "row's gradient is clipped; that rows are clipped is tested by auditkit's own tests, and not by this attack."
        if tested
        else "The claim is computed, and was not tested by attack; pass --canaries 1000 to test it.",
    ]
    card = subject.model.card
    recorded = card.training.get("sha256") if card else None
    if recorded and subject.training is not None and recorded != subject.training.sha256:
        notes.append(
            "The training data given here is not the data that the model was trained on: its sha256 differs from the "
            "one in the model's card. The comparison with the original mixes two causes."
        )
    return notes
