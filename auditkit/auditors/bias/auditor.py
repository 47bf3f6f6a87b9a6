"""The bias auditor: which groups of people a model's words are associated with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from auditkit.auditors.bias.word_lists import (
    check_templates,
    check_word_lists,
    read_templates,
    read_word_lists,
)
from auditkit.errors import InputError
from auditkit.evidence.measurement import joined_evidence

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject
    from auditkit.evidence.measurement import Evidence
    from auditkit.models.capabilities import LanguageModel


@dataclass(frozen=True, kw_only=True)
class Bias:
    """With what a model associates groups of people: in its word vectors, or by the sentences that it finds likelier.

    Of word vectors, `word_lists` adds tests to those that auditkit ships, or replaces one of the same name; each is a
    table of a `source`, two `targets` and two `attributes` (auditkit/auditors/bias/word_lists.toml). `random_sets` is
    how many sets of random words each effect is compared with. An encoder reads the words of the lists in sentences:
    those of the set of `templates` that a list names (auditkit/auditors/bias/templates.toml). Of a language model,
    `pairs`, `counterfactuals` and `questions` name files (docs/bias.md), of each of which at most `rows` rows are
    scored; with `input_embedding` the word lists are held against the embedding of its tokens too. `continuations`
    names prompts about groups of people, which are continued `samples` times by at most `length` tokens, or come with
    saved responses; `classifier` names the model that counts those of the class `counted`, and `classifier_rows` texts
    with known labels, by which its errors are told.
    """

    word_lists: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    templates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    random_sets: int = 1000
    pairs: str | None = None
    counterfactuals: str | None = None
    questions: str | None = None
    continuations: str | None = None
    classifier: str | None = None
    counted: str | None = None
    classifier_rows: str | None = None
    rows: int = 2000
    samples: int = 3
    length: int = 24
    input_embedding: bool = False

    requires: ClassVar = ("words",)
    read_from_file: ClassVar = {"word_lists": read_word_lists, "templates": read_templates}
    measures: ClassVar = (
        "bias.weat_effect_size",
        "bias.relative_norm_distance",
        "bias.random_words_larger_share",
        "bias.stereotype_preference",
        "bias.log_likelihood_difference",
        "bias.scoring_agreement",
        "bias.counterfactual_difference",
        "bias.counterfactual_excess",
        "bias.unknown_rate",
        "bias.stereotyped_answer_share",
        "bias.continuation_share",
        "bias.continuation_difference",
        "bias.continuation_gap",
    )

    def __post_init__(self) -> None:
        """Refuse word lists that are none, and too few sets."""
        check_templates(self.templates, check_word_lists(self.word_lists))
        if self.random_sets < 100:
            raise InputError(f"random_sets must be at least 100, got {self.random_sets}; pass 1000.")
        if self.rows < 10:
            raise InputError(f"rows must be at least 10, got {self.rows}; pass 2000.")
        if self.samples < 1 or self.length < 1:
            raise InputError(f"samples and length must be at least 1, got {self.samples} and {self.length}.")
        if self.continuations is None and (self.classifier or self.classifier_rows or self.counted):
            raise InputError("classifier, classifier_rows and counted are for continuations; name these too.")

    def check(self, subject: Subject) -> None:
        """Refuse files that do not hold what their setting says, before any auditor starts."""
        from auditkit.auditors.bias.inputs import (
            read_continuations,
            read_counterfactuals,
            read_labelled,
            read_pairs,
            read_questions,
        )

        for path, read in (
            (self.continuations, read_continuations),
            (self.classifier_rows, read_labelled),
            (self.pairs, read_pairs),
            (self.counterfactuals, read_counterfactuals),
            (self.questions, read_questions),
        ):
            if path is not None:
                read(path)
        if self.classifier is not None:
            from auditkit.auditors.bias.classifier import check_classifier

            check_classifier(self.classifier, self.counted, self.classifier_rows)

    def audit(self, subject: Subject) -> Evidence:
        """Hold every word list against the vectors, or score the user's sentences.

        Raises:
            NotRun: no word of any list is in the vocabulary, or no file of sentences is named.
        """
        from auditkit.auditors.bias.tested import lookup_of
        from auditkit.auditors.bias.vectors import vector_evidence
        from auditkit.models.capabilities import LanguageModel, TextVectors, WordVectors

        vectors = subject.audited.capability(WordVectors)
        if vectors is not None:
            lookup = lookup_of(vectors.words, vectors.vectors)
            return vector_evidence(subject, lookup, self.word_lists, self.random_sets)
        encoder = subject.audited.capability(TextVectors)
        if encoder is not None:
            from auditkit.auditors.bias.sentences import sentence_evidence

            return sentence_evidence(subject, encoder, self.word_lists, self.templates, self.random_sets)
        language = subject.audited.capability(LanguageModel)
        assert language is not None  # the only other capability of words
        parts = []
        if self.input_embedding:
            from auditkit.auditors.bias.input_embedding import embedded_words

            parts.append(vector_evidence(subject, embedded_words(language), self.word_lists, self.random_sets))
        if self.continuations is not None:
            parts.append(self._continued(subject, language))
        if not parts or self.pairs or self.counterfactuals or self.questions:
            from auditkit.auditors.bias.language import language_evidence

            given = {"pairs": self.pairs, "counterfactuals": self.counterfactuals, "questions": self.questions}
            parts.append(language_evidence(subject, language, **given, rows=self.rows))
        return joined_evidence(parts)

    def _continued(self, subject: Subject, language: LanguageModel) -> Evidence:
        from auditkit.auditors.bias.continuations import Settings, continuation_evidence

        assert self.continuations is not None
        settings = Settings(
            self.continuations,
            self.classifier,
            self.counted,
            self.classifier_rows,
            self.rows,
            self.samples,
            self.length,
        )
        return continuation_evidence(subject, language, settings)
