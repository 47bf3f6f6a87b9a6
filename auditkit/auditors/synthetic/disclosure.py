"""What synthetic records give away about the people whose records they were made from."""

from __future__ import annotations

import numpy as np

from auditkit.auditors.synthetic.tables import Tables
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Group, Interval, Measurement, Slice, Table
from auditkit.evidence.messages import Message
from auditkit.stats.disclosure import Attack, Records, inference, linkability, risk, singling_out
from auditkit.stats.intervals import simultaneous_level
from auditkit.stats.membership import SURE

FEWEST_PREDICATES = 20


def disclosure_evidence(subject: Subject, tables: Tables, rows: int) -> Evidence:
    """Single out, link and guess training records and unseen ones, by the synthetic records."""
    subject.progress(0.5, "singling people out")
    singled = singling_out(tables.synthetic, tables.training, tables.unseen, seed=subject.seed)
    training, unseen = (_drawn(part, rows, subject.seed) for part in (tables.training, tables.unseen))
    subject.progress(0.6, "linking parts of records")
    linked = linkability(tables.synthetic, training, unseen, seed=subject.seed)
    subject.progress(0.7, "guessing columns")
    guessed = dict(zip(tables.columns, inference(tables.synthetic, training, unseen), strict=True))
    measurements = [_singled_out(singled, subject.conf_level), _linked(linked, subject.conf_level)]
    measurements.append(_guessed(guessed, subject.conf_level))
    note = Message(
        "By {synthetic:,} synthetic records, {training:,} training and {unseen:,} unseen ones are attacked. That "
        "the synthetic records come from a generator of these training records, which never saw the others, is the "
        "word of whoever runs this audit. A risk near 0 says that these three attacks gain nothing, and no more.",
        synthetic=len(tables.synthetic.values),
        training=len(training.values),
        unseen=len(unseen.values),
    )
    return Evidence(measurements=measurements, exhibits=[_table(singled, linked, guessed)], notes=[note])


def _drawn(records: Records, count: int, seed: int) -> Records:
    order = np.random.default_rng((seed, 47)).permutation(len(records.values))
    return records.part(order[:count].astype(np.int64))


def _singled_out(attack: Attack, level: float) -> Measurement:
    definition = Message(
        "share of predicates over three columns that hold for one training record and no other, beyond the same share "
        "for unseen records: (attack - control) / (1 - control) (Giomi et al. 2022)"
    )
    if attack.tries < FEWEST_PREDICATES:
        return Measurement(
            id="synthetic.singling_out_risk", value=None, unit="rate_difference", better="lower", count=attack.tries,
            definition=definition,
            reason=Message("under {fewest} predicates single out a synthetic record", fewest=FEWEST_PREDICATES),
        )  # fmt: skip
    return _overall("singling_out_risk", attack, level, definition)


def _linked(attack: Attack, level: float) -> Measurement:
    definition = Message(
        "share of training records of which one synthetic record is the only one nearest to both halves, beyond the "
        "same share of unseen records: (attack - control) / (1 - control) (Giomi et al. 2022)"
    )
    return _overall("linkability_risk", attack, level, definition)


def _invalid(attack: Attack) -> Message | None:
    """Return why an attack that succeeds clearly less often on training records than on unseen ones is no result."""
    found = risk(attack, SURE)
    if found.interval.high >= 0:
        return None
    return Message(
        "the attack is invalid here: it succeeds less often on training records than on unseen ones (risk {value:.3f}, "
        "{level:.1%} CI to {high:.3f})",
        value=found.value,
        level=found.interval.level,
        high=found.interval.high,
    )


def _overall(name: str, attack: Attack, level: float, definition: Message) -> Measurement:
    found = risk(attack, level)
    reason = _invalid(attack)
    return Measurement(
        id=f"synthetic.{name}",
        value=None if reason else found.value,
        unit="rate_difference",
        better="lower",
        count=attack.tries + attack.control_tries,
        interval=None if reason else found.interval,
        definition=definition,
        reason=reason,
    )


def _guessed(guessed: dict[str, Attack], level: float) -> Measurement:
    each = simultaneous_level(level, len(guessed))
    slices = []
    for column, attack in sorted(guessed.items(), key=lambda item: -risk(item[1], level).value):
        found, together = risk(attack, level), risk(attack, each).interval
        method = Message("{method}, Sidak over {count} columns", method=together.method, count=len(guessed))
        wide = Interval(low=together.low, high=together.high, level=level, method=method)
        reason = _invalid(attack)
        slices.append(
            Slice(
                group=Group(by=("column",), key=(column,)),
                value=None if reason else found.value,
                count=attack.tries + attack.control_tries,
                interval=None if reason else found.interval,
                simultaneous_interval=None if reason else wide,
                reason=reason,
            )
        )
    return Measurement(
        id="synthetic.inference_risk",
        by=("column",),
        unit="rate_difference",
        better="lower",
        count=max(part.count for part in slices),
        slices=tuple(slices),
        definition=Message(
            "share of training records whose column is that of the synthetic record nearest in all other columns "
            "(numbers: within 5 % of the range), beyond the same share of unseen records: (attack - control) / "
            "(1 - control) (Giomi et al. 2022)"
        ),
    )


def _table(singled: Attack, linked: Attack, guessed: dict[str, Attack]) -> Table:
    named = [(Message("single out by three columns"), singled), (Message("link two halves of a record"), linked)]
    named += [(Message("guess the column {column}", column=column), attack) for column, attack in guessed.items()]
    return Table(
        title=Message("Attacks on training records and on unseen ones"),
        note=Message("What succeeds against both is knowledge of people at large; the difference is disclosure."),
        columns=(
            Column(name=Message("attack")),
            Column(name=Message("success"), unit="share"),
            Column(name=Message("control"), unit="share"),
            Column(name=Message("tries"), unit="count"),
        ),
        rows=tuple(
            (what, attack.hits / attack.tries, attack.control_hits / attack.control_tries, attack.tries)
            for what, attack in named
            if attack.tries
        ),
    )
