"""What a language model remembers of its training texts: membership, canaries, and text that it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from auditkit.auditors.memorisation.attacks import membership_evidence
from auditkit.auditors.memorisation.exposure import canary_evidence
from auditkit.auditors.memorisation.extraction import extraction_evidence
from auditkit.auditors.memorisation.identifiers import identifier_evidence
from auditkit.auditors.memorisation.material import Material, material_of
from auditkit.auditors.memorisation.shadow_models import passes_of_one, planned
from auditkit.data.canaries import Canaries, check_planted, read_canaries
from auditkit.engine.subject import Subject
from auditkit.engine.texts import texts_of
from auditkit.errors import InputError, NotRun
from auditkit.evidence.measurement import Evidence, joined_evidence
from auditkit.evidence.messages import Message, reason_of
from auditkit.models.capabilities import CausalLanguageModel, LanguageModel
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns
from auditkit.models.language import TokenScores


def language_evidence(
    subject: Subject,
    *,
    texts: int,
    reference: str | None,
    canaries: str | None,
    most_canaries: int,
    prompts: int,
    shadows: int,
) -> Evidence:
    """Attack the membership of texts, continue them, and ask for canaries where they were recorded."""
    planted = None if canaries is None else read_canaries(canaries)
    known = frozenset() if planted is None else frozenset(map(planted.text, planted.canaries))
    parts = []
    try:
        material = material_of(subject, texts, known)
        others = None if reference is None else reference_scores(subject, reference, material)
        parts.append(Evidence(notes=material.notes))
        parts.append(membership_evidence(subject, material, others, shadows))
        if subject.audited.capability(CausalLanguageModel) is not None:
            parts.append(extraction_evidence(subject, material, prompts))
            parts.append(identifier_evidence(subject, material, prompts))
    except NotRun as why:
        if planted is None:
            raise
        parts.append(Evidence(notes=[Message("Membership is not measured: {why}.", why=reason_of(why) or "")]))
    if planted is not None:
        parts.append(_asked(subject, planted, most_canaries))
    return joined_evidence(parts)


def passes_of_texts(subject: Subject, texts: int, shadows: int) -> float:
    """Return how many forward passes of a text the scores of both sides and the shadow models take about."""
    scored = float(min(texts, len(subject.data.frame)) + min(texts, _training_count(subject)))
    try:
        count, epochs = planned(subject, shadows)
    except NotRun:
        return scored
    return scored + count * passes_of_one(subject, epochs)


def _training_count(subject: Subject) -> int:
    return 0 if subject.training is None else len(subject.training.frame)


def check_files(subject: Subject, reference: str | None, canaries: str | None) -> None:
    """Refuse a reference or canaries for another kind of model, and files that cannot be used.

    Raises:
        InputError: with the reason.
    """
    option = "canaries" if reference is None else "reference"
    if subject.audited.capability(LanguageModel) is None:
        raise InputError(f"{option} is for language models; leave it out: {subject.audited.lack(LanguageModel)}.")
    if subject.training is None:
        raise InputError(f"{option} needs the training texts; pass --train-dataset FILE.")
    if canaries is not None:
        check_planted(read_canaries(canaries), texts_of(subject.training.frame, subject.schema), canaries)
    if reference is not None and not Path(reference).exists():
        raise InputError(f"reference {reference}: no such folder; pass the model that it was trained from.")


def _asked(subject: Subject, planted: Canaries, most: int) -> Evidence:
    try:
        return canary_evidence(subject, planted, most)
    except NotRun as why:
        return Evidence(notes=[Message("Canaries are not asked for: {why}.", why=reason_of(why) or "")])


def reference_scores(subject: Subject, path: str, material: Material) -> list[TokenScores]:
    """Return what the reference model says of the tokens of both sides' texts.

    Raises:
        InputError: it cannot be opened, is no language model, or gives every text the probability that the audited
            model gives it: then it is that model under another name, beside which nothing looks remembered.
    """
    column = subject.schema.features[0].name
    columns = Columns(read_rows=lambda: subject.data, read_training=lambda: subject.training, target=None, text=column)
    opened = open_model(Path(path), columns=columns)
    if opened.sha256 == subject.audited.sha256:
        raise InputError(f"reference {path} is the audited model itself; pass the model that it was trained from.")
    able = opened.capability(LanguageModel)
    if able is None:
        raise InputError(f"reference {path}: {opened.lack(LanguageModel)}; pass a language model.")
    found = able.score(material.texts, device=subject.device, progress=subject.progress)
    if is_same(found, material.scores):
        raise InputError(
            f"reference {path} gives all {len(found):,} texts the probabilities that the audited model gives them, and "
            "is that model under another name; pass the model that it was trained from."
        )
    return found


def is_same(one: Sequence[TokenScores], other: Sequence[TokenScores]) -> bool:
    """Return whether two models give each of the texts the same log-probability, but for rounding."""
    first, second = (np.array([part.log_probabilities.sum() for part in scores]) for scores in (one, other))
    return bool(np.allclose(first, second, rtol=1e-4, atol=1e-6))
