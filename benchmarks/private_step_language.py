"""What a private step of a language model of 12 layers costs beside a plain one: time and peak memory, against Opacus.

auditkit's `gpt`, 12 layers of width 192, on units of one text of 128 tokens. Opacus cannot see that the logits share
the embedding's weights, so that it is compared on the same network with an output layer of its own. Each way is held
against a loop over units first. A figure is the ratio to a plain step of the same network and batch in the same run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from common import write
from private_step import noisy_step, seconds
from torch import nn

from auditkit.models.architectures import build
from auditkit.training.dp.clipping import require_agreement, summed_by
from auditkit.training.dp.per_example import looped_gradients
from auditkit.training.dp.token_losses import MeanTokenLoss, TokenLosses

CPU = torch.device("cpu")
WIDTH, LENGTH, VOCABULARY, UNITS = 192, 128, 1024, 16
ROUNDS = 2
NETWORKS = {"tied": ("bookkeeping",), "own output layer": ("bookkeeping", "hooks", "ghost")}
OBJECTIVE = MeanTokenLoss()


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    size = {"vocabulary_size": VOCABULARY, "length": LENGTH, "width": WIDTH, "layers": 12, "heads": 6, "dropout": 0.0}
    module: Any = build("gpt", size)
    if name != "tied":
        module.logits = nn.Linear(WIDTH, VOCABULARY, bias=False)
    return TokenLosses(module.train(), masks=False)


def units(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(1, VOCABULARY, (count, LENGTH + 1), generator=torch.Generator().manual_seed(1))
    rows = torch.stack([ids[:, :-1], ids[:, 1:]], dim=1)[:, None]
    return rows, torch.full((count,), float(LENGTH))


def plain_step(module: nn.Module) -> Callable[[torch.Tensor, torch.Tensor], None]:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)

    def step(inputs: torch.Tensor, targets: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        OBJECTIVE.losses(module(inputs), targets).mean().backward()
        optimizer.step()

    return step


def in_turns(*calls: Callable[[], Any]) -> list[float]:
    """Return the shortest seconds of processor time of each call, over rounds in which all take their turn."""
    for call in calls:
        call()
    rounds = [[seconds(CPU, call) for call in calls] for _ in range(ROUNDS)]
    return [min(values) for values in zip(*rounds, strict=True)]


def times(name: str) -> dict[str, Any]:
    data, few = units(UNITS), units(3)
    plain = partial(plain_step(network(name)), *data)
    found: dict[str, Any] = {}
    for way in NETWORKS[name]:
        module = network(name)
        try:
            gradients = looped_gradients(module, *few, OBJECTIVE)
            with summed_by(way, module, objective=OBJECTIVE) as clipped_sum:  # type: ignore[arg-type]
                require_agreement(clipped_sum, *few, gradients)
                with noisy_step(module, clipped_sum, UNITS) as step:
                    usual, private = in_turns(plain, partial(step, *data))
        except Exception as error:  # noqa: BLE001  # a mode that cannot take a network says why
            found[way] = f"fails: {type(error).__name__}: {str(error).splitlines()[0][:90]}"
            continue
        found[way] = round(private / usual, 2)
        found["plain_ms"] = round(1000 * usual, 1)
    return found


def peak(name: str, way: str) -> float:
    """Return the MiB by which a step exceeds the memory of this process at rest; only Linux tells."""
    data, module = units(UNITS), network(name)

    def resident(key: str) -> float:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return float(next(line for line in lines if line.startswith(key)).split()[1]) / 1024

    def measured(step: Callable[..., None]) -> float:
        step(data[0][:1], data[1][:1])
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # VmHWM starts again
        step(*data)
        return resident("VmHWM") - before

    if way == "plain":
        return measured(plain_step(module))
    with (
        summed_by(way, module, objective=OBJECTIVE) as clipped_sum,  # type: ignore[arg-type]
        noisy_step(module, clipped_sum, UNITS) as step,
    ):
        return measured(step)


def memory(name: str, way: str, runs: int) -> float | None:
    """Return the median peak of processes of their own, None where the way cannot take the network."""
    words = [sys.executable, __file__, "--peak", name, way]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back at once
    done = [subprocess.run(words, capture_output=True, text=True, check=False, env=environment) for _ in range(runs)]
    return None if any(one.returncode for one in done) else median(float(one.stdout) for one in done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peak", nargs=2)
    parser.add_argument("--runs", type=int, default=1, help="processes whose median is the peak of memory")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        print(peak(*arguments.peak))
        return
    started = time.perf_counter()
    table: dict[str, Any] = {}
    for name, ways in NETWORKS.items():
        usual = memory(name, "plain", arguments.runs)
        assert usual is not None
        found = {way: memory(name, way, arguments.runs) for way in ways}
        peaks = {way: None if most is None else round(most / usual, 2) for way, most in found.items()}
        table[name] = {"time": times(name), "peak_memory": {"plain_mib": round(usual, 1), **peaks}}
        print(name, table[name], f"{time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    parameters = sum(part.numel() for part in network("tied").parameters())
    shape = {"layers": 12, "width": WIDTH, "tokens": LENGTH, "units": UNITS, "parameters": parameters}
    versions = {"torch": torch.__version__, "opacus": version("opacus")}
    write("private_step_language", {**shape, **versions, "ratios_to_a_plain_step": table})


if __name__ == "__main__":
    main()
