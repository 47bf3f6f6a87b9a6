"""Private training that was killed can go on, and no step that may have run is left uncounted.

A checkpoint is written before the steps that it allows: it holds the weights so far and the step up to which the
budget is spent. Whoever resumes from it starts with fresh noise after those steps, which count as taken although
what they learned is lost. So no state of the noise generator is stored, and the guarantee stays that of the plan.

A checkpoint that is put back, copied or edited would count too little. So it carries the code of this user's key
(auditkit.private), and the number of times that it was written stands in a record of this user beside the key: an
earlier state does not have the last number. Who can write the user's private folder can put back both; the ledger of a
resumed training says so.
"""

from __future__ import annotations

import io
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditkit.budgets import MODEL_BYTES
from auditkit.errors import InputError
from auditkit.evidence.messages import Message
from auditkit.files import read_bytes
from auditkit.private import is_sealed, private_folder, seal_of, user_key
from auditkit.run_folder import PARTIAL

CHECKPOINTS = 20
"""How many parts a training is divided into; killed, it loses at most one of them."""

SEAL_BYTES = 32
RESUMED = Message(
    "a training that was resumed after it was killed: whoever can write this user's private folder could have put back "
    "an earlier state of it, whose later steps would then be missing from the count"
)
"""What the ledger of a resumed training cannot exclude."""


@dataclass(frozen=True)
class State:
    """Steps of a training: `taken` in the weights, `spent` up to which the budget counts, `lost` before `taken`."""

    taken: int
    spent: int
    lost: int

    def require(self, steps: int, name: str) -> None:
        """Raise InputError where the numbers cannot be those of a training of so many steps."""
        whole = all(type(number) is int for number in (self.taken, self.spent, self.lost))
        if not whole or not (0 <= self.taken <= self.spent <= steps and 0 <= self.lost <= self.taken):
            raise InputError(
                f"{name}: states steps that cannot be (taken {self.taken}, spent {self.spent}, lost {self.lost}, of "
                f"{steps}); {REMEDY}."
            )


REMEDY = "remove it and count its budget as spent (--tuning-runs)"


class Checkpoint:
    """The file of one training run, told by `plan`: a text of everything that the run depends on."""

    def __init__(self, path: Path, plan: str, steps: int) -> None:
        """Name the file and the number of steps of the whole training; nothing is read or written yet."""
        self.path, self.plan, self.steps = path, plan, steps
        self.name = f"checkpoint {path}"
        self.key = user_key()
        self.run, self.count = secrets.token_hex(16), 0

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, int] | None:
        """Restore the weights and the optimizer; return (steps spent, steps lost so far), None if there is no file.

        Raises:
            InputError: the file is damaged, of another run, not this user's, or not its last state.
        """
        if not os.path.lexists(self.path):
            return None
        found = self._read()
        try:
            if found["plan"] != self.plan:
                raise InputError(
                    f"{self.name}: is of a training with other data or settings; finish that one, or remove "
                    f"the file and count its budget as spent (--tuning-runs)."
                )
            state = State(found["taken"], found["spent"], found["lost"])
            state.require(self.steps, self.name)
            self.run, self.count = str(found["run"]), int(found["count"])
            module.load_state_dict(found["weights"])
            _restore(optimizer, found["optimizer"])
        except InputError:
            raise
        except Exception as error:  # a damaged archive raises anything
            raise InputError(f"{self.name}: cannot be read ({type(error).__name__}); {REMEDY}.") from error
        last = self._last_count()
        if last is None or self.count not in (last, last + 1):  # killed between the two writes, it is one ahead
            was = "was written by no training of this user here" if last is None else "is an earlier state, put back"
            raise InputError(f"{self.name}: {was}: its later steps would not be counted; {REMEDY}.")
        return state.spent, state.lost + state.spent - state.taken

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, *, taken: int, spent: int, lost: int) -> None:
        """Write that steps up to `spent` may run from the state after `taken`; on the disk when this returns.

        Where this user has no private folder nothing is written, and a training that is killed starts anew.

        Raises:
            InputError: the file cannot be written.
        """
        if self.key is None:
            return
        self.count += 1
        content: dict[str, Any] = {
            "plan": self.plan,
            "run": self.run,
            "count": self.count,
            "weights": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "taken": taken,
            "spent": spent,
            "lost": lost,
        }
        packed = io.BytesIO()
        try:
            torch.save(content, packed)
            _write(self.path, seal_of(self.key, "checkpoint", packed.getvalue()) + packed.getvalue())
            number = str(self.count).encode()
            _write(self._record(), seal_of(self.key, f"count {self.run}", number) + number)
        except (OSError, RuntimeError) as error:
            raise InputError(f"{self.name}: cannot be written: {error}.") from error

    def remove(self) -> None:
        """Remove the file, once what it led to is in its place; its record stays, so that no copy of it goes on."""
        self.path.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        packed = read_bytes(self.path, self.name, budget=MODEL_BYTES)
        seal, packed = packed[:SEAL_BYTES], packed[SEAL_BYTES:]
        if self.key is None or not is_sealed(self.key, "checkpoint", packed, seal):
            raise InputError(f"{self.name}: cannot be read as this user's own: damaged, copied or edited; {REMEDY}.")
        try:
            found: dict[str, Any] = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
        except Exception as error:
            raise InputError(f"{self.name}: cannot be read ({type(error).__name__}); {REMEDY}.") from error
        return found

    def _record(self) -> Path:
        folder = private_folder("data")
        if folder is None:
            raise InputError(f"{self.name}: this user has no private folder for its record; set XDG_DATA_HOME.")
        (folder / "trainings").mkdir(mode=0o700, exist_ok=True)
        return folder / "trainings" / self.run

    def _last_count(self) -> int | None:
        try:
            content = read_bytes(self._record(), "record")
        except InputError:
            return None
        seal, number = content[:SEAL_BYTES], content[SEAL_BYTES:]
        assert self.key is not None
        if not is_sealed(self.key, f"count {self.run}", number, seal) or not number.isdigit():
            return None
        return int(number)


MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
"""What Adam remembers of a parameter."""


def _restore(adam: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer what it remembers of its parameters; its settings are the plan's, and no checkpoint has others.

    Raises:
        ValueError: the state has other settings, or is not that of Adam for these parameters.
    """
    settings = adam.state_dict()["param_groups"]
    adam.load_state_dict(state)
    if adam.state_dict()["param_groups"] != settings:
        raise ValueError("other settings of the optimizer")
    for parameter, kept in adam.state.items():
        moments = [kept[name] for name in MOMENTS - {"step"}] if set(kept) == MOMENTS else []
        if not moments or any(moment.shape != parameter.shape for moment in moments) or kept["step"].shape:
            raise ValueError("no state of Adam for these parameters")


def _write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, on the disk when this returns."""
    beside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
