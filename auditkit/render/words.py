"""What the report says about each built-in auditor: what was asked, how to read the answer, what it does not show."""

from __future__ import annotations

from typing import NamedTuple

from auditkit.evidence.messages import Message


class Words(NamedTuple):
    """One auditor's plain words, a paragraph each.

    Each item of `does_not_show` is a denial by itself; `remedy` is what to do where a limit was exceeded.
    """

    asked: str
    reading: str
    does_not_show: tuple[str, ...]
    remedy: str


AUDITORS: dict[str, Words] = {
    "performance": Words(
        asked=Message(
            "How often is the model right, how well does it rank cases, and are its probabilities accurate? For all "
            "records, and for each group separately."
        ),
        reading=Message(
            "Compare the intervals of the groups rather than their values: where two intervals overlap widely, the "
            "data may not distinguish the groups. Accuracy looks high when one class is rare; balanced accuracy and "
            "ROC AUC do not."
        ),
        does_not_show=(
            Message("It does not show how the model performs on data collected elsewhere, later or differently."),
            Message(
                "It does not show whether the labels are correct: a model that repeats a wrong label counts as right."
            ),
        ),
        remedy=Message(
            "Find out where the errors are (“Weak spots” lists such records), then retrain with more or better records "
            "of that kind."
        ),
    ),
    "fairness": Words(
        asked=Message(
            "Does the model select some groups more often than others, or make more errors on them? The groups of each "
            "sensitive column, and of combinations of columns, are compared."
        ),
        reading=Message(
            "The demographic parity difference compares how often groups are selected, whatever their actual outcome. "
            "The equalized odds difference compares people with the same actual outcome. A difference of 0, or a ratio "
            "of 1, means no gap. The interval of a gap takes into account that the two most distant groups were "
            "picked. An impact ratio is a group's selection rate divided by the highest one; it is not a legal "
            "finding."
        ),
        does_not_show=(
            Message("It does not show why groups differ, or whether the difference is justified: people must judge."),
            Message("It does not show gaps in groups that are not recorded, or are too small to be judged."),
            Message("It does not show whether the labels used for the comparison are themselves biased."),
        ),
        remedy=Message(
            "Check whether there is a documented, legitimate justification for the difference. If not, reduce it: with "
            "better training data, with other selection thresholds (“Tradeoff” shows what they would cost), or by "
            "retraining for a smaller gap."
        ),
    ),
    "weak_spots": Words(
        asked=Message(
            "In which parts of the data is the model wrong most often? Every value or range of every column, and every "
            "pair of them, is tried."
        ),
        reading=Message(
            "A search this wide always finds some bad results by chance. So one half of the records is searched and "
            "the other half confirms what was found: false alarms occur in at most 5 % of audits."
        ),
        does_not_show=(
            Message("It does not show why the model fails there."),
            Message(
                "It does not show weak spots that take three or more columns to describe, or are too small to confirm."
            ),
        ),
        remedy=Message(
            "Examine records of these weak spots for wrong labels, missing values or too few examples, then retrain."
        ),
    ),
    "proxies": Words(
        asked=Message(
            "Could the model infer a person's group from other columns? A simple model predicts each sensitive column "
            "from the other columns that the audited model reads, together and one by one."
        ),
        reading=Message(
            "Area under the ROC curve: 0.5 = chance, 1 = perfect. A high value means that removing the sensitive "
            "column would not prevent the model from using the group."
        ),
        does_not_show=(
            Message("It does not show that the audited model uses a proxy, only that it could."),
            Message("It does not show what a better predictor would find: the values are lower bounds."),
        ),
        remedy=Message(
            "Decide which of these columns the model needs. Removing the sensitive column alone is not enough."
        ),
    ),
    "tradeoff": Words(
        asked=Message(
            "How much accuracy would it cost to close the gap between groups by changing selection thresholds, without "
            "retraining? Thresholds are chosen on one half of the records and tested on the other."
        ),
        reading=Message(
            "Each point is one choice of thresholds: the gap that remains, and the accuracy. Where the line is flat, "
            "the gap can be closed at little cost."
        ),
        does_not_show=(
            Message("It does not show whether different thresholds for different groups are lawful or right."),
            Message("It does not show what retraining would achieve; use 'auditkit mitigate' for that."),
            Message("It does not show that equal rates are the right aim where the labels themselves are biased."),
        ),
        remedy=Message(
            "Decide how much accuracy a smaller gap is worth, document the decision, then change the thresholds or "
            "retrain."
        ),
    ),
    "explainability": Words(
        asked=Message(
            "Which inputs (columns, words, image regions) determine the model's outputs, and how much of that is due "
            "to sensitive columns? Attributions are averaged over a random sample of records."
        ),
        reading=Message(
            "A share is a column's part of the sum of the absolute attributions. The completeness error is the part of "
            "the change in the output that the attributions do not account for; where it is large, the shares are not "
            "reliable."
        ),
        does_not_show=(
            Message("It does not show causes: a column can carry the influence of another, correlated column."),
            Message("It does not show the reasons for an individual decision: these are averages over a sample."),
            Message(
                "It does not show that a sensitive column has no influence when its own share is small: other columns "
                "can stand in for it."
            ),
            Message(
                "It does not show that a person can make the change that would reverse a decision: only one or two "
                "columns are changed, on paper."
            ),
        ),
        remedy=Message(
            "Do not use an explanation that fails its checks; try another method with --explain. Where a sensitive "
            "column has too much influence, train without it and audit again, because other columns can stand in for "
            "it."
        ),
    ),
    "identity_terms": Words(
        asked=Message(
            "Does the score of a text change when only the person it names changes? Gender words, first names and "
            "origins are swapped, in template sentences and in the audited texts."
        ),
        reading=Message(
            "A difference of 0 means that the swap does not change the score. The score gap is the largest difference "
            "between two groups. The decision flip rate is the share of audited texts in which some swap changes the "
            "decision. A term outside the model's vocabulary is read as an unknown word: where few terms of a group "
            "are known, its result is that of an unknown word."
        ),
        does_not_show=(
            Message(
                "It does not show whether a swapped text is realistic: single words are exchanged, and nothing around "
                "them."
            ),
            Message(
                "It does not show how texts written by members of a group are treated, only texts that name the group."
            ),
            Message("It does not cover groups and terms that are not listed; add more with --identity-terms."),
        ),
        remedy=Message("Add training texts in which these terms are swapped, with the same label, and retrain."),
    ),
    "leakage": Words(
        asked=Message(
            "Can someone with access to the model tell whether a record was in its training data, or infer a sensitive "
            "value of a training record? Membership and attribute inference attacks are carried out on it."
        ),
        reading=Message(
            "An area of 0.5, and as many true as false positives, is chance. What matters is how many training records "
            "are identified at a low false positive rate: an attacker who is sure of a few records harms those people, "
            "whatever the average. The controls check that an attack on nothing gives chance. A sensitive value counts "
            "as memorised only as far as the model helps more for training records than for records it never saw."
        ),
        does_not_show=(
            Message(
                "It does not show that nothing leaks: a stronger attack can find more. Only differential privacy "
                "bounds all attacks."
            ),
            Message(
                "It does not show whether an attacker could reconstruct whole records, or infer columns that are not "
                "named as sensitive."
            ),
        ),
        remedy=Message(
            "Train for fewer epochs or with more records, and audit again. Only training with differential privacy "
            "bounds every attack."
        ),
    ),
    "private_training": Words(
        asked=Message(
            "Does the model's own file claim that it was trained with differential privacy, and is its epsilon what "
            "the noise, the sampling and the steps of its privacy ledger give?"
        ),
        reading=Message(
            "Epsilon bounds how much one unit of privacy (a record, or all records of a person) can change the result "
            "of the training: smaller is more private. An increase of 1 multiplies the odds by at most 2.7. The ledger "
            "names the unit, and what the budget does not cover."
        ),
        does_not_show=(
            Message("It does not show that the training was run as its ledger says: no attack was made here."),
            Message("It does not show that people with several records are protected, unless the ledger says so."),
            Message("It does not show that other models or results from the same data are within this budget."),
        ),
        remedy=Message(
            "Train with a smaller epsilon (auditkit retrain --epsilon), or document why this one is acceptable."
        ),
    ),
    "privacy": Words(
        asked=Message(
            "What would it cost to train this model with differential privacy? The same architecture is retrained from "
            "fresh weights (DP-SGD) and compared with the original."
        ),
        reading=Message(
            "Epsilon bounds how much one record can change the result of the training: smaller is more private. An "
            "increase of 1 multiplies the odds by at most 2.7. Read accuracy and gaps beside it: not all groups pay "
            "equally for privacy."
        ),
        does_not_show=(
            Message("It does not show that the audited model is private: the guarantee covers the retrained one."),
            Message("It does not show that a person with several records is protected, unless the ledger says so."),
            Message(
                "It does not show protection against side channels of floating-point arithmetic or of the random "
                "number generator."
            ),
        ),
        remedy=Message(
            "Train with a smaller epsilon, or document why this one is acceptable. Where an attack shows more than the "
            "guarantee allows, do not rely on the guarantee until the fault is found."
        ),
    ),
    "robustness": Words(
        asked=Message(
            "When does the model fail? Inputs are corrupted in stated ways, with increasing strength, and predictions "
            "are compared with those for the original inputs. An adversarial attack then tries to change decisions."
        ),
        reading=Message(
            "A curve that rises early means that small corruptions reduce accuracy. Decisions can change without a "
            "loss of accuracy, where as many become right as become wrong. The share of decisions that an attack "
            "changes is a lower bound: another attack may change more."
        ),
        does_not_show=(
            Message("It does not show how often, or which of, these corruptions occur where the model is used."),
            Message("It does not show how the model withstands a stronger attack, or manipulated training data."),
            Message("It does not show realistic combinations of changes: each value is corrupted separately."),
        ),
        remedy=Message(
            "Validate inputs before they reach the model, and train with records that are corrupted in the same ways."
        ),
    ),
    "bias": Words(
        asked=Message(
            "With what does the model associate groups of people? In word vectors, words that name groups are compared "
            "with words for home and work, peace and violence, and the like. A language model is asked which of two "
            "sentences, or of three answers, it finds more probable."
        ),
        reading=Message(
            "Word vectors: an effect size of 0 means no association; 0.2 is called small, 0.5 medium and 0.8 large. "
            "Its interval says what other words of the same kinds could have given. Where random words often reach an "
            "effect, it says little about the attribute. Language models: a share of 50 %, or a mean difference of 0, "
            "means no preference. Where the detectable effect is large, there are too few words or sentences to "
            "exclude a bias."
        ),
        does_not_show=(
            Message("It does not show that a system built on the model treats people differently; audit that system."),
            Message("It does not show associations of groups that are in no word list, sentence or question."),
            Message("It does not show that a bias is absent where an interval contains 0."),
        ),
        remedy=Message(
            "Do not use these associations in decisions about people. Test the system that is built on the model for "
            "differences between groups, and choose another model, or train on other texts, where they remain."
        ),
    ),
    "generation": Words(
        asked=Message(
            "Are samples like real rows that the generator never saw, do they cover what is real, and are classes and "
            "groups left out?"
        ),
        reading=Message(
            "Compare each number with its ceiling, which is what real rows reach. Low precision: samples that look "
            "like no real row. Low recall or coverage: real rows that no sample is like. A class share ratio near 0: a "
            "class that is hardly drawn. Copies of training rows reach every ceiling, so that quality counts only "
            "beside a low share of copies."
        ),
        does_not_show=(
            Message("It does not show that samples are new: see memorisation."),
            Message("It does not show whether people take samples for real."),
            Message("It does not show faults that the features, by which rows are compared, do not see."),
        ),
        remedy=Message(
            "Train for longer or on more rows of the classes that are left out, and draw samples of these classes by "
            "themselves where the generator allows it."
        ),
    ),
    "memorisation": Words(
        asked=Message(
            "Are samples copies of training rows, and do samples or the discriminator tell who was in the training "
            "data?"
        ),
        reading=Message(
            "Near copies are counted in excess of those of unseen rows: 0 means that nothing is remembered. An area of "
            "0.5 is chance; it is only measured where training rows and unseen rows cannot be told apart without the "
            "generator."
        ),
        does_not_show=(
            Message("It does not show that no other attack succeeds, such as one that knows the generator's weights."),
            Message("It does not show copies of parts of a row, such as of a face in another picture."),
            Message("It does not show that the generator is private; only training with differential privacy does."),
        ),
        remedy=Message(
            "Remove duplicates from the training rows, train for fewer passes or with differential privacy (auditkit "
            "retrain), and audit again. Do not release samples that are copies."
        ),
    ),
    "synthetic": Words(
        asked=Message(
            "Are synthetic records like real ones, does a model learn from them what real ones teach, and do they give "
            "away the people whose records they were made from?"
        ),
        reading=Message(
            "Every number is held against real records that the generator never saw. A risk of 0 means that an attack "
            "learns no more about training records than about those; a loss of 0 means that synthetic records teach as "
            "much as real ones. Copies of real records are as useful as these, so that usefulness says nothing where "
            "a risk is high."
        ),
        does_not_show=(
            Message("It does not show what other attacks, or an attacker who knows more, would gain."),
            Message("It does not show that synthetic records are anonymous in the sense of a law."),
            Message("It does not show that the generator is private; only training with differential privacy does."),
        ),
        remedy=Message(
            "Train the generator with differential privacy or on more records, and take synthetic records out that are "
            "nearest to a training record. Where columns or groups are missing, look at how the generator models them."
        ),
    ),
    "data": Words(
        asked=Message(
            "Are the data suitable for an audit? Missing values, duplicates, columns that reveal the label, and group "
            "sizes are checked."
        ),
        reading=Message("Data problems limit every other result."),
        does_not_show=(
            Message("It does not show whether the data resemble the people on whom the model will be used."),
        ),
        remedy=Message(
            "Correct the data first: remove records that the model was trained on, and columns that were filled in "
            "after the outcome was known."
        ),
    ),
}
"""The auditors that auditkit ships; any other one is introduced by its name."""
