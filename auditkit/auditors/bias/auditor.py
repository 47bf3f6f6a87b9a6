"""The bias auditor: which groups of people a model's words are associated with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from auditkit.auditors.bias.word_lists import check_word_lists, read_word_lists
from auditkit.errors import InputError

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject
    from auditkit.evidence.measurement import Evidence


@dataclass(frozen=True, kw_only=True)
class Bias:
    """Whether words that name groups of people lie nearer to some attributes than to others in a model's word vectors.

    `word_lists` adds tests to those that auditkit ships, or replaces one of the same name; each is a table of a
    `source`, two `targets` and two `attributes` (auditkit/auditors/bias/word_lists.toml). `random_sets` is how many
    sets of random words each effect is compared with.
    """

    word_lists: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    random_sets: int = 1000

    requires: ClassVar = ("words",)
    read_from_file: ClassVar = {"word_lists": read_word_lists}
    measures: ClassVar = (
        "bias.weat_effect_size",
        "bias.relative_norm_distance",
        "bias.random_words_larger_share",
    )

    def __post_init__(self) -> None:
        """Refuse word lists that are none, and too few sets."""
        check_word_lists(self.word_lists)
        if self.random_sets < 100:
            raise InputError(f"random_sets must be at least 100, got {self.random_sets}; pass 1000.")

    def audit(self, subject: Subject) -> Evidence:
        """Hold every word list against the vectors.

        Raises:
            NotRun: no word of any list is in the vocabulary.
        """
        from auditkit.auditors.bias.vectors import vector_evidence

        return vector_evidence(subject, self.word_lists, self.random_sets)
