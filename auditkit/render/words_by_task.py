"""What the report says about an auditor where the task changes the question, and of an auditor of another package."""

from __future__ import annotations

from auditkit.evidence.messages import Message
from auditkit.render.words import AUDITORS, Words

OF_REGRESSIONS: dict[str, Words] = {
    "performance": Words(
        asked=Message(
            "How large are the errors of the predicted numbers, and are predictions too high or too low on average? "
            "For all records, and for each group separately."
        ),
        reading=Message(
            "The mean absolute error is the average size of an error. The mean error shows whether predictions are too "
            "high or too low on average. R2 compares the model with always predicting the mean. Compare the intervals "
            "of the groups rather than their values."
        ),
        does_not_show=AUDITORS["performance"].does_not_show,
        remedy=AUDITORS["performance"].remedy,
    ),
    "fairness": Words(
        asked=Message(
            "Does the model predict different numbers, or make larger errors, for some groups? The groups of each "
            "sensitive column, and of combinations of columns, are compared."
        ),
        reading=Message(
            "A difference in the mean prediction can reflect a difference in the actual outcomes. A difference in the "
            "mean error means that the model favours a group beyond its actual outcomes. 0 means no gap. The interval "
            "of a gap takes into account that the two most distant groups were picked."
        ),
        does_not_show=AUDITORS["fairness"].does_not_show,
        remedy=Message(
            "Check whether there is a documented, legitimate justification for the difference. If not, look for its "
            "cause (biased labels, proxies for the group, too few records of a group), then retrain."
        ),
    ),
}


OF_LANGUAGE: dict[str, Words] = {
    "language": Words(
        asked=Message(
            "How well does the model predict the tokens of texts, does it predict the texts of some groups worse, and "
            "do its probabilities hold?"
        ),
        reading=Message(
            "Bits per byte can be compared between models; perplexity only between models with the same tokens. Lower "
            "is better. A calibration error of 0 means that the likeliest next token is right as often as its "
            "probability says."
        ),
        does_not_show=(
            Message("It does not show whether generated texts are true, useful or harmless."),
            Message("It does not show why a group's texts are predicted worse: they may be harder for any model."),
        ),
        remedy=Message(
            "Train on more texts of the groups that are predicted worse, and compare with the model that training "
            "began at."
        ),
    ),
    "memorisation": Words(
        asked=Message(
            "Does the model give away what it was trained on? Attacks try to tell training texts from others, texts "
            "are continued, and secrets that were planted in training texts are asked for."
        ),
        reading=Message(
            "An area of 0.5 is chance. Membership is only measured where a classifier of the texts alone cannot tell "
            "the two sides apart. The exposure of canaries is compared with that of controls, which stand in no "
            "training text, and extraction with that of unseen texts: texts that follow a pattern come back without "
            "being remembered."
        ),
        does_not_show=(
            Message("It does not show that nothing else can be extracted: other prompts and attacks may give more."),
            Message("It does not show what was remembered of texts that were not sampled."),
        ),
        remedy=Message(
            "Remove duplicates from the training texts, train for fewer epochs, and audit again. Only training with "
            "differential privacy limits what any attack can learn; choose the author as its unit where people have "
            "several texts."
        ),
    ),
    "explainability": Words(
        asked=Message(
            "Which words before it make the next word of a text likelier, or less likely? The log-probability of one "
            "word of each sampled text is attributed to the words before it."
        ),
        reading=Message(
            "A share is a word's part of the sum of the absolute attributions of all words in these texts. Frequent "
            "words have large shares because they stand in many texts. If a check fails, the shares are not reliable."
        ),
        does_not_show=(
            Message(
                "It does not show why a model writes what it writes: only one next word of each text is explained."
            ),
            Message("It does not show causes outside the model, such as the training texts that taught it."),
        ),
        remedy=AUDITORS["explainability"].remedy,
    ),
    "robustness": Words(
        asked=Message(
            "How much does the model depend on how the beginning of a text is written? Words are misspelt, left out, "
            "or written in other letters, and what follows is scored again."
        ),
        reading=Message(
            "0 bits added means that the rest of the text is predicted as well as before. The flip rate is the share "
            "of texts whose likeliest next token, or chosen answer, is another one than before."
        ),
        does_not_show=(
            Message("It does not show how often such texts occur where the model is used."),
            Message("It does not show how the model withstands prompts that were written to mislead it."),
        ),
        remedy=Message(
            "Train with texts that are changed in the same ways, or correct texts before the model reads them."
        ),
    ),
}


def words_of(auditor: str, task: object) -> Words:
    """Return the words for an auditor, of a model of this task."""
    of_task = {"regression": OF_REGRESSIONS, "language": OF_LANGUAGE}.get(str(task), {}).get(auditor)
    return of_task or AUDITORS.get(auditor) or plugin_words(auditor)


def plugin_words(auditor: str) -> Words:
    """Return the words for an auditor that auditkit does not ship."""
    return Words(
        asked=Message(
            "The auditor '{auditor}' is not part of auditkit. It was added by another package, which documents it.",
            auditor=auditor,
        ),
        reading=Message(
            "Each measurement states its unit, its better direction, its definition and the software that computed it."
        ),
        does_not_show=(
            Message("auditkit judged these numbers by the policy. It did not check how they were computed."),
        ),
        remedy=Message("See the documentation of the package that provides this auditor."),
    )
