"""What a request for private models shares, whatever is trained: its settings, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from auditkit.config_commands import PrivateTrainingConfig
from auditkit.errors import InputError
from auditkit.evidence.measurement import Group
from auditkit.evidence.messages import Message
from auditkit.training.dp.accounting import Ledger, require_epsilon
from auditkit.training.dp.frontier_file import CostMeasure
from auditkit.training.dp.plan import Disclosure, PrivateSettings

FRESH = Message("fresh, drawn from a seed of the operating system; never those that saw the data without privacy")


@dataclass(frozen=True)
class GroupCost:
    """What a model of a budget costs a group of `count` held-out rows or texts, with an interval of 95 %.

    `epsilon` is None for the fine-tuning without privacy, and 0 for the model as it was; `group` is None for all rows.
    """

    epsilon: float | None
    group: Group | None
    count: int
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Retrained:
    """The packed files with their ledgers, the budget of them all together, and what their reader must know.

    `frontier` says what each budget costs on held-out rows, where some were given, and `measure` in what.
    """

    files: tuple[tuple[Path, Ledger], ...]
    epsilon_together: float
    notes: tuple[str, ...]
    frontier: tuple[GroupCost, ...] = ()
    measure: CostMeasure | None = None


def private_settings(
    asked: PrivateTrainingConfig,
    epsilon: float,
    *,
    checkpoint: Path | None,
    disclosure: Disclosure,
    max_grad_norm: float = PrivateSettings.max_grad_norm,
    physical_batch_size: int | None = None,
) -> PrivateSettings:
    """Return the settings of the training at a budget; the two last are those where the request states none."""
    return PrivateSettings(
        epsilon=epsilon,
        delta=None if asked.delta == "auto" else asked.delta,
        max_grad_norm=max_grad_norm if asked.max_grad_norm is None else asked.max_grad_norm,
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        seed=None,
        clipping=asked.clipping,
        physical_batch_size=asked.physical_batch_size or physical_batch_size,
        tuning_runs=asked.tuning_runs,
        checkpoint=checkpoint,
        disclosure=disclosure,
    )


def require_budgets(epsilons: Sequence[float]) -> None:
    """Raise InputError unless there are budgets, each possible and named once."""
    for epsilon in epsilons:
        require_epsilon(epsilon)
    if not epsilons or len(set(epsilons)) < len(epsilons):
        raise InputError(f"epsilon must name each budget once, got {list(epsilons)}; pass --epsilon 1 --epsilon 3.")


def is_of(ledger: Ledger, settings: PrivateSettings, trained: str) -> bool:
    """Return whether a ledger is that of a training by these settings; `trained` says which parameters it trains."""
    wanted = {
        "target_epsilon": settings.epsilon,
        "delta": settings.delta_for(ledger.row_count),
        "expected_batch_size": settings.batch_size_for(ledger.row_count),
        "max_grad_norm": settings.max_grad_norm,
        "epochs": settings.epochs,
        "tuning_runs": settings.tuning_runs,
        "initial_weights": settings.disclosure.initial_weights,
        "unit_of_privacy": settings.disclosure.unit,
        "trained_part": trained,
    }
    return all(getattr(ledger, name) == value for name, value in wanted.items())


def public_weights(path: str | None, sha256: str | None, lora_rank: int | None) -> str:
    """Return what a ledger says of weights that a training begins with, and that its user declared public."""
    initial = Message(
        "declared public by whoever ran this: {path}, sha256:{sha256}", path=str(path), sha256=str(sha256)
    )
    return initial if lora_rank is None else initial + adapters_of(lora_rank)


def adapters_of(rank: int) -> str:
    """Return what a ledger says of adapters."""
    return Message(
        "; with adapters of rank {rank} in Linear layers, which begin at 0 and end merged into the weights", rank=rank
    )


def already_there(path: Path) -> InputError:
    """Return the error of a file that is there, and is not what would be written."""
    return InputError(f"out {path}: is there already, and is not of this retraining; remove it, or pass --out DIR.")
