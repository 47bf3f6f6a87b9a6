"""Copies of training rows among samples, each number beside its control."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.memorisation.pairs import pairs_evidence
from auditkit.auditors.memorisation.rows import membership_evidence
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Evidence, Interval, Measurement, Table, Unit, joined_evidence
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import Samples
from auditkit.stats.copies import NEAR, Memorisation, Share, authentic, memorisation
from auditkit.stats.intervals import newcombe


def copies_evidence(subject: Subject, sample_count: int) -> Evidence:
    """Draw samples and return the shares of copies, their excess over unseen rows, and the loss of authenticity."""
    able = subject.audited.capability(Samples)
    assert able is not None
    drawn = able.sample(sample_count, seed=subject.seed + 1000, device=subject.device)
    training = subject.training_inputs
    assert training is not None
    samples, known, unseen = (_flat(rows) for rows in (drawn, training, subject.inputs))
    subject.progress(0.3, "looking for copies")
    found = memorisation(samples, known, unseen, seed=subject.seed, level=subject.conf_level)
    subject.progress(0.7, "authenticity")
    shares: dict[str, tuple[Share, Unit, str]] = {
        "exact_copy_share": (found.exact, "share", Message("share of samples that equal a training row")),
        "near_copy_share": (
            found.near,
            "share",
            Message(
                "share of samples less than {near:g} times as far from a training row as from any unseen row", near=NEAR
            ),
        ),
        "near_copy_excess": (
            found.excess,
            "rate_difference",
            Message(
                "near copies of training rows minus near copies of unseen rows: 0 where nothing is remembered "
                "(Meehan et al. 2020)"
            ),
        ),
        "authenticity_shortfall": (
            _authenticity_shortfall(samples, known, unseen, subject.conf_level),
            "rate_difference",
            Message(
                "share of unseen rows that are farther from their nearest training row than that row from its nearest "
                "other, minus the same share of samples (authenticity, Alaa et al. 2022)"
            ),
        ),
    }
    measurements = [_measurement(name, *given) for name, given in shares.items()]
    note = Message(
        "{samples:,} samples were drawn and held against {training:,} training rows and {unseen:,} rows that the "
        "generator is said never to have seen. A generator that copies reaches every quality limit.",
        samples=sample_count,
        training=len(known),
        unseen=len(unseen),
    )
    subject.progress(0.8, "membership")
    told = membership_evidence(subject, samples, known, unseen)
    own = Evidence(measurements=measurements, exhibits=[_table(found)], notes=[note])
    return joined_evidence([own, pairs_evidence(subject, drawn), told])


def _flat(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.ascontiguousarray(rows.reshape(len(rows), -1), dtype=np.float64)


def _authenticity_shortfall(
    samples: NDArray[np.float64], training: NDArray[np.float64], unseen: NDArray[np.float64], level: float
) -> Share:
    counts = [(int(authentic(rows, training).sum()), len(rows)) for rows in (unseen, samples)]
    (of_unseen, n), (of_samples, m) = counts
    low, high = newcombe(of_unseen, n, of_samples, m, level)
    value = of_unseen / n - of_samples / m
    interval = Interval(
        low=min(float(low), value), high=max(float(high), value), level=level, method=Message("Newcombe")
    )
    return Share(value, interval, m)


def _measurement(name: str, share: Share, unit: Unit, definition: str) -> Measurement:
    return Measurement(
        id=f"memorisation.{name}",
        value=share.value,
        unit=unit,
        better="lower",
        count=share.row_count,
        interval=share.interval,
        definition=definition,
    )


def _table(found: Memorisation) -> Table:
    rows = (
        (Message("equal to a training row"), found.exact, found.exact_control),
        (Message("much nearer to a training row than to any unseen row"), found.near, found.near_control),
    )
    return Table(
        title=Message("Copies of training rows among the samples"),
        note=Message("Where the generator remembers nothing, both shares are as large as their controls."),
        columns=(
            Column(name=Message("samples")),
            Column(name=Message("share"), unit="share"),
            Column(name=Message("low"), unit="share"),
            Column(name=Message("high"), unit="share"),
            Column(name=Message("control"), unit="share"),
        ),
        rows=tuple(
            (what, share.value, share.interval.low, share.interval.high, control.value) for what, share, control in rows
        ),
    )
