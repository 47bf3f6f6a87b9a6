"""The memorisation auditor: what a generator or a language model gives back of its training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject
    from auditkit.evidence.measurement import Evidence


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """What a model remembers of its training rows, beside rows of the same population that it never saw.

    Of a generator, whether drawn rows are copies, and whether they or its discriminator tell training rows from others:
    `samples` is how many rows are drawn. Of a language model, whether it
    tells its training texts from others: `texts` is the largest number of either, `reference` the folder of the model
    that it was trained from, `canaries` the record that `auditkit canaries` wrote, `most_canaries` how many of each
    number of repetitions are asked for, and `prompts` how many texts, and personal identifiers, of
    either side are continued. So many `shadows` of a model of auditkit's own are trained as it was on halves of the
    texts, fewer if the effort of the audit does not allow so many, and none if it is quick; 0 trains none.
    """

    samples: int = 2000
    texts: int = 1000
    reference: str | None = None
    canaries: str | None = None
    most_canaries: int = 50
    prompts: int = 200
    shadows: int = 8

    requires: ClassVar = ("reproduction", "training")
    measures: ClassVar = (
        "memorisation.exact_copy_share",
        "memorisation.near_copy_share",
        "memorisation.near_copy_excess",
        "memorisation.authenticity_shortfall",
        "memorisation.blind_roc_auc",
        "memorisation.membership_roc_auc",
        "memorisation.discriminator_roc_auc",
        "memorisation.membership_true_positive_rate_at_1_percent",
        "memorisation.membership_true_positive_rate_at_0_1_percent",
        "memorisation.canary_exposure",
        "memorisation.canary_extraction_rate",
        "memorisation.verbatim_extraction_rate",
        "memorisation.near_extraction_rate",
        "memorisation.extraction_excess",
        "memorisation.identifier_completion_rate",
    )

    def __post_init__(self) -> None:
        """Refuse too few samples, texts or canaries."""
        for name, fewest, usual in (
            ("samples", 100, 2000),
            ("texts", 50, 1000),
            ("most_canaries", 1, 50),
            ("prompts", 1, 200),
        ):
            if getattr(self, name) < fewest:
                raise InputError(f"{name} must be at least {fewest}, got {getattr(self, name)}; pass {usual}.")
        if self.shadows:
            from auditkit.stats.shadows import require_pairs

            require_pairs(self.shadows)

    def check(self, subject: Subject) -> None:
        """Refuse a reference or canaries for another kind of model, and files that cannot be used.

        Raises:
            InputError: with the reason.
        """
        if self.reference is None and self.canaries is None:
            return
        from auditkit.auditors.memorisation.language import check_files

        check_files(subject, self.reference, self.canaries)

    def passes(self, subject: Subject) -> float:
        """Return how many forward passes of a text its scores and its shadow models take about; 0 of a generator."""
        from auditkit.models.capabilities import LanguageModel

        if subject.audited.capability(LanguageModel) is None:
            return 0.0
        from auditkit.auditors.memorisation.language import passes_of_texts

        return passes_of_texts(subject, self.texts, self.shadows)

    def audit(self, subject: Subject) -> Evidence:
        """Draw samples and hold them against training rows and unseen rows, or attack a language model."""
        from auditkit.models.capabilities import LanguageModel

        if subject.audited.capability(LanguageModel) is None:
            from auditkit.auditors.memorisation.copies import copies_evidence

            return copies_evidence(subject, self.samples)
        from auditkit.auditors.memorisation.language import language_evidence

        return language_evidence(
            subject,
            texts=self.texts,
            reference=self.reference,
            canaries=self.canaries,
            most_canaries=self.most_canaries,
            prompts=self.prompts,
            shadows=self.shadows,
        )
