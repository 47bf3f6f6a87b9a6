"""The random numbers that a private training rests on: its noise, and which rows each step draws.

Whoever guesses the state of the generator takes the noise off again, so nobody must be able to guess it. A long seed
is not enough: torch's generator for the CPU (mt19937) keeps the low 32 bits of a seed, and the one for CUDA (Philox)
64. Here the CPU's whole state of 19,968 bits is filled from a key of 256 bits, and on another device three generators
of 64 bits each are added up.

These are good generators of statistics and no ciphers. The weights that a training publishes show sums of many draws,
from which nobody is known to recover their state; a release that needs more needs Opacus's secure mode.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

KEY_BYTES = 32
STREAMS = 3
"""How many generators are added up on a device whose generators have 64 bits."""

_STATE_BYTES, _WORDS_FROM, _WORDS = 5056, 24, 624
"""How torch lays out the state of its generator for the CPU: the seed, two flags, a place, then mt19937's words."""


@dataclass(frozen=True)
class Noise:
    """Standard normal and uniform numbers from independent generators, added up."""

    generators: Sequence[torch.Generator]

    def normal(self, count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return standard normal numbers, (count,): of several, the sum over the root of their number."""
        first, *others = (torch.randn(count, generator=one, device=one.device, dtype=dtype) for one in self.generators)
        for other in others:
            first += other
        return first.div_(math.sqrt(len(self.generators))) if others else first

    def uniform(self, count: int) -> torch.Tensor:
        """Return numbers from [0, 1), float64, (count,): of several uniform ones, the sum without its whole part."""
        draws = (torch.rand(count, generator=one, device=one.device, dtype=torch.float64) for one in self.generators)
        first, *others = draws
        for other in others:
            first += other
        return first.frac_() if others else first


def new_key() -> bytes:
    """Return 256 bits from the operating system."""
    return secrets.token_bytes(KEY_BYTES)


def key_of(entropy: bytes, purpose: str) -> bytes:
    """Return a key for one purpose, from entropy that serves several."""
    return hashlib.sha256(len(entropy).to_bytes(4) + entropy + purpose.encode()).digest()


def noise_of(key: bytes, device: torch.device) -> Noise:
    """Return the noise of a key: equal for equal keys, and as hard to guess as the key."""
    if device.type == "cpu":
        return Noise([full_state(key)])
    seeds = np.frombuffer(hashlib.shake_256(key).digest(8 * STREAMS), dtype="<u8")
    return Noise([torch.Generator(device).manual_seed(int(seed)) for seed in seeds])


def full_state(key: bytes) -> torch.Generator:
    """Return a generator for the CPU whose whole state follows from a key."""
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state().numpy().copy()
    if len(state) != _STATE_BYTES:
        raise RuntimeError(f"torch {torch.__version__} keeps {len(state)} bytes of state, not {_STATE_BYTES}")
    words = np.frombuffer(hashlib.shake_256(key).digest(4 * _WORDS), dtype="<u4").astype(np.uint64)
    state[_WORDS_FROM : _WORDS_FROM + 8 * _WORDS] = words.view(np.uint8)
    generator.set_state(torch.from_numpy(state))
    return generator
