"""Nearest-neighbour metrics of 10,000 samples and 10,000 real rows against plain torch and scikit-learn.

The same four metrics by three programs: auditkit; a plain torch implementation that holds whole distance matrices, as
is usual; and scikit-learn's NearestNeighbors, with radius queries for what its nearest neighbours do not tell. The
values are checked to agree first. Memory is the growth of the highest resident size of a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import torch
from common import best_of, write
from sklearn.neighbors import NearestNeighbors

from auditkit.auditors.generation.neighbours import NEIGHBOUR_COUNT, manifold_metrics, real_rows

K = NEIGHBOUR_COUNT
Metrics = tuple[float, float, float, float]


def by_auditkit(real: np.ndarray, fake: np.ndarray) -> Metrics:
    found = manifold_metrics(real_rows(real), fake)
    return found.precision, found.recall, found.density, found.coverage


def by_plain_torch(real: np.ndarray, fake: np.ndarray) -> Metrics:
    x, y = torch.from_numpy(real), torch.from_numpy(fake)
    radius_x, radius_y = (torch.cdist(rows, rows).kthvalue(K + 1, dim=1).values for rows in (x, y))
    between = torch.cdist(x, y)
    inside = between <= radius_x[:, None]
    return (
        float(inside.any(dim=0).double().mean()),
        float((between <= radius_y).any(dim=1).double().mean()),
        float(inside.double().sum(dim=0).mean()) / K,
        float((between.min(dim=1).values <= radius_x).double().mean()),
    )


def by_sklearn(real: np.ndarray, fake: np.ndarray) -> Metrics:
    in_real, in_fake = (NearestNeighbors(algorithm="brute").fit(rows) for rows in (real, fake))
    radius_x, radius_y = (one.kneighbors(n_neighbors=K)[0][:, -1] for one in (in_real, in_fake))
    coverage = (in_fake.kneighbors(real, n_neighbors=1)[0][:, 0] <= radius_x).mean()
    near_x = in_real.radius_neighbors(fake, radius=float(radius_x.max()))
    inside = [(distance <= radius_x[place]).sum() for distance, place in zip(*near_x, strict=True)]
    near_y = in_fake.radius_neighbors(real, radius=float(radius_y.max()))
    recalled = [(distance <= radius_y[place]).any() for distance, place in zip(*near_y, strict=True)]
    return float(np.mean(np.array(inside) > 0)), float(np.mean(recalled)), float(np.mean(inside)) / K, float(coverage)


PROGRAMS: dict[str, Callable[[np.ndarray, np.ndarray], Metrics]] = {
    "auditkit": by_auditkit,
    "plain torch": by_plain_torch,
    "scikit-learn": by_sklearn,
}


def measured(program: str, rows: int, width: int) -> dict[str, object]:
    """Return the values, the least processor time and the growth of memory of a program on two normal samples."""
    generator = np.random.default_rng(0)
    real = generator.normal(size=(rows, width)).astype(np.float32)
    fake = (0.9 * generator.normal(size=(rows, width)) + 0.02).astype(np.float32)
    PROGRAMS[program](real[:200], fake[:200])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds, values = best_of(2, lambda: PROGRAMS[program](real, fake))
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"values": values, "seconds": seconds, "memory_growth_mebibytes": growth}


def main() -> None:
    """Run every program in a process of its own, check that the values agree, and write what was measured."""
    rows, width = 10_000, 64
    if len(sys.argv) > 1:
        print(json.dumps(measured(sys.argv[1], rows, width)))
        return
    found = {}
    for program in PROGRAMS:
        done = subprocess.run([sys.executable, __file__, program], check=True, capture_output=True, text=True)
        found[program] = json.loads(done.stdout)
    ours = found["auditkit"]
    for program, other in found.items():
        np.testing.assert_allclose(other["values"], ours["values"], atol=2e-3, err_msg=program)
        other["times_auditkit"] = other["seconds"] / ours["seconds"]
    write("generation", {"rows": rows, "width": width, "neighbours": K, "programs": found})


if __name__ == "__main__":
    main()
