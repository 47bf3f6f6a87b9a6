"""Networks that declare what they are: recognised by their class alone, and held to what they declare."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from auditkit.errors import ModelFileError
from auditkit.models.architectures import build
from auditkit.models.capabilities import CausalLanguageModel, Discriminating, Generative, LanguageModel, LatentCode
from auditkit.models.generate import generating
from auditkit.models.networks import (
    CausalTokens,
    Generator,
    MaskedTokens,
    TableGenerator,
    WithDiscriminator,
    WithEncoder,
    check_declared,
)


class Drawn(Generator, nn.Module):
    """A generator of one's own."""

    latent_shape = (3,)

    def forward(self, latent: Tensor) -> Tensor:
        return latent.sigmoid()


class Pair(WithDiscriminator, WithEncoder, nn.Module):
    latent_shape = (3,)

    def discriminate(self, images: Tensor) -> Tensor:
        return images.flatten(1).sum(dim=1)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


class Tokens(CausalTokens, nn.Module):
    vocabulary_size, context, padding = 7, 4, 0

    def advance(self, ids: Tensor, past: Any) -> tuple[Tensor, Any]:
        return torch.zeros(len(ids), 7), past

    def select(self, past: Any, rows: Tensor) -> Any:
        return past


class Hidden(MaskedTokens, nn.Module):
    vocabulary_size, context, padding = 7, 4, 0
    prefix = suffix = (0,)
    mask_token = 1


def can(module: nn.Module, kind: type) -> bool:
    return any(issubclass(one, kind) for one in generating(module).get("capabilities", ()))


def test_networks_of_one_s_own_are_what_they_declare() -> None:
    assert can(Drawn(), Generative)
    assert not can(Drawn(), Discriminating)
    assert can(Pair(), Discriminating)
    assert can(Pair(), LatentCode)
    assert can(Tokens(), CausalLanguageModel)
    assert can(Hidden(), LanguageModel)
    assert not can(Hidden(), CausalLanguageModel)


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("gpt", {"vocabulary_size": 9, "length": 8, "width": 4, "layers": 1, "heads": 1}, CausalTokens),
        ("bert", {"vocabulary_size": 9, "length": 8, "width": 4, "layers": 1, "heads": 1}, MaskedTokens),
        ("vae", {"input_shape": [1, 8, 8]}, WithEncoder),
        ("dcgan", {"input_shape": [1, 8, 8]}, WithDiscriminator),
        ("ddpm", {"input_shape": [1, 8, 8], "channels": 8, "block_count": 1}, Generator),
        ("mlp", {"input_width": 2, "output_width": 1}, object),
    ],
)
def test_auditkit_s_architectures_declare_what_they_are(name: str, arguments: dict[str, Any], kind: type) -> None:
    network = build(name, arguments)
    check_declared(network)
    assert isinstance(network, kind)
    if kind is object:
        assert not isinstance(network, CausalTokens | MaskedTokens | Generator)


def test_what_a_network_declares_and_lacks_is_named() -> None:
    class Without(Generator, nn.Module): ...

    class Table(TableGenerator, nn.Module):
        latent_shape = (2,)

    class NoMask(MaskedTokens, nn.Module):
        vocabulary_size, context, padding = 7, 4, 0

    for module, message in (
        (Without(), r"model Without: declares that it is a Generator .* has no latent_shape; set"),
        (Table(), r"model Table: declares that it is a TableGenerator .* has no columns"),
        (NoMask(), r"a MaskedTokens .* has no prefix and no suffix and no mask_token"),
    ):
        with pytest.raises(ModelFileError, match=message):
            generating(module)


def test_a_class_without_a_method_that_it_declares_cannot_be_made() -> None:
    class Half(WithDiscriminator, nn.Module):
        latent_shape = (2,)

    with pytest.raises(TypeError, match="discriminate"):
        Half()  # type: ignore[abstract]
