"""What a private training claims, as its ledger states it, and what an attack by canaries says of that claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.auditors.privacy.comparison import retrained, runs_in_words
from auditkit.auditors.privacy.epsilon_bounds import OneRun, Power, one_run_lower_bound, one_run_power
from auditkit.engine.subject import Subject
from auditkit.evidence.measurement import Column, Facts, Measurement, Slice, Table
from auditkit.evidence.messages import Message
from auditkit.models.predict import predict
from auditkit.progress import Progress, part_of
from auditkit.schema.schema import Labels
from auditkit.training.dp.accounting import Ledger, TwoAccountants, composed_epsilon, two_accountants

if TYPE_CHECKING:
    from torch import nn

    from auditkit.tasks.objectives import Objective
    from auditkit.training.dp.canaries import CanaryScores

AUDITED, EXCESS = "privacy.audited_epsilon", "privacy.audited_epsilon_excess"
BLACK_BOX = "privacy.black_box_audited_epsilon"

STEINKE = "Steinke, Nasr & Jagielski 2023 (arXiv:2305.08846), canaries in one run"
MISLABELLED_SHARE = 0.05
"""At most this share of the training rows become black-box canaries, so that the model still learns."""
FEWEST_CANARIES = 10
LEAST_POWER = 0.9
"""A test that finds a fifth of the noise in fewer of the simulated trainings is called weak."""


class Tested(NamedTuple):
    """The ledger of a training with canaries in it, and what two attacks on it show: the second may lack rows.

    `without_noise` is the bound that the first attack would give if the same steps had no noise, and `power` in how
    many simulated trainings with a fifth of the planned noise it would contradict the claim.
    """

    ledger: Ledger
    white_box: OneRun
    without_noise: float
    power: Power
    black_box: OneRun | None


def attack_claim(
    subject: Subject,
    inputs: NDArray[Any],
    labels: Labels,
    objective: Objective,
    claimed: Ledger,
    *,
    canary_count: int,
    bound_count: int,
    progress: Progress,
) -> Tested:
    """Retrain once more as `claimed`, with canaries of both kinds in it, and return what their scores show.

    White-box canaries are single weights that an attacker watches in every step. Black-box canaries are training rows
    with a wrong label: a fair coin puts each in or leaves the row out, and an attacker who sees the last weights
    alone asks how much nearer to the wrong label they are than the audited model. This bound and the others of
    `bound_count` hold together at the level.
    """
    from auditkit.training.dp.dp_sgd import fit_private
    from auditkit.training.dp.plan import PrivateSettings

    level = 1 - (1 - subject.conf_level) / bound_count
    seen: list[CanaryScores] = []

    def bound(scores: NDArray[np.float64], included: NDArray[np.bool_]) -> OneRun:
        return one_run_lower_bound(scores, included, delta=claimed.delta, level=level)

    chosen, included, given = _mislabelled(subject, labels, canary_count)
    kept = np.ones(len(labels), dtype=bool)
    kept[chosen[~included]] = False
    module = subject.model.fresh(subject.seed)
    ledger = fit_private(
        module,
        inputs[kept],
        given[kept],
        PrivateSettings(
            epsilon=claimed.target_epsilon,
            delta=claimed.delta,
            seed=subject.seed,
            clipping="opacus" if claimed.clipping == "ghost" or claimed.clipping == "hooks" else claimed.clipping,
            canaries=canary_count,
        ),
        device=subject.device,
        objective=objective,
        on_canaries=seen.append,
        progress=part_of(progress, 0, 1, "testing the claim: "),
    )
    (planted,) = seen
    black_box = None
    if len(chosen):
        black_box = bound(_nearness(subject, module, inputs[chosen], chosen, given[chosen]), included)
    white_box, without_noise = (bound(scores, planted.included) for scores in (planted.observed, planted.without_noise))
    power = one_run_power(
        planted.simulated, planted.simulated_included, ledger.epsilon, delta=claimed.delta, level=level
    )
    return Tested(ledger, white_box, without_noise.bound, power, black_box)


def _nearness(
    subject: Subject, module: nn.Module, inputs: NDArray[Any], chosen: NDArray[np.int64], given: Labels
) -> NDArray[np.float64]:
    """Return how much nearer to the wrong labels of the chosen rows a retrained network is than the audited model."""
    assert subject.training_inputs is not None
    after, before = (
        subject.task.nearness(predict(network, rows, subject.schema, device=subject.device), given)
        for network, rows in ((module, inputs), (subject.model.module, subject.training_inputs[chosen]))
    )
    return np.asarray(after - before)


def _mislabelled(
    subject: Subject, labels: Labels, canary_count: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_], Labels]:
    """Return the rows that become black-box canaries, which of them are included, and all labels with theirs wrong."""
    generator = np.random.default_rng(subject.seed)
    count = min(canary_count, int(MISLABELLED_SHARE * len(labels)))
    chosen = generator.choice(len(labels), size=count if count >= FEWEST_CANARIES else 0, replace=False)
    included = generator.random(len(chosen)) < 0.5
    given = labels.copy()
    given[chosen] = subject.task.mislabelled(labels[chosen], generator)
    return chosen, included, given


def claim_measurements(tested: dict[str, Tested]) -> list[Measurement]:
    """Return the lower bounds on epsilon, and by how much the largest exceeds its claim."""
    count = next(iter(tested.values())).white_box.canary_count
    few = Message(
        "no labels were made wrong: that takes {fewest_canaries} rows in {mislabelled_share:.0%}",
        fewest_canaries=FEWEST_CANARIES,
        mislabelled_share=MISLABELLED_SHARE,
    )
    runs = {name: (part.white_box, part.black_box) for name, part in tested.items()}
    excess = [run.bound - tested[name].ledger.epsilon for name, pair in runs.items() for run in pair if run]
    return [
        Measurement(
            id=AUDITED,
            by=("retraining",),
            unit="epsilon",
            better="neither",
            count=count,
            slices=tuple(_bound(name, white, few) for name, (white, _) in runs.items()),
            definition=f"{STEINKE}: white-box; a lower bound, which proves little while it lies under the claim",
        ),
        Measurement(
            id=BLACK_BOX,
            by=("retraining",),
            unit="epsilon",
            better="neither",
            count=max(black.canary_count if black else 0 for _, black in runs.values()),
            slices=tuple(_bound(name, black, few) for name, (_, black) in runs.items()),
            definition=f"{STEINKE}: black-box, mislabelled rows; a lower bound, which is usually 0",
        ),
        Measurement(
            id=EXCESS,
            unit="epsilon",
            better="lower",
            count=count,
            value=max(excess),
            definition=f"{STEINKE}; the largest lower bound minus its claim: above 0 a claim is false",
        ),
    ]


def _bound(name: str, run: OneRun | None, few: str) -> Slice:
    if run is None:
        return Slice(group=retrained(name), value=None, count=0, reason=few)
    return Slice(group=retrained(name), value=run.bound, count=run.guess_count)


def claims_table(tested: dict[str, Tested], level: float) -> Table:
    """Return each claim beside what the two attacks prove, and the most that they could have proved."""
    rows = []
    for name, part in tested.items():
        for attacker, run, without_noise, power in (
            (Message("every step"), part.white_box, part.without_noise, part.power.rate),
            (Message("the last weights alone"), part.black_box, None, None),
        ):
            if run is None:
                continue
            claim = part.ledger.epsilon
            result = _result(run, run.ceiling if without_noise is None else without_noise, power, claim)
            guesses = Message(
                "{correct_count:,} of {guess_count:,}", correct_count=run.correct_count, guess_count=run.guess_count
            )
            rows.append((name, attacker, claim, run.bound, without_noise, power, run.ceiling, guesses, result))
    return Table(
        title=Message("Is the claim true? An attack on the retraining"),
        note=(
            Message(
                "Each retraining was made once more with canaries, each in it by a fair coin, and an attacker guessed "
                "which. One attacker sees every step, and watches single weights that the canaries pull. The other "
                "sees the last weights alone, and looks for training rows with a wrong label; it usually proves "
                "nothing. All lower bounds hold together at {value:g} %. Without noise: the bound that the same steps "
                "would give with no noise at all. A fifth of the noise: how often the bound exceeded the claim in "
                "{run_count} simulated trainings that add a fifth of the planned noise. The ceiling is the bound if "
                "every guess had been right. A bound above the claim proves a fault; one below it proves no privacy.",
                value=level * 100,
                run_count=next(iter(tested.values())).power.run_count,
            )
        ),
        columns=(
            Column(name="retraining"),
            Column(name=Message("the attacker sees")),
            Column(name=Message("claimed epsilon"), unit="epsilon"),
            Column(name=Message("lower bound"), unit="epsilon"),
            Column(name=Message("without noise"), unit="epsilon"),
            Column(name=Message("a fifth of the noise found"), unit="rate"),
            Column(name=Message("ceiling"), unit="epsilon"),
            Column(name=Message("guessed right")),
            Column(name=Message("result")),
        ),
        rows=tuple(rows),
    )


def _result(run: OneRun, most: float, power: float | None, claim: float) -> Message:
    """Say what a bound shows of a claim; `most` is the largest that the attack could have given."""
    if run.bound > claim:
        return Message("the claim is false")
    if most <= claim:
        return Message("cannot tell: the test is too weak for this claim")
    if power is not None and power < LEAST_POWER:
        return Message("no contradiction, but the test may miss a fifth of the noise")
    return Message("no contradiction")


def weak_test_notes(tested: dict[str, Tested]) -> list[str]:
    """Return a note for each claim that the planted canaries could not contradict, or not reliably."""
    return [note for name, part in tested.items() if (note := _weak_test_note(name, part)) is not None]


def _weak_test_note(name: str, part: Tested) -> Message | None:
    count, claim = part.white_box.canary_count, part.ledger.epsilon
    if part.without_noise <= claim:
        return Message(
            "The canaries cannot test {name}: {count:,} of them would give a bound of {most:.2f} if the training added "
            "no noise at all, which is not above the claim of {claim:.2f}. More canaries (--canaries), or a smaller "
            "epsilon, would make a test; a network holds at most one canary for each of its weights.",
            name=name,
            count=count,
            most=part.without_noise,
            claim=claim,
        )
    if part.power.rate < LEAST_POWER:
        return Message(
            "The canaries of {name} show a training without noise, but may miss one that adds a fifth of the planned "
            "noise: {count:,} canaries found it in {found_count} of {run_count} simulated trainings (claim "
            "{claim:.2f}). More canaries (--canaries), or a smaller epsilon or delta, would make a stronger test; a "
            "network holds at most one canary for each of its weights.",
            name=name,
            count=count,
            found_count=part.power.found_count,
            run_count=part.power.run_count,
            claim=claim,
        )
    return None


CLIPPING = {
    "bookkeeping": Message("book-keeping, out of one backward pass"),
    "chunked": Message("chunks, from the gradient of each row"),
    "ghost": Message("Opacus's ghost clipping, out of two backward passes"),
    "hooks": Message("Opacus's hooks, from the gradient of each row"),
}
"""How rows were clipped, in words; each way was first tried against a loop over rows."""


Statement = tuple[str, str, str]
"""A line of a ledger: its key, what it states, and the text."""


def ledger_facts(name: str, ledger: Ledger, all_runs: Sequence[Ledger] = ()) -> Facts:
    """Return the ledger as statements a reader can check, with what the budget does not cover.

    `all_runs` are the trainings on the same rows that whoever chose this one may have looked at, it among them.
    """
    rows: tuple[Statement, ...] = (
        *_guarantee(ledger),
        *_steps(ledger),
        *_trainings(ledger, all_runs),
        ("initial_weights", Message("Initial weights"), ledger.initial_weights),
        ("trained_part", Message("Trained"), ledger.trained_part),
        ("noise_seed", Message("Noise seed"), ledger.seed_statement),
        (
            "library",
            Message("Library"),
            Message("Opacus {opacus}, torch {torch}", opacus=ledger.opacus, torch=ledger.torch),
        ),
        *(("not_covered", Message("Not covered"), statement) for statement in ledger.not_covered),
    )
    return Facts(
        id="privacy_ledger",
        title=Message("Privacy ledger, {name}", name=name),
        keys=tuple(key for key, _, _ in rows),
        rows=tuple((label, text) for _, label, text in rows),
    )


def _guarantee(ledger: Ledger) -> tuple[Statement, ...]:
    """Return what is guaranteed, to whom, and against whom."""
    return (
        (
            "guarantee",
            Message("Guarantee"),
            Message(
                "({epsilon:.4g}, {delta:.2g})-differential privacy ({upper} accountant)",
                epsilon=ledger.epsilon,
                delta=ledger.delta,
                upper=ledger.accountant.upper(),
            ),
        ),
        (
            "planned_with",
            Message("Planned with"),
            Message(
                "epsilon at most {target_epsilon:g}; RDP accountant {epsilon_rdp:.4g}",
                target_epsilon=ledger.target_epsilon,
                epsilon_rdp=ledger.epsilon_rdp,
            ),
        ),
        ("accountants", Message("Computed again by two accountants"), _both(two_accountants(ledger))),
        ("mechanism", Message("Mechanism"), ledger.mechanism),
        ("trust_model", Message("Trust model"), ledger.trust_model),
        ("unit_of_privacy", Message("Unit of privacy"), ledger.unit_of_privacy),
        ("contribution_bound", Message("Contribution bound"), ledger.contribution_bound),
        ("neighbouring_relation", Message("Neighbouring relation"), ledger.neighbouring_relation),
    )


def _both(found: TwoAccountants) -> str:
    """Return what both accountants compute, and that the smaller upper bound is stated."""
    if found.prv is None:
        return Message(
            "RDP accountant {rdp:.4g}, which is stated; the PRV accountant has no result for so large a loss",
            rdp=found.rdp,
        )
    return Message(
        "PRV accountant {prv:.4g}, RDP accountant {rdp:.4g}: both are upper bounds, and the smaller one is stated",
        prv=found.prv,
        rdp=found.rdp,
    )


def _steps(ledger: Ledger) -> tuple[Statement, ...]:
    """Return how rows were sampled and clipped, and noise was added, in how many steps."""
    return (
        (
            "row_count",
            Message("Rows n"),
            Message("{row_count:,} (1/n = {value:.2g})", row_count=ledger.row_count, value=1 / ledger.row_count),
        ),
        ("sampling", Message("Sampling"), ledger.sampling),
        (
            "expected_batch",
            Message("Expected batch"),
            Message("{expected_batch_size:,} rows", expected_batch_size=ledger.expected_batch_size),
        ),
        ("noise_multiplier", Message("Noise multiplier"), f"{ledger.noise_multiplier:.4g}"),
        ("clipping_norm", Message("Clipping norm"), f"{ledger.max_grad_norm:g}"),
        ("clipping", Message("Clipping by"), CLIPPING[ledger.clipping]),
        *(("clipping_passed_over", Message("Clipping passed over"), why) for why in ledger.clipping_passed_over),
        ("steps", Message("Steps"), Message("{steps:,} ({epochs} epochs)", steps=ledger.steps, epochs=ledger.epochs)),
        *(
            (
                (
                    "lost_steps",
                    Message("Lost and paid for"),
                    Message("{lost_steps:,} steps, by a kill", lost_steps=ledger.lost_steps),
                ),
            )
            if ledger.lost_steps
            else ()
        ),
    )


def _trainings(ledger: Ledger, all_runs: Sequence[Ledger]) -> tuple[Statement, ...]:
    """Return what the budget is with the other trainings on the same rows."""
    together = (
        Message(
            "epsilon {composed_epsilon:.4g} for {runs_in_words}, whichever is chosen (RDP accountant)",
            composed_epsilon=composed_epsilon(all_runs, ledger.delta),
            runs_in_words=runs_in_words(all_runs),
        )
        if len(all_runs) > 1
        else ""
    )
    return (
        (
            "tuning",
            Message("Tuning"),
            Message(
                "{tuning_runs} earlier runs declared: epsilon {epsilon_with_tuning:.4g} with them (RDP accountant)",
                tuning_runs=ledger.tuning_runs,
                epsilon_with_tuning=ledger.epsilon_with_tuning,
            ),
        ),
        *((("all_trainings", Message("All trainings together"), together),) if together else ()),
    )
