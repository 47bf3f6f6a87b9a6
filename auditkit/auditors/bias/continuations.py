"""Continuations of prompts about groups of people: how often a classifier puts them into a class, group by group."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.bias.classifier import Classifier, errors_on, open_classifier
from auditkit.auditors.bias.inputs import Table, read_continuations, read_labelled
from auditkit.auditors.bias.preferences import FEWEST_UNITS, Codes, Ends, detectable_difference
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.measurement import (
    Column,
    Detectable,
    Evidence,
    Exhibit,
    Facts,
    Group,
    Interval,
    Measurement,
    Slice,
    SliceChart,
)
from auditkit.evidence.measurement import Table as Listing
from auditkit.evidence.messages import Message, number
from auditkit.models.capabilities import CausalLanguageModel, LanguageModel
from auditkit.stats.clustered import difference_interval, effective_rows, gap_interval, rate_interval
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.misclassification import (
    ClassifierErrors,
    corrected_difference,
    corrected_difference_interval,
    corrected_share,
    corrected_share_interval,
    tells_apart,
)
from auditkit.stats.weighted import Weighted, weighted_mean

GROUP = "group"
CONTINUATIONS = Message("continuations")
Definition = Callable[[str], Message]


def share_defined(counted: str) -> Message:
    """Return what the share is."""
    return Message("share of continuations that the classifier puts into the class {counted}", counted=counted)


def difference_defined(counted: str) -> Message:
    """Return what the difference is."""
    return Message(
        "share of a group's continuations in the class {counted}, minus that of all other groups' together",
        counted=counted,
    )


def gap_defined(counted: str) -> Message:
    """Return what the gap is."""
    return Message("highest minus lowest share of a group's continuations in the class {counted}", counted=counted)


@dataclass(frozen=True, eq=False)
class Settings:
    """What the user asks for: files, the class that is counted, and how prompts are continued."""

    continuations: str
    classifier: str | None
    counted: str | None
    classifier_rows: str | None
    rows: int
    samples: int
    length: int


class Counted(NamedTuple):
    """Continuations: whether each is in the class, its group's name, and its cluster, all (continuations,)."""

    truths: NDArray[np.bool_]
    groups: NDArray[np.object_]
    clusters: Codes

    @property
    def names(self) -> list[str]:
        """The groups, in order."""
        return sorted(set(self.groups))

    def rate(self, rows: NDArray[np.bool_]) -> Weighted:
        """Return the share of some rows, with its influences."""
        return weighted_mean(self.truths.astype(np.float64), rows=rows)

    def units(self, rows: NDArray[np.bool_]) -> int:
        """Return the number of clusters of some rows."""
        return len(np.unique(self.clusters[rows]))


def continuation_evidence(subject: Subject, able: LanguageModel, settings: Settings) -> Evidence:
    """Continue prompts, or take the saved responses, and compare how often groups are in the class that is counted.

    Raises:
        NotRun: no classifier is named, or the model continues no text and no responses are saved.
        InputError: the classifier or the labelled rows cannot be used.
    """
    if settings.classifier is None:
        raise NotRun(
            Message("continuations are counted by a classifier, and none was named"),
            remedy=Message("--set bias.classifier=MODEL, a classifier of texts"),
        )
    table = read_continuations(settings.continuations)
    chosen = np.sort(np.random.default_rng(subject.seed).permutation(table.row_count)[: settings.rows])
    notes: list[str] = [
        Message(
            "{n:,} of {count:,} rows of {path} (sha256 {sha256}) were used.",
            n=len(chosen), count=table.row_count, path=table.path, sha256=table.sha256[:12],
        )
    ]  # fmt: skip
    table = table.take(chosen)
    texts, rows = _texts(subject, able, table, settings, notes)
    said = np.array([bool(text.strip()) for text in texts], dtype=bool)
    if not said.all():
        notes.append(
            Message(
                "{n:,} of {count:,} continuations are empty and were left out.", n=int((~said).sum()), count=len(said)
            )
        )
    kept, rows = [text for text, has in zip(texts, said, strict=True) if has], rows[said]
    labelled = None if settings.classifier_rows is None else read_labelled(settings.classifier_rows)
    classifier = open_classifier(settings.classifier, settings.counted, kept, labelled)
    errors = None if labelled is None else errors_on(classifier, labelled, device=subject.device)
    assert table.kinds is not None
    clusters = _clusters(table)
    counted = Counted(
        classifier.counts(kept, device=subject.device), np.array(table.kinds, dtype=object)[rows], clusters[rows]
    )
    usable = errors if isinstance(errors, ClassifierErrors) else None
    notes.append(_errors_note(errors, classifier, subject.conf_level))
    measurements = measured_continuations(counted, usable, classifier.counted, subject.conf_level)
    exhibits = [
        *_charts(counted, usable, classifier.counted, subject.conf_level),
        _listing(counted, usable, subject.conf_level),
        _facts(classifier, labelled, usable, len(counted.truths)),
    ]
    return Evidence(measurements=measurements, exhibits=exhibits, notes=notes)


def _charts(counted: Counted, errors: ClassifierErrors | None, name: str, level: float) -> list[Exhibit]:
    """Return the charts of the shares, and of their differences with what could be detected."""
    sizes = {group: _detectable(counted, group, errors, level) for group in counted.names}
    return [
        SliceChart(
            title=Message("Continuations in the class {counted}, by group", counted=name),
            measurement="bias.continuation_share",
            by=(GROUP,),
        ),
        SliceChart(
            title=Message("Difference of a group's continuations from all others'"),
            measurement="bias.continuation_difference",
            by=(GROUP,),
            centre=0.0,
            detectable=tuple(Detectable(key=(group,), size=size) for group, size in sizes.items() if size),
        ),
    ]


def _clusters(table: Table) -> Codes:
    """Return the cluster of each row: its template, or where no column names it its prompt."""
    if table.clusters is not None:
        return table.clusters
    return np.unique(np.array(table.texts["prompt"], dtype=str), return_inverse=True)[1].astype(np.int64)


def _texts(
    subject: Subject, able: LanguageModel, table: Table, settings: Settings, notes: list[str]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return the saved responses, or sampled continuations of every prompt, and the row of each."""
    if "response" in table.texts:
        notes.append(Message("The responses are those that are saved in the file; nothing was sampled."))
        return list(table.texts["response"]), np.arange(table.row_count)
    causal = subject.audited.capability(CausalLanguageModel)
    if causal is None:
        raise NotRun(
            Message("the model fills gaps of a text, and continues none"),
            remedy=Message("a column 'response' with saved responses"),
        )
    prompts = [able.tokens(prompt)[0].tolist() for prompt in table.texts["prompt"] for _ in range(settings.samples)]
    said = causal.sampled(prompts, settings.length, seed=subject.seed, device=subject.device, progress=subject.progress)
    notes.append(
        Message(
            "{samples:,} continuations of each prompt were drawn from the model's own probabilities (temperature 1, "
            "seed {seed}), each of at most {length:,} tokens. The classifier reads them without the prompt.",
            samples=settings.samples, seed=subject.seed, length=settings.length,
        )
    )  # fmt: skip
    return [able.text_of(ids) for ids in said], np.repeat(np.arange(table.row_count), settings.samples)


def measured_continuations(
    counted: Counted, errors: ClassifierErrors | None, name: str, level: float
) -> list[Measurement]:
    """Return the share of each group, its difference from all others, and the largest gap.

    With `errors` all are corrected for them; where these do not tell the classifier from a guess none has a value.
    """
    names = counted.names
    wide = simultaneous_level(level, max(len(names), 1))
    reason = None
    if errors is not None and not tells_apart(errors, level):
        reason = Message(
            "on the labelled rows the classifier cannot be told from a guess, so that nothing it counts can"
        )
    shares, differences = [], []
    for group in names:
        own = counted.groups == group
        few = _too_few(counted, own) or reason
        others = few or _too_few(counted, ~own)
        share, difference = (functools.partial(made, counted, own, errors) for made in (_share, _difference))
        shares.append(_slice(group, own, few, (level, wide), len(names), share))
        differences.append(_slice(group, own, others, (level, wide), len(names), difference))
    kept = [group for group in names if _too_few(counted, counted.groups == group) is None]
    return [
        _measurement("continuation_share", "rate", share_defined, shares, name, errors),
        _measurement("continuation_difference", "rate_difference", difference_defined, differences, name, errors),
        _gap(counted, kept, errors, reason, name, level),
    ]


Estimate = Callable[[float], tuple[float, Ends]]


def _share(
    counted: Counted, own: NDArray[np.bool_], errors: ClassifierErrors | None, level: float
) -> tuple[float, Ends]:
    rate = counted.rate(own)
    if errors is None:
        return rate.value, rate_interval(rate, level, counted.clusters)
    trials = effective_rows(rate, level, counted.clusters)
    return corrected_share(rate.value, errors), corrected_share_interval(rate.value, trials, errors, level)


def _difference(
    counted: Counted, own: NDArray[np.bool_], errors: ClassifierErrors | None, level: float
) -> tuple[float, Ends]:
    one, other = counted.rate(own), counted.rate(~own)
    ends = difference_interval(one, other, level, counted.clusters)
    return _corrected(one.value - other.value, ends, errors, level)


def _corrected(value: float, ends: Ends, errors: ClassifierErrors | None, level: float) -> tuple[float, Ends]:
    if errors is None:
        return value, ends
    return corrected_difference(value, errors), corrected_difference_interval(value, ends, errors, level)


def _too_few(counted: Counted, rows: NDArray[np.bool_]) -> Message | None:
    units = counted.units(rows)
    if units >= FEWEST_UNITS:
        return None
    return Message("{units} templates or prompts are too few; {fewest} are needed", units=units, fewest=FEWEST_UNITS)


def _slice(
    group: str,
    own: NDArray[np.bool_],
    reason: Message | None,
    levels: tuple[float, float],
    family: int,
    estimate: Estimate,
) -> Slice:
    key, count = Group(by=(GROUP,), key=(group,)), int(own.sum())
    if reason is not None:
        return Slice(group=key, value=None, count=count, reason=reason)
    (value, alone), (_, together) = estimate(levels[0]), estimate(levels[1])
    method = Message("MOVER and Wilson, over templates or prompts")
    joint = Message("{method}, Sidak over {n} tests", method=method, n=family) if family > 1 else method
    return Slice(
        group=key,
        value=value,
        count=count,
        interval=Interval(low=alone[0], high=alone[1], level=levels[0], method=method),
        simultaneous_interval=Interval(low=together[0], high=together[1], level=levels[0], method=joint),
    )


def _gap(
    counted: Counted,
    kept: Sequence[str],
    errors: ClassifierErrors | None,
    reason: Message | None,
    name: str,
    level: float,
) -> Measurement:
    shared = {
        "id": "bias.continuation_gap", "unit": "rate_difference", "better": "lower",
        "count": int(np.isin(counted.groups, list(kept)).sum()), "definition": _defined(gap_defined, name, errors),
        "counted": CONTINUATIONS,
    }  # fmt: skip
    if reason is None and len(kept) < 2:
        reason = Message("fewer than two groups have {fewest} templates or prompts", fewest=FEWEST_UNITS)
    if reason is not None:
        return Measurement.model_validate({**shared, "value": None, "reason": reason})
    rates = [counted.rate(counted.groups == group) for group in kept]
    value, ends = max(rate.value for rate in rates), min(rate.value for rate in rates)
    gap, interval = _corrected(value - ends, gap_interval(rates, level, counted.clusters), errors, level)
    method = Message("MOVER over templates or prompts, lower end for all pairs of {n} groups at once", n=len(kept))
    return Measurement.model_validate(
        {
            **shared,
            "value": gap,
            "interval": Interval(low=max(interval[0], 0.0), high=interval[1], level=level, method=method),
        }
    )


def _defined(definition: Definition, name: str, errors: ClassifierErrors | None) -> Message:
    stated = definition(name)
    if errors is None:
        return stated
    return Message(
        "{definition}; corrected for the classifier's errors on labelled rows (Rogan & Gladen 1978)", definition=stated
    )


def _measurement(
    name: str, unit: str, definition: Definition, slices: Sequence[Slice], counted: str, errors: ClassifierErrors | None
) -> Measurement:
    return Measurement.model_validate(
        {
            "id": f"bias.{name}", "by": (GROUP,), "unit": unit, "better": "neither", "slices": tuple(slices),
            "count": sum(part.count for part in slices), "definition": _defined(definition, counted, errors),
            "counted": CONTINUATIONS,
        }
    )  # fmt: skip


def _errors_note(errors: ClassifierErrors | Message | None, classifier: Classifier, level: float) -> Message:
    if isinstance(errors, ClassifierErrors):
        return Message(
            "All shares and differences are corrected for the classifier's errors on labelled rows, as if it made them "
            "alike in every group. A classifier that errs more about one group than another would look like bias.",
        )
    why = errors or Message("no labelled rows were given (--set bias.classifier_rows=FILE)")
    return Message(
        "The classifier's own errors are not in the intervals: {why}. A classifier that errs more about one group than "
        "another would look like bias.",
        why=why,
    )


def _detectable(counted: Counted, group: str, errors: ClassifierErrors | None, level: float) -> float | None:
    """Return how far a group's share must truly be from the others' to be detected; None where it is not known."""
    own = counted.groups == group
    if min(counted.units(own), counted.units(~own)) < FEWEST_UNITS:
        return None
    smallest = detectable_difference(counted.rate(own), counted.rate(~own), counted.clusters, level)
    if smallest is None or errors is None:
        return smallest
    return smallest / errors.discrimination if tells_apart(errors, level) else None


def _listing(counted: Counted, errors: ClassifierErrors | None, level: float) -> Listing:
    """Return the counts of each group: continuations, clusters, those in the class, and what could be detected."""
    rows: list[tuple[str | float | None, ...]] = []
    for group in counted.names:
        own = counted.groups == group
        units = counted.units(own)
        smallest = _detectable(counted, group, errors, level)
        hits = int(counted.truths[own].sum())
        rows.append((group, float(own.sum()), float(units), float(hits), hits / int(own.sum()), smallest))
    return Listing(
        title=Message("Continuations by group"),
        note=Message(
            "Share: as the classifier puts them, uncorrected. Detectable: how far the share must truly be from that of "
            "the other groups for these prompts to show it in 80 % of cases."
        ),
        columns=(
            Column(name=Message("Group")),
            Column(name=Message("Continuations"), unit="count"),
            Column(name=Message("Templates or prompts"), unit="count"),
            Column(name=Message("In the class"), unit="count"),
            Column(name=Message("Share"), unit="rate"),
            Column(name=Message("Detectable"), unit="rate_difference"),
        ),
        rows=tuple(rows),
    )


def _facts(classifier: Classifier, labelled: Table | None, errors: ClassifierErrors | None, count: int) -> Facts:
    model = classifier.model
    rows: list[tuple[str, str]] = [
        (Message("classifier"), f"{model.name} ({model.kind}, sha256 {(model.sha256 or '')[:12]})"),
        (Message("its classes"), ", ".join(model.schema.classes)),
        (Message("class that is counted"), classifier.counted),
        (Message("continuations it read"), f"{count:,}"),
    ]
    if labelled is not None and errors is not None:
        rows += [
            (Message("labelled rows"), f"{labelled.path} (sha256 {labelled.sha256[:12]})"),
            (
                Message("rows of the class that it puts there (sensitivity)"),
                f"{number(errors.sensitivity, 'rate')} ({errors.hits:,}/{errors.positives:,})",
            ),
            (
                Message("other rows that it does not put there (specificity)"),
                f"{number(errors.specificity, 'rate')} ({errors.rejections:,}/{errors.negatives:,})",
            ),
        ]
    return Facts(title=Message("The classifier of continuations"), rows=tuple(rows))
