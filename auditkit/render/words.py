"""What the report says about each built-in auditor: what was asked, how to read the answer, what it does not show."""

from __future__ import annotations

from typing import NamedTuple

from auditkit.evidence.messages import Message


class Words(NamedTuple):
    """One auditor's plain words, a paragraph each; `does_not_show` is a list, `remedy` is for a limit that broke."""

    asked: str
    reading: str
    does_not_show: tuple[str, ...]
    remedy: str


AUDITORS: dict[str, Words] = {
    "performance": Words(
        asked=(
            Message(
                "How often is the model right, how well does it rank, and does a score of 70 % mean that "
                "seven in ten such cases turn out positive? Overall, and for each group by itself."
            )
        ),
        reading=(
            Message(
                "Compare groups by their intervals rather than by their values: where two intervals overlap "
                "widely, the data may not tell the groups apart. Balanced accuracy and ROC AUC do not profit "
                "from a rare class; accuracy does."
            )
        ),
        does_not_show=(
            Message("How the model does on data that are collected elsewhere, later, or in another way than these."),
            Message("Whether the labels themselves are right: a model that repeats a wrong label counts as correct."),
        ),
        remedy=(
            Message(
                "Find out where the errors lie (Weak spots lists such rows), and train again with more or "
                "better rows of that kind."
            )
        ),
    ),
    "fairness": Words(
        asked=(
            Message(
                "Does the model select, and err on, some groups more often than others? Rates are compared "
                "between the groups of each sensitive column, and of their intersections."
            )
        ),
        reading=(
            Message(
                "A demographic parity difference compares how often groups are selected, whatever their "
                "label; an equalized odds difference compares people who have the same label. Zero means no "
                "gap. A ratio of one means no gap. The interval of a gap allows for the choice of the two "
                "most distant groups. An impact ratio is a group's selection rate over the highest one; no "
                "number of it is a pass or a failure in law."
            )
        ),
        does_not_show=(
            Message("Why the groups differ, and whether the difference is justified: that is a judgement for people."),
            Message("Gaps in groups that are not recorded, or too small to be shown."),
            Message("Whether the labels already carry the unequal treatment that they are used to measure."),
        ),
        remedy=(
            Message(
                "Ask whether the difference has a reason that people can defend. If not, make it smaller: by "
                "better training data, by other thresholds (Tradeoff says what they would cost), or by "
                "training again for a smaller gap."
            )
        ),
    ),
    "weak_spots": Words(
        asked=(
            Message(
                "Where is the model wrong most often? Thousands of slices are tried: every value, or range "
                "of numbers, of every column, sensitive or not, and every pair of them."
            )
        ),
        reading=(
            Message(
                "A search this wide always finds bad slices by chance. So one half of the rows proposes, and "
                "the other half, which the search has not seen, confirms: where errors fall at random, "
                "anything at all is listed in at most one run of twenty."
            )
        ),
        does_not_show=(
            Message(
                "Why the model fails there: too few rows to learn from, a label that is hard to tell, or a lost column."
            ),
            Message("Weak spots of three columns or more, or too small to be confirmed."),
        ),
        remedy=Message(
            "Look at rows of these slices for wrong labels, lost values or too few examples; then train again."
        ),
    ),
    "proxies": Words(
        asked=(
            Message(
                "Could the model tell a person's group without being told it? A quick model predicts each "
                "sensitive column from the other columns that the audited model reads, and each of these "
                "columns is tried alone."
            )
        ),
        reading=(
            Message(
                "An area under the ROC curve of 0.5 is a coin, 1 is certainty. A high value means that "
                "leaving the sensitive column out of the model would not make it blind to the group."
            )
        ),
        does_not_show=(
            Message("That the audited model uses a proxy: only that it could."),
            Message("What a better predictor than the quick one would find: read the value as a lower bound."),
        ),
        remedy=(
            Message(
                "Decide which of these columns the model needs. Leaving out the sensitive column alone does "
                "not blind the model."
            )
        ),
    ),
    "tradeoff": Words(
        asked=(
            Message(
                "What would it cost to close the gap between groups by moving thresholds, without training "
                "again? One threshold for all, and one for each group, are set on half of the rows and "
                "judged on the other half."
            )
        ),
        reading=(
            Message(
                "Each point is a choice of thresholds: how large a gap remains, and how often the decisions "
                "are right. Where the line is flat, closing the gap is cheap."
            )
        ),
        does_not_show=(
            Message("Whether a threshold for each group is lawful or right: it treats people by their group."),
            Message("What training again would achieve ('auditkit mitigate' does that)."),
            Message("That equal rates are the right aim where the labels themselves are biased."),
        ),
        remedy=(
            Message(
                "Choose, and write down, how much accuracy a smaller gap is worth; then move thresholds, or "
                "train again."
            )
        ),
    ),
    "explainability": Words(
        asked=(
            Message(
                "What do the model's outputs rest on (columns, words, regions of an image), and how much of "
                "that falls on sensitive columns? Attributions are summed over everything that a column was "
                "encoded into, and averaged over a random sample of rows."
            )
        ),
        reading=(
            Message(
                "A share is a column's part of the sum of the absolute attributions. The completeness error "
                "says how much of the change in the output the attributions fail to account for; where it is "
                "large, do not believe the shares."
            )
        ),
        does_not_show=(
            Message("Causes: a column can carry the influence of another one that it goes along with."),
            Message("The reasons for one person's decision; these are averages over a sample."),
            Message(
                "That a sensitive column plays no part, when its own share is small: other columns can stand in for it."
            ),
            Message(
                "That anyone can make the change that would turn a decision: it is made on paper, in one or "
                "two columns."
            ),
        ),
        remedy=(
            Message(
                "Show nobody an explanation that fails its checks; try another method with --explain. Where "
                "a sensitive column weighs too much, train without it, and audit again: other columns may "
                "stand in for it."
            )
        ),
    ),
    "identity_terms": Words(
        asked=(
            Message(
                "Does a text get another score when nothing changes but the person it names? Words of "
                "gender, first names and origins are swapped, in made-up texts and in the audited ones, and "
                "the scores compared."
            )
        ),
        reading=(
            Message(
                "A difference of zero means that the swap does not move the score. The score gap is the "
                "largest difference between two groups; the decision flip rate says on how many of the "
                "audited texts some swap changes the decision. A term that the model's vocabulary does not "
                "hold is read as an unknown word: where the known terms of one group are few, its result is "
                "that of an unknown word."
            )
        ),
        does_not_show=(
            Message(
                "Whether the swapped text is a likely one: a swap changes single words, and leaves articles and facts."
            ),
            Message("How texts by people of a group are treated: only texts that name the group."),
            Message("Groups and terms that are not listed; --identity-terms adds more."),
        ),
        remedy=Message("Add training texts in which these terms are swapped, with the same label, and train again."),
    ),
    "leakage": Words(
        asked=(
            Message(
                "Can someone who has the model tell whether a row was among its training rows? Membership "
                "inference attacks are made on it, with shadow models: networks like it that are trained on "
                "known halves of the rows. And does it help to guess a sensitive value of a training row "
                "that is known but for that value?"
            )
        ),
        reading=(
            Message(
                "An area of 0.5, and as many hits as false alarms, are chance. What counts is how many "
                "training rows are found at few false alarms: an attacker who is sure of a few rows has hurt "
                "those people, whatever the average says. The controls say whether an attack on nothing "
                "reads as chance. A sensitive value counts as remembered as far as the model helps more to "
                "guess it of training rows than of rows that it never saw."
            )
        ),
        does_not_show=(
            Message(
                "That nothing leaks: a stronger attack, or more shadow models, can find more. Only "
                "differential privacy bounds all attacks."
            ),
            Message("Whether an attacker could rebuild whole rows, or guess columns that are not named as sensitive."),
        ),
        remedy=(
            Message(
                "Train for fewer epochs, or with more rows, and audit again. Only training with differential "
                "privacy bounds every attack."
            )
        ),
    ),
    "privacy": Words(
        asked=(
            Message(
                "What would it cost to train this model so that no single row of its training data can "
                "matter much? The same architecture is trained again, from fresh weights, with differential "
                "privacy (DP-SGD), and set beside the original."
            )
        ),
        reading=(
            Message(
                "Epsilon bounds how much the presence of one row can change what the training may yield: "
                "smaller is more private, and each step of one multiplies the odds by at most 2.7. Read "
                "accuracy and gaps beside it: privacy is rarely paid for equally by all groups."
            )
        ),
        does_not_show=(
            Message("That the audited model is private: the guarantee belongs to the retrained one."),
            Message("Protection for a person with several rows, unless the ledger's unit says so."),
            Message("Hardening against side channels of floating-point noise and of the random number generator."),
        ),
        remedy=(
            Message(
                "Train with a smaller epsilon, or write down why this one will do. Where an attack shows "
                "more than a guarantee allows, rely on no such guarantee until the fault is found."
            )
        ),
    ),
    "robustness": Words(
        asked=(
            Message(
                "When does the model break? A sample of the rows is damaged in stated ways, more and more, "
                "and the answers are compared with those to the same rows as they are; then an attacker who "
                "knows the model tries to turn them."
            )
        ),
        reading=(
            Message(
                "A curve that rises early means that small damages suffice to cost accuracy. Decisions can "
                "change without a loss, where as many become right as become wrong. A share of decisions "
                "that an attack turns is a lower bound: another attack may turn more."
            )
        ),
        does_not_show=(
            Message("How often such damages occur where the model is used, and which of them can."),
            Message("How the model stands up to a stronger attack, or to training rows that were tampered with."),
            Message("Damages that keep to what is possible together: each value is changed by itself."),
        ),
        remedy=Message(
            "Check inputs before they reach the model, and train on rows that are damaged in the same ways."
        ),
    ),
    "data": Words(
        asked=(
            Message(
                "Are the data fit to audit with? Missing values, repeated rows, columns that give the label "
                "away, group sizes."
            )
        ),
        reading=Message("What is found here limits what every other part of this report can claim."),
        does_not_show=(Message("Whether the data resemble the people on whom the model will be used."),),
        remedy=(
            Message(
                "Mend the data before believing other numbers: take out rows that the model was trained on, "
                "and columns that were filled in after the label was known."
            )
        ),
    ),
}
"""The auditors that auditkit ships; any other one is introduced by its name."""


OF_REGRESSIONS: dict[str, Words] = {
    "performance": Words(
        asked=(
            Message(
                "How far off are the model's numbers, and are they too high or too low on average? Overall, "
                "and for each group by itself."
            )
        ),
        reading=(
            Message(
                "The mean absolute error says how far off a prediction is; the mean error, whether "
                "predictions are too high or too low on average; R2, how much better they are than the mean "
                "of the labels. Compare groups by their intervals rather than by their values."
            )
        ),
        does_not_show=AUDITORS["performance"].does_not_show,
        remedy=AUDITORS["performance"].remedy,
    ),
    "fairness": Words(
        asked=(
            Message(
                "Does the model predict other numbers, or err more, for some groups than for others? Groups "
                "of each sensitive column, and of their intersections, are compared."
            )
        ),
        reading=(
            Message(
                "A difference in the mean prediction may come from a difference in the labels; a difference "
                "in the mean error means that the model favours a group beyond its labels. Zero means no "
                "gap. The interval of a gap allows for the choice of the two most distant groups."
            )
        ),
        does_not_show=AUDITORS["fairness"].does_not_show,
        remedy=(
            Message(
                "Ask whether the difference has a reason that people can defend. If not, look for what "
                "causes it: labels that carry it, columns that stand in for a group, too few rows of a "
                "group; then train again."
            )
        ),
    ),
}


def words_of(auditor: str, task: object) -> Words:
    """Return the words for an auditor, of a model of this task."""
    of_task = {"regression": OF_REGRESSIONS}.get(str(task), {}).get(auditor)
    return of_task or AUDITORS.get(auditor) or plugin_words(auditor)


def plugin_words(auditor: str) -> Words:
    """Return the words for an auditor that auditkit does not ship."""
    return Words(
        asked=(
            Message(
                "The auditor '{auditor}' is not part of auditkit: another package added it, and what it asks "
                "is described there.",
                auditor=auditor,
            )
        ),
        reading=Message(
            "Each measurement names its unit, its better direction, its definition and the software that computed it."
        ),
        does_not_show=(
            Message("auditkit has judged these numbers by the policy; it has not checked how they were computed."),
        ),
        remedy=Message("What its numbers ask for is described where this auditor comes from."),
    )
