"""FACTS 13.2: a 63-bit seed of torch's generator has 32 bits; here nothing less than the key tells the noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from auditkit.training.dp import dp_sgd
from auditkit.training.dp.noise import STREAMS, Noise, full_state, key_of, new_key, noise_of
from auditkit.training.dp.plan import PrivateSettings

CPU = torch.device("cpu")
SEVERAL = [torch.Generator().manual_seed(number) for number in range(STREAMS)]


def test_torch_keeps_32_bits_of_a_seed_and_all_of_a_state() -> None:
    """What the kind of fault is, and that it is closed: keys that share all but their last bit differ."""
    short = [torch.Generator().manual_seed(seed) for seed in (5, 5 + 2**40)]
    assert torch.equal(*(torch.randn(8, generator=one) for one in short)), "the fault that this file is about"
    states = [full_state(bytes(31) + bytes([last])).get_state() for last in (0, 1)]
    words = [state[24 : 24 + 8 * 624].reshape(624, 8)[:, :4] for state in states]
    assert (words[0] != words[1]).any(dim=1).all(), "every word of the state follows from the key"
    assert (words[0].to(torch.int64) > 0).float().mean() > 0.98


@pytest.mark.parametrize("source", [noise_of(b"k", CPU), Noise(SEVERAL)], ids=["one", "several"])
def test_the_numbers_have_their_distributions(source: Noise) -> None:
    normal = source.normal(200_000).double().numpy()
    assert stats.kstest(normal, "norm").pvalue > 1e-4
    assert normal.std() == pytest.approx(1, abs=0.01)
    assert abs(stats.pearsonr(normal[:-1], normal[1:]).statistic) < 0.01
    uniform = source.uniform(200_000)
    assert uniform.dtype == torch.float64
    assert 0 <= uniform.min() < uniform.max() < 1
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > 1e-4


def test_equal_keys_give_equal_numbers_and_others_do_not() -> None:
    draws = [noise_of(key, CPU).normal(4).tolist() for key in (b"a", b"a", b"b")]
    assert draws[0] == draws[1] != draws[2]
    keys = {key_of(entropy, purpose) for entropy in (b"x", b"y") for purpose in ("noise", "dropout")}
    assert len(keys) == 4
    assert all(len(key) * 8 >= 128 for key in (*keys, new_key()))
    assert new_key() != new_key()


def test_another_device_adds_up_generators_of_64_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named:
        type = "cuda"

    seeds: list[int] = []

    class Recorded:
        def __init__(self, device: object) -> None:
            assert device is named

        def manual_seed(self, seed: int) -> Recorded:
            seeds.append(seed)
            return self

    named = Named()
    monkeypatch.setattr(torch, "Generator", Recorded)
    assert len(noise_of(b"k", named).generators) == 3  # type: ignore[arg-type]  # a device as far as it is asked
    assert len(set(seeds)) == 3
    assert math.log2(max(seeds)) > 60


def test_a_training_without_a_seed_draws_a_new_key_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    labels = (inputs[:, 0] > 0).astype(np.int64)
    keys: list[bytes] = []

    def spy(key: bytes, device: torch.device) -> Noise:
        keys.append(key)
        return noise_of(key, device)

    monkeypatch.setattr(dp_sgd, "noise_of", spy)
    ledgers = [
        dp_sgd.fit_private(
            torch.nn.Linear(4, 2), inputs, labels, PrivateSettings(epsilon=8, epochs=1, seed=seed), device=CPU
        )
        for seed in (None, None, 4)
    ]
    assert len(set(keys)) == 3
    assert [ledger.seed for ledger in ledgers] == [None, None, 4]
    assert "not recorded" in ledgers[0].seed_statement
    assert "can regenerate the noise" in ledgers[2].seed_statement
