"""What a private training step costs beside a plain one at the same batch: auditkit's ways, Opacus's modes, and JAX.

Each way gives the same sum of clipped gradients, which is compared to a loop over rows first; then noise and a step of
SGD follow. A figure is the ratio to a plain SGD step of the same network and batch in the same run. The LSTM's plain
step is that of its own unrolled form. Pass `jax=PYTHON` for an environment with JAX, and `--device cuda` for a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from common import write
from opacus.grad_sample import GradSampleModuleExpandedWeights
from torch import nn
from torch.nn import functional

from auditkit.data.dataset import read_data
from auditkit.demo.census import SENSITIVE, TARGET, write_census
from auditkit.models.architectures import build
from auditkit.schema.infer import infer_schema
from auditkit.tasks.base import task_for
from auditkit.tasks.objectives import CrossEntropy
from auditkit.training.dp.clip_chunked import COMPILED_FROM
from auditkit.training.dp.clipping import require_agreement, summed_by
from auditkit.training.dp.dp_sgd import StepSize, as_one_vector, poisson_sample, private_step
from auditkit.training.dp.noise import Noise, noise_of
from auditkit.training.dp.per_example import ClippedSum, clip_and_sum, looped_gradients, trainable
from auditkit.training.fit import autocast_on

MOST_ROUNDS = 60
SECONDS_OF_ROUNDS = 4.0
"""Both steps of a comparison take turns for so long, at least twice, so that a busy moment meets both."""
BATCHES = (256, 1024)
TEXT = {"vocabulary_size": 3000, "length": 64, "output_width": 2, "dropout": 0.0}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "MLP 105-128-64-2": ("mlp", {"input_width": 105, "output_width": 2}),
    "CNN 1x28x28": ("cnn", {"input_shape": [1, 28, 28], "output_width": 10, "dropout": 0.0}),
    "Transformer 64 tokens": ("transformer", TEXT),
    "LSTM 64 tokens": ("lstm", TEXT),
}
WAYS = ("bookkeeping", "chunked", "compiled", "hooks", "ew", "ghost")
LONGEST_COMPILED = ("LSTM 64 tokens",)
"""Not compiled: unrolled over 64 tokens it takes the compiler longer than the whole benchmark."""


def network(name: str, device: torch.device) -> nn.Module:
    torch.manual_seed(0)
    return build(*NETWORKS[name]).to(device).train()


def rows(name: str, count: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    kind, arguments = NETWORKS[name]
    if kind == "mlp":
        inputs = torch.randn(count, arguments["input_width"], generator=generator)
    elif kind == "cnn":
        inputs = torch.randn(count, *arguments["input_shape"], generator=generator)
    else:
        inputs = torch.randint(1, arguments["vocabulary_size"], (count, arguments["length"]), generator=generator)
    return inputs.to(device), torch.randint(0, 2, (count,), generator=generator).to(device)


def summed(way: str, module: nn.Module) -> AbstractContextManager[ClippedSum]:
    if way == "ew":
        return nullcontext(by_expanded_weights(module))
    if way == "compiled":
        return summed_by("chunked", module, objective=CrossEntropy(), row_passes=COMPILED_FROM)
    return summed_by(way, module, objective=CrossEntropy())  # type: ignore[arg-type]


def by_expanded_weights(module: nn.Module) -> ClippedSum:
    """Opacus's third mode, which auditkit has no use for."""
    wrapped = GradSampleModuleExpandedWeights(module, loss_reduction="sum")

    def clipped_sum(inputs: torch.Tensor, targets: torch.Tensor, max_grad_norm: float) -> list[torch.Tensor]:
        wrapped.zero_grad()
        functional.cross_entropy(wrapped(inputs), targets, reduction="sum").backward()
        return clip_and_sum([parameter.grad_sample for parameter in trainable(module)], max_grad_norm)

    return clipped_sum


def plain_step(module: nn.Module) -> Callable[[torch.Tensor, torch.Tensor], None]:
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)

    def step(inputs: torch.Tensor, targets: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with autocast_on(inputs.device):
            outputs = module(inputs)
        functional.cross_entropy(outputs.float(), targets).backward()
        optimizer.step()

    return step


@contextmanager
def noisy_step(
    module: nn.Module, clipped_sum: ClippedSum, batch: int, noise: Noise | None = None
) -> Iterator[Callable[..., None]]:
    with as_one_vector(trainable(module)) as vector:
        yield private_step(
            vector,
            torch.optim.SGD([vector], lr=0.01),
            clipped_sum,
            StepSize(noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=batch),
            noise=noise or noise_of(b"benchmark", vector.device),
        )


def clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(device: torch.device, call: Callable[[], Any]) -> float:
    started = clock(device)
    call()
    return clock(device) - started


def ratios(name: str, batch: int, ways: tuple[str, ...], device: torch.device) -> dict[str, Any]:
    """Time every way's step in turns with the plain one; the shortest time of each counts."""
    data = rows(name, batch, device)
    plain = partial(plain_step(network(name, device)), *data)
    shortest = [shortest_of(device, plain)[0]]
    found: dict[str, Any] = {}
    for way in ways:
        module = network(name, device)
        try:
            started = time.perf_counter()
            few = rows(name, 8, device)
            gradients = looped_gradients(module, *few, CrossEntropy())
            with summed(way, module) as clipped_sum:
                require_agreement(clipped_sum, *few, gradients)
                waited = time.perf_counter() - started
                with noisy_step(module, clipped_sum, batch) as step:
                    usual, private = shortest_of(device, plain, partial(step, *data))
        except Exception as error:  # noqa: BLE001  # a mode that cannot take a network says why
            found[way] = f"fails: {type(error).__name__}: {str(error).splitlines()[0][:90]}"
            continue
        shortest.append(usual)
        found[way] = round(private / usual, 2)
        if way == "compiled":
            found["seconds_to_compile"] = round(waited)
    rate = {} if device.type == "cpu" else {"plain_rows_a_second": round(batch / min(shortest))}
    return {"plain_ms": round(1000 * min(shortest), 3), **rate, **found}


def repeated(call: Callable[[], Any], times: int) -> None:
    for _ in range(times):
        call()


def shortest_of(device: torch.device, *calls: Callable[[], Any]) -> list[float]:
    """Return the shortest seconds of one call of each, over rounds in which all take their turn."""
    for call in calls:
        call()
    times = max(1, int(0.02 / seconds(device, calls[0])))
    found: list[list[float]] = [[] for _ in calls]
    began = time.perf_counter()
    while len(found[0]) < 2 or (len(found[0]) < MOST_ROUNDS and time.perf_counter() - began < SECONDS_OF_ROUNDS):
        for call, into in zip(calls, found, strict=True):
            into.append(seconds(device, partial(repeated, call, times)) / times)
    return [min(values) for values in found]


def peak(name: str, way: str, batch: int) -> float:
    """Return the MiB by which a step exceeds the memory of this process at rest; only Linux tells."""
    device = torch.device("cpu")
    data, module = rows(name, batch, device), network(name, device)

    def resident(key: str) -> float:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return float(next(line for line in lines if line.startswith(key)).split()[1]) / 1024

    def measured(step: Callable[..., None]) -> float:
        step(data[0][:8], data[1][:8])
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
        for _ in range(2):
            step(*data)
        return resident("VmHWM") - before

    if way == "plain":
        return measured(plain_step(module))
    with summed(way, module) as clipped_sum, noisy_step(module, clipped_sum, batch) as step:
        return measured(step)


def memory(name: str, way: str, batch: int) -> float:
    """Return the median of three processes of their own: what an allocator rounds up differs by a tenth."""
    words = [sys.executable, __file__, "--peak", name, way, str(batch)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed goes back at once
    runs = [subprocess.run(words, capture_output=True, text=True, check=False, env=environment) for _ in range(3)]
    return median(float(done.stdout) if done.returncode == 0 else float("nan") for done in runs)


def adult_epoch(device: torch.device) -> dict[str, Any]:
    """Time whole epochs of the census model: shuffled batches beside Poisson batches, indexed alike."""
    with tempfile.TemporaryDirectory() as folder:
        training = read_data(write_census(Path(folder))[0])
    schema = infer_schema(training.frame, target=TARGET, sensitive=SENSITIVE)
    inputs = torch.as_tensor(np.asarray(schema.encode(training.frame)), device=device)
    labels = torch.as_tensor(task_for(schema).encode_labels(training.frame), device=device)
    batch, noise = 1024, noise_of(b"benchmark", device)
    rate, count = batch / len(labels), len(labels)
    usual_network, module = (
        build("mlp", {"input_width": inputs.shape[1], "output_width": 2}).to(device).train() for _ in range(2)
    )
    plain = plain_step(usual_network)

    def plain_epoch() -> None:
        for picked in torch.randperm(count, device=device).tensor_split(round(1 / rate)):
            plain(inputs[picked], labels[picked])

    with summed("bookkeeping", module) as clipped_sum, noisy_step(module, clipped_sum, batch) as step:

        def private_epoch() -> None:
            for _ in range(round(1 / rate)):
                picked = poisson_sample(count, rate, noise)
                step(inputs[picked], labels[picked])

        usual, private = shortest_of(device, plain_epoch, private_epoch)
    return {"rows": count, "batch": batch, "plain_ms": 1000 * usual, "ratio": round(private / usual, 2)}


def noise_cost(device: torch.device) -> dict[str, Any]:
    """Time a step whose noise comes of 256 bits beside one whose noise is of torch's generator, seeded as usual.

    The network of the first row, book-keeping, both steps in turns. `set_up` is what it takes to make the generator,
    which a training does once, and `draw` what a million numbers cost, each beside torch's own.
    """
    found: dict[str, Any] = {}
    name = "MLP 105-128-64-2"
    with ExitStack() as stack:
        for batch in BATCHES:
            data, steps = rows(name, batch, device), []
            for noise in (Noise([torch.Generator(device).manual_seed(0)]), noise_of(b"benchmark", device)):
                module = network(name, device)
                clipped_sum = stack.enter_context(summed("bookkeeping", module))
                steps.append(partial(stack.enter_context(noisy_step(module, clipped_sum, batch, noise)), *data))
            usual, ours = shortest_of(device, *steps)
            found[str(batch)] = {"torch_ms": round(1000 * usual, 3), "ratio": round(ours / usual, 3)}
    generators = (
        lambda: Noise([torch.Generator(device).manual_seed(0)]),
        lambda: noise_of(b"benchmark", device),
    )
    usual, ours = shortest_of(device, *generators)
    found["set_up"] = {"torch_ms": round(1000 * usual, 4), "ours_ms": round(1000 * ours, 4)}
    usual, ours = shortest_of(device, *(partial(generator().normal, 10**6) for generator in generators))
    found["draw"] = {"torch_ms": round(1000 * usual, 3), "ratio": round(ours / usual, 3)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--peak", nargs=3)
    parser.add_argument("--jax", help="the Python of an environment with JAX")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--noise", action="store_true", help="only what the noise costs, in private_step_noise.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        name, way, batch = arguments.peak
        print(peak(name, way, int(batch)))
        return
    device = torch.device(arguments.device)
    if arguments.noise:
        write("private_step_noise", {"torch": torch.__version__, "noise_of_256_bits": noise_cost(device)})
        return
    ways = tuple(arguments.ways.split(","))
    table: dict[str, Any] = {}
    for name in NETWORKS:
        possible = tuple(way for way in ways if way != "compiled" or name not in LONGEST_COMPILED)
        table[name] = {str(batch): ratios(name, batch, possible, device) for batch in BATCHES}
        if device.type == "cpu" and Path("/proc/self/clear_refs").exists():
            usual = memory(name, "plain", 1024)
            found = {way: round(memory(name, way, 1024) / usual, 2) for way in possible if way != "compiled"}
            table[name]["peak_memory_at_1024"] = {"plain_mib": round(usual, 1), **found}
        print(name, json.dumps(table[name]), file=sys.stderr)
    if arguments.jax:
        script = Path(__file__).with_name("private_step_jax.py")
        found = json.loads(subprocess.check_output([arguments.jax, script], text=True))
        table["jax"] = {"version": found.pop("version")}
        for name, milliseconds in found.items():
            for batch, value in milliseconds.items():
                table[name][batch]["jax"] = round(value / table[name][batch]["plain_ms"], 2)
    numbers = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu, one thread",
        "precision": "bfloat16 autocast" if device.type == "cuda" else "float32",
        "torch": torch.__version__,
        "opacus": version("opacus"),
        "ratios_to_a_plain_step": table,
        "adult_epoch": adult_epoch(device),
        "noise_of_256_bits": noise_cost(device),
    }
    write("private_step" if device.type == "cpu" else "private_step_gpu", numbers)


if __name__ == "__main__":
    main()
