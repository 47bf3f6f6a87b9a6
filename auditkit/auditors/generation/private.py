"""What privacy costs a generator: trained anew by DP-SGD at each budget, and held against the same real rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.generation.comparison import Key, compare
from auditkit.auditors.generation.features import FeatureSpace
from auditkit.auditors.generation.material import CLASS, Material, Rows
from auditkit.auditors.generation.sample_sets import SetEstimates, over_sample_sets
from auditkit.engine.subject import Subject
from auditkit.errors import NotRun
from auditkit.evidence.measurement import Column, Evidence, Group, Interval, Measurement, Slice, Table
from auditkit.evidence.messages import Message, title
from auditkit.stats.copies import memorisation
from auditkit.training.dp.accounting import Ledger, composed_epsilon

ORIGINAL = "original"
BY = "retraining"
SHOWN = ("precision", "recall", "coverage")
BOUNDS = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Budget:
    """A generator at a budget, None of the original: what its samples come to, with the real rows that they copy."""

    ledger: Ledger | None
    estimates: SetEstimates
    copies: tuple[float, Interval]


class Comparison(NamedTuple):
    """What is the same for all budgets: the material of the original, and where each measurement stands."""

    material: Material
    space: FeatureSpace
    shape: Sequence[tuple[Key, int]]
    set_count: int


def frontier(
    subject: Subject, comparison: Comparison, original: SetEstimates, first: Rows, epsilons: Sequence[float]
) -> Evidence:
    """Retrain the generator at each epsilon, and return quality, coverage by class and copies side by side.

    `original` are the estimates of the audited generator, and `first` a set of its samples.

    Raises:
        NotRun: the generator cannot be trained anew, or there are no training rows.
    """
    budgets = {ORIGINAL: Budget(None, original, _copies(subject, first))}
    for place, epsilon in enumerate(epsilons):
        subject.progress(0.4 + 0.5 * place / len(epsilons), "training with privacy")
        budgets[Message("epsilon {epsilon:g}", epsilon=epsilon)] = _budget(subject, comparison, epsilon)
    measurements = [*_measurements(subject, comparison, budgets)]
    return Evidence(measurements=measurements, exhibits=[_table(measurements, budgets)], notes=_notes(budgets))


def _budget(subject: Subject, comparison: Comparison, epsilon: float) -> Budget:
    from auditkit.models.generate import draw
    from auditkit.training.dp.dp_sgd import disclosed, fit_private
    from auditkit.training.dp.generators import private_part
    from auditkit.training.dp.plan import PrivateSettings

    inputs = subject.training_inputs
    if inputs is None:
        raise NotRun(Message("no training data"), remedy="--train-dataset FILE")
    module = subject.model.fresh(subject.seed)
    begun = Message("fresh, drawn by seed; never those that saw the data without privacy")
    settings = PrivateSettings(epsilon=epsilon, seed=subject.seed, disclosure=disclosed(subject.model, begun))
    network = private_part(module, sample_count=settings.batch_size_for(len(inputs)), max_norm=settings.max_grad_norm)
    labels, objective = np.zeros(len(inputs), dtype=np.int64), subject.task.objective()
    ledger = fit_private(network, inputs, labels, settings, device=subject.device, objective=objective)
    module.eval()
    size = len(comparison.material.real)
    drawn = [
        draw(module, size, seed=subject.seed + 1 + number, device=subject.device).numpy()
        for number in range(comparison.set_count)
    ]
    material = comparison.material.with_sets(comparison.space, drawn)
    return Budget(ledger, estimates_of(material, comparison.set_count, subject.seed), _copies(subject, drawn[0]))


def estimates_of(material: Material, set_count: int, seed: int) -> SetEstimates:
    """Return all values of `compare`, one behind the other, as means over sample sets."""
    return over_sample_sets(
        lambda rows, number, drawn: np.concatenate(list(compare(material, rows, number, drawn).values())),
        row_count=len(material.real),
        set_count=set_count,
        seed=seed,
    )


def _copies(subject: Subject, samples: Rows) -> tuple[float, Interval]:
    """Return the near copies of training rows among samples in excess of those of unseen rows."""
    training = subject.training_inputs
    if training is None:
        raise NotRun(Message("no training data"), remedy="--train-dataset FILE")
    parts = [_flat(rows) for rows in (samples, training, subject.inputs)]
    found = memorisation(*parts, seed=subject.seed, level=subject.conf_level).excess
    return found.value, found.interval


def _flat(rows: Rows) -> NDArray[np.float64]:
    return np.ascontiguousarray(rows.reshape(len(rows), -1), dtype=np.float64)


def _measurements(subject: Subject, comparison: Comparison, budgets: Mapping[str, Budget]) -> Iterator[Measurement]:
    """Yield each number over the budgets: epsilon, qualities, coverage by class, copies."""
    starts = np.cumsum([0, *(width for _, width in comparison.shape)])
    places = {key: int(start) for (key, _), start in zip(comparison.shape, starts, strict=False)}
    count, level = len(comparison.material.real), subject.conf_level
    private = {name: one.ledger for name, one in budgets.items() if one.ledger is not None}
    yield Measurement(
        id="generation.private_epsilon",
        by=(BY,),
        unit="epsilon",
        better="lower",
        count=next(iter(private.values())).row_count,
        slices=tuple(
            Slice(group=_named(name), value=one.epsilon, count=one.row_count) for name, one in private.items()
        ),
        definition=Message("differential privacy of each retrained generator (NIST SP 800-226)"),
        computed_by="Opacus",
    )
    for quality in SHOWN:
        slices = tuple(
            _slice(_named(name), one.estimates, places[quality, ""], level, count) for name, one in budgets.items()
        )
        yield _measurement(f"private_{quality}", (BY,), slices, title(f".{quality}"))
    if CLASS in comparison.material.splits:
        names, sizes = comparison.material.splits[CLASS][0], comparison.material.group_sizes(CLASS).tolist()
        slices = tuple(
            _slice(
                Group(by=(BY, CLASS), key=(name, group)),
                one.estimates,
                places["coverage", CLASS] + at,
                level,
                sizes[at],
            )
            for name, one in budgets.items()
            for at, group in enumerate(names)
            if sizes[at]
        )
        yield _measurement("private_coverage", (BY, CLASS), slices, title(".coverage"))
    slices = tuple(
        Slice(group=_named(name), value=one.copies[0], count=count, interval=one.copies[1])
        for name, one in budgets.items()
    )
    yield _measurement("private_near_copy_excess", (BY,), slices, title("memorisation.near_copy_excess"))


def _named(name: str) -> Group:
    return Group(by=(BY,), key=(name,))


def _slice(group: Group, estimates: SetEstimates, place: int, level: float, count: int) -> Slice:
    interval = estimates.interval(place, level=level, count=count, low=BOUNDS[0], high=BOUNDS[1])
    return Slice(group=group, value=float(estimates.values[place]), count=count, interval=interval)


def _measurement(name: str, by: tuple[str, ...], slices: tuple[Slice, ...], what: str) -> Measurement:
    copies = name == "private_near_copy_excess"
    return Measurement(
        id=f"generation.{name}",
        by=by,
        unit="rate_difference" if copies else "rate",
        better="lower" if copies else "higher",
        count=max(part.count for part in slices),
        slices=slices,
        definition=Message("{what} of the generator as audited, and retrained with privacy at each budget", what=what),
        only_with=() if copies else ("memorisation.near_copy_excess",),
    )


def _table(measurements: Sequence[Measurement], budgets: Mapping[str, Budget]) -> Table:
    found = {(one.id.removeprefix("generation."), one.by): one.slices for one in measurements}
    by_class = found.get(("private_coverage", (BY, CLASS)), ())
    rows: list[tuple[str | float | None, ...]] = []
    for at, (name, budget) in enumerate(budgets.items()):
        lowest = [part.value for part in by_class if part.group.key[0] == name and part.value is not None]
        cells = [found[f"private_{quality}", (BY,)][at].value for quality in SHOWN]
        epsilon = None if budget.ledger is None else budget.ledger.epsilon
        rows.append((name, epsilon, *cells, min(lowest, default=None), budget.copies[0]))
    return Table(
        title=Message("Quality and copies at each privacy budget"),
        note=Message("Each budget is of one generator. Whoever is given several of them learns more than from one."),
        columns=(
            Column(name=Message("generator")),
            Column(name=Message("epsilon"), unit="epsilon"),
            *(Column(name=title(f".{quality}"), unit="rate") for quality in SHOWN),
            Column(name=Message("lowest coverage of a class"), unit="rate"),
            Column(name=title("memorisation.near_copy_excess"), unit="rate_difference"),
        ),
        rows=tuple(rows),
    )


def _notes(budgets: Mapping[str, Budget]) -> list[str]:
    ledgers = [one.ledger for one in budgets.values() if one.ledger is not None]
    first = ledgers[0]
    notes: list[str] = [
        Message(
            "Retrained from fresh weights on {rows:,} rows, once for each budget, at delta {delta:.2g}; all together "
            "spend epsilon {together:.2f}. Trained part: {part}. The seeds stand in this report, so that these "
            "generators are a forecast; release one that 'auditkit retrain' made.",
            rows=first.row_count,
            delta=first.delta,
            together=composed_epsilon(ledgers, first.delta),
            part=first.trained_part,
        )
    ]
    return notes
