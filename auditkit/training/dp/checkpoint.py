"""Private training that was killed can go on, and no step that may have run is left uncounted.

A checkpoint is written before the steps that it allows: it holds the weights so far and the step up to which the
budget is spent. Whoever resumes from it starts with fresh noise after those steps, which count as taken although
what they learned is lost. So no state of the noise generator is stored, and the guarantee stays that of the plan.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditkit.errors import InputError

CHECKPOINTS = 20
"""How many parts a training is divided into; killed, it loses at most one of them."""


class Checkpoint:
    """The file of one training run, told by `plan`: a text of everything that the run depends on."""

    def __init__(self, path: Path, plan: str) -> None:
        """Name the file; nothing is read or written yet."""
        self.path, self.plan = path, plan

    def load(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, int] | None:
        """Restore the weights and the optimizer; return (steps spent, steps lost so far), None if there is no file.

        Raises:
            InputError: the file is damaged, or of another run.
        """
        if not self.path.exists():
            return None
        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            if found["plan"] != self.plan:
                raise InputError(
                    f"checkpoint {self.path}: is of a training with other data or settings; finish that one, or remove "
                    f"the file and count its budget as spent (--tuning-runs)."
                )
            spent, lost = int(found["spent"]), int(found["lost"]) + int(found["spent"]) - int(found["taken"])
            module.load_state_dict(found["weights"])
            optimizer.load_state_dict(found["optimizer"])
        except InputError:
            raise
        except Exception as error:  # a damaged archive raises anything
            raise InputError(
                f"checkpoint {self.path}: cannot be read ({type(error).__name__}); remove it and count its budget as "
                f"spent (--tuning-runs)."
            ) from error
        return spent, lost

    def save(self, module: nn.Module, optimizer: torch.optim.Optimizer, *, taken: int, spent: int, lost: int) -> None:
        """Write that steps up to `spent` may run from the state after `taken`; on the disk when this returns.

        Raises:
            InputError: the file cannot be written.
        """
        content: dict[str, Any] = {
            "plan": self.plan,
            "weights": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "taken": taken,
            "spent": spent,
            "lost": lost,
        }
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.partial")
        try:
            with open(beside, "wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self.path)
        except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of torch.save
            raise InputError(f"checkpoint {self.path}: cannot be written: {error}.") from error
        finally:
            beside.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the file, once what it led to is in its place."""
        self.path.unlink(missing_ok=True)
