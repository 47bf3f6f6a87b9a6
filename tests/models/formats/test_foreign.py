"""Weights that others saved, and programs that the user trusts: what opens, what the report must say, what is named."""

from __future__ import annotations

import hashlib
import io
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from captum.attr import IntegratedGradients
from torch import nn

from auditkit.config_commands import PackConfig
from auditkit.errors import InputError, ModelFileError, NotRun, SchemaError
from auditkit.models.capabilities import Layered
from auditkit.models.factory import build_network, read_arguments
from auditkit.models.formats.archive import LEGACY
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model, read_model_file
from auditkit.models.formats.pickles import Refused, Storage, StoredTensor, read_pickle
from auditkit.models.model import Card
from auditkit.models.open import pack_model
from auditkit.schema.infer import numeric_schema
from auditkit.schema.schema import Schema, read_schema

WIDTH = 4


class Net(nn.Module):
    """What a user has in a module of his own."""

    def __init__(self, hidden: int = 3, batch_norm: bool = False) -> None:
        super().__init__()
        norm = nn.BatchNorm1d(hidden) if batch_norm else nn.Identity()
        self.layers = nn.Sequential(nn.Linear(WIDTH, hidden), norm, nn.ReLU(), nn.Linear(hidden, 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(inputs)
        return out


def pretrained() -> nn.Module:
    torch.manual_seed(9)
    return Net()


def failing(**arguments: object) -> nn.Module:
    raise RuntimeError("no such weights\nsecond line")


NET = f"{__name__}:Net"


@pytest.fixture(scope="module", name="plain")
def plain_fixture() -> Schema:
    return numeric_schema(list("abcd"), target="y", classes=["no", "yes"])


@pytest.fixture(scope="module")
def net() -> Net:
    torch.manual_seed(1)
    return Net().eval()


def first(module: Any) -> Any:
    """Return the first layer of a network of layers, as it was opened."""
    return module.layers[0]


def sha(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def save_safetensors(state: dict[str, torch.Tensor], path: Path) -> None:
    safetensors.torch.save_file(state, path)


def save_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)
    assert path.read_bytes().startswith(LEGACY)


WRAPPED: dict[str, Callable[[Any], Any]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model_state": lambda state: {"epoch": 3, "model_state": state, "optimizer": {"state": {0: {"step": 1.0}}}},
    "model": lambda state: {"model": {"state_dict": state}},
    "only one": lambda state: {"my_weights": state, "lr": 0.1, "shape": torch.Size([3]), "on": torch.device("cpu")},
    "fastai": lambda state: {"model": state, "opt": {"state": [{"mom": 0.9}], "hypers": [{"lr": 0.001}]}},
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "two prefixes": lambda state: {"net": {f"_orig_mod.module.{key}": value for key, value in state.items()}},
}


@pytest.mark.parametrize(
    ("save", "wrapped"),
    [
        *((save, wrapped) for save in (torch.save, save_legacy) for wrapped in WRAPPED),
        # A safetensors file holds named tensors and nothing else.
        (save_safetensors, "bare"),
        (save_safetensors, "module."),
    ],
)
def test_foreign_weights_open_however_they_were_saved(
    save: Callable[[Any, Path], None], wrapped: str, tmp_path: Path, net: Net, plain: Schema
) -> None:
    content = WRAPPED[wrapped](net.state_dict())
    path = tmp_path / "weights.bin"
    save(content, path)
    model = open_model(path, architecture=NET, schema=plain)
    for key, value in net.state_dict().items():
        assert torch.equal(model.module.state_dict()[key], value)
    assert (model.kind, model.trust, model.architecture) == ("weights", "weights only", NET)
    assert model.sha256 == sha(path)[7:]
    text = " ".join(model.notes)
    assert ("were found under" in text) == (wrapped not in ("bare", "module."))
    assert ("prefix" in text) == (wrapped in ("module.", "two prefixes"))
    assert not model.module.training


def test_half_precision_parameters_buffers_and_other_protocols(tmp_path: Path, plain: Schema) -> None:
    net = Net(batch_norm=True)
    path = tmp_path / "weights.pt"
    torch.save(net.state_dict(), path, pickle_protocol=4)
    with pytest.raises(ModelFileError, match=r"was written with pickle protocol 4; save it with torch.save's own, 2"):
        open_model(path, architecture=NET, arguments={"batch_norm": True}, schema=plain)
    torch.save(net.half().state_dict(), path)
    model = open_model(path, architecture=NET, arguments={"batch_norm": True}, schema=plain)
    assert next(model.module.parameters()).dtype == torch.float32
    assert "half precision (float16) were widened" in model.notes[0]
    torch.save(dict(net.bfloat16().named_parameters()) | dict(net.named_buffers()), path)
    model = open_model(path, architecture=NET, arguments={"batch_norm": True}, schema=plain)
    assert "bfloat16" in model.notes[0]


def test_weights_saved_on_cuda_open_without_one(tmp_path: Path, net: Net, plain: Schema) -> None:
    path = tmp_path / "weights.pt"
    save_legacy(net.state_dict(), path)
    # A CUDA tensor differs in the place that its storage names.
    path.write_bytes(path.read_bytes().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    model = open_model(path, architecture=NET, schema=plain)
    assert torch.equal(first(model.module).weight, first(net).weight)


def test_every_byte_of_a_legacy_or_safetensors_file_may_be_wrong(tmp_path: Path, net: Net, plain: Schema) -> None:
    path = tmp_path / "weights.bin"
    rng = np.random.default_rng(0)
    for save in (save_legacy, save_safetensors):
        save(net.state_dict(), path)
        honest = path.read_bytes()
        for trial in range(150):
            changed = bytearray(honest)
            if trial < 30:
                del changed[int(rng.integers(1, len(honest))) :]
            else:
                changed[int(rng.integers(len(honest)))] ^= 1 << int(rng.integers(8))
            path.write_bytes(changed)
            try:
                open_model(path, architecture=NET, schema=plain)
            except ModelFileError as error:
                assert "\n" not in str(error)  # noqa: PT017  # some damages are harmless


def test_what_does_not_fit_is_named_with_its_closest_match(tmp_path: Path, net: Net, plain: Schema) -> None:
    path = tmp_path / "weights.pt"

    def refused(state: object, match: str, **named: Any) -> None:
        torch.save(state, path)
        with pytest.raises(ModelFileError, match=match) as caught:
            open_model(path, **{"architecture": NET, "schema": plain, **named})
        assert "\n" not in str(caught.value)

    state = dict(net.state_dict())
    renamed = {key.replace("0.weight", "0.wieght"): value for key, value in state.items()}
    refused(renamed, r"'layers.0.weight' of .*Net is missing .did you mean 'layers.0.wieght'")
    refused({**state, "head": torch.zeros(1), "tail": torch.zeros(1)}, "'head' does not belong to .*; nor do 1 more")
    refused({**state, "layers.0.bias": torch.zeros(5)}, r"'layers.0.bias' must have shape \(3,\), got \(5,\)")
    refused(state, r"must have shape \(7, 4\), got \(3, 4\)", arguments={"hidden": 7})
    refused({}, "no dictionary of named tensors")
    refused({"a": {"b": 1}}, "no dictionary of named tensors")
    refused(state, "pass --architecture package.module:factory", architecture=None)
    refused(state, "pass --schema", schema=None)
    refused(state, "which need no trust; leave --trust-pickle out", trust_pickle="sha256:0")
    refused(state, "architecture 'mpl' is unknown.*did you mean 'mlp'", architecture="mpl")
    refused({**state, "layers.0.bias": torch.tensor([1.0, torch.nan, 2])}, "'layers.0.bias' has 1 values that are NaN")
    torch.save(state, path)
    assert open_model(path, architecture=NET, schema=lambda: plain).schema == plain


@pytest.mark.parametrize(
    ("architecture", "match"),
    [
        ("no_such_module_at_all:Net", "run auditkit in the folder that holds no_such_module_at_all.py"),
        (f"{__name__}:Nett", "AttributeError: module .* has no attribute 'Nett'"),
        (f"{__name__}:failing", "RuntimeError: no such weights"),
        (f"{__name__}:sha", "TypeError: sha"),
        ("builtins:dict", "must return a torch.nn.Module, got dict"),
        ("os:", "is not understood; write package.module:factory"),
        ("os:system;x", "is not understood"),
        ("../x:y", "is not understood"),
    ],
)
def test_factories_that_give_no_network(architecture: str, match: str) -> None:
    before = list(sys.path)
    with pytest.raises(ModelFileError, match=match) as caught:
        build_network(architecture, {})
    assert "\n" not in str(caught.value)
    assert sys.path == before


def test_a_factory_beside_the_user_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net_of_mine.py").write_text("import torch\ndef build(width): return torch.nn.Linear(width, 2)\n")
    monkeypatch.chdir(tmp_path)
    assert build_network("net_of_mine:build", {"width": 3}).in_features == 3
    sys.modules.pop("net_of_mine")


def test_architecture_args_are_a_json_object() -> None:
    assert read_arguments(None) == {}
    for text, match in (("{", "must be a JSON object, such as"), ("[1]", "got list"), ("[" * 100_000, "JSON object")):
        with pytest.raises(InputError, match=match):
            read_arguments(text)


def test_fresh_weights_of_foreign_models(tmp_path: Path, net: Net, plain: Schema) -> None:
    path = tmp_path / "weights.pt"
    torch.save(net.state_dict(), path)
    model = open_model(path, architecture=NET, schema=plain)
    assert not torch.equal(first(model.fresh(2)).weight, first(model.fresh(3)).weight)
    torch.save(pretrained().state_dict(), path)
    with pytest.raises(NotRun, match=r"returns weight 'layers.0.weight' as it was audited, and not a fresh one"):
        open_model(path, architecture=f"{__name__}:pretrained", schema=plain).fresh(0)


# Packing


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_are_packed_with_the_users_own_code(tmp_path: Path, net: Net, plain: Schema, suffix: str) -> None:
    path, out = tmp_path / "weights.pt", tmp_path / f"packed{suffix}"
    torch.save({"state_dict": net.half().state_dict()}, path)
    net.float()
    config = PackConfig(architecture=NET, output="probabilities", classes=("yes", "no"))
    packed = pack_model(path, out, config=config, schema=plain)
    assert packed.kind == "auditkit"
    assert (packed.schema.output, packed.schema.classes) == ("probabilities", ("yes", "no"))
    assert any("found under 'state_dict'" in note for note in packed.notes)
    with pytest.raises(ModelFileError, match="which is code that is not auditkit's; only if that code is your own"):
        open_model(out)
    with pytest.raises(ModelFileError, match="name it yourself"):
        open_model(out, architecture="mlp")
    assert torch.equal(first(open_model(out, architecture=NET).module).weight, first(packed.module).weight)
    assert not packed.known_by_hash


def test_a_native_safetensors_file_needs_no_further_word(
    tmp_path: Path, module: nn.Module, card: Any, model_file: Path
) -> None:
    out = tmp_path / "model.safetensors"
    save_model(out, module, card)
    model = open_model(out)
    assert (model.card, model.kind, model.trust) == (card, "auditkit", "weights only")
    for key, value in module.state_dict().items():
        assert torch.equal(model.module.state_dict()[key], value)
    assert pack_model(model_file, tmp_path / "again.safetensors", config=PackConfig()).card == card
    assert (tmp_path / "again.safetensors").read_bytes() == out.read_bytes()
    with pytest.raises(ModelFileError, match="leave --architecture-args out"):
        open_model(out, arguments={"hidden": [4]})
    with pytest.raises(ModelFileError, match="names the architecture 'mlp', not 'cnn'; leave --architecture out"):
        open_model(out, architecture="cnn")
    other = card.schema_.model_copy(update={"sensitive": ("job",)})
    replaced = open_model(out, schema=other)
    assert replaced.schema == other
    assert "takes the place of the one in the model's card" in replaced.notes[0]


def test_what_cannot_be_packed(tmp_path: Path, net: Net, plain: Schema) -> None:
    torch.save(net.state_dict(), tmp_path / "weights.pt")
    torch.save(net, tmp_path / "module.pt")
    trust = sha(tmp_path / "module.pt")
    for name, out, config, schema, match in (
        ("weights.pt", "model.bin", PackConfig(architecture=NET), plain, "must end in .pt or .safetensors"),
        ("weights.pt", "model.pt", PackConfig(architecture=NET), None, "pass --schema"),
        ("module.pt", "model.pt", PackConfig(trust_pickle=trust), plain, "pass --architec"),
    ):
        with pytest.raises(InputError, match=match):
            pack_model(tmp_path / name, tmp_path / out, config=config, schema=schema)
    config = PackConfig(architecture=NET, trust_pickle=trust)
    packed = pack_model(tmp_path / "module.pt", tmp_path / "model.pt", config=config, schema=plain)
    assert packed.trust == "weights only"
    assert "It was opened because --trust-pickle names its sha256" in packed.notes[0]


def test_schema_files(tmp_path: Path, plain: Schema) -> None:
    path = tmp_path / "schema.json"
    path.write_text(plain.model_dump_json())
    assert read_schema(path) == plain
    for text, match in (
        ("{", r"its text: Invalid JSON"),
        ("{}", "features: Field required"),
        (plain.model_dump_json().replace('"numeric"', '"numerical"', 1), r"features.0.kind: Input should be"),
    ):
        path.write_text(text)
        with pytest.raises(SchemaError, match=match):
            read_schema(path)
    with pytest.raises(SchemaError, match="No such file"):
        read_schema(tmp_path / "none.json")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SchemaError, match="not UTF-8"):
        read_schema(path)


# Programs under trust


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory, net: Net) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("programs")
    example = torch.zeros(5, WIDTH)
    paths = {name: folder / f"{name}.bin" for name in ("dynamic", "static", "script", "trace", "pickle")}
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(net, (example,), dynamic_shapes=shapes), paths["dynamic"].with_suffix(".pt2"))
    torch.export.save(torch.export.export(net, (example,)), paths["static"].with_suffix(".pt2"))
    for name in ("dynamic", "static"):  # the kind is told from the content, not from the name
        paths[name].with_suffix(".pt2").rename(paths[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(net), paths["script"])
        torch.jit.save(torch.jit.trace(net, example), paths["trace"])
    torch.save(net, paths["pickle"])
    return paths


@pytest.mark.parametrize("name", ["dynamic", "static", "script", "trace", "pickle"])
def test_trusted_programs_compute_what_the_module_computes(
    name: str, programs: dict[str, Path], net: Net, plain: Schema
) -> None:
    path = programs[name]
    option = "trust_pickle" if name == "pickle" else "trust_model"
    trust: dict[str, Any] = {option: sha(path)}
    model = open_model(path, schema=plain, **trust)
    assert model.trust == "trusted by its hash: its author's code was run"
    assert f"--{option.replace('_', '-')} names its sha256" in model.notes[0]
    assert model.kind == {"pickle": "pickled module", "script": "TorchScript", "trace": "TorchScript"}.get(
        name, "torch.export"
    )
    assert (model.capability(Layered) is None) == (name != "pickle")
    assert model.card is None
    assert (model.architecture == "Net") == (name == "pickle")
    rows = torch.randn(13, WIDTH)
    model.module.to("cpu").eval()
    with torch.no_grad():
        assert torch.allclose(model.module(rows), net(rows), atol=1e-6)
    # Integrated gradients: what the eager module gives.
    found = IntegratedGradients(model.module).attribute(rows, target=1, n_steps=8, internal_batch_size=13)
    expected = IntegratedGradients(net).attribute(rows, target=1, n_steps=8, internal_batch_size=13)
    assert torch.allclose(found, expected, atol=1e-6)
    if name == "static":
        assert "batches of exactly 5 rows" in model.notes[1]
    if model.kind == "TorchScript":
        with pytest.raises(NotRun, match="program has no architecture to build anew"):
            model.fresh(0)
    else:
        audited, drawn = (dict(module.named_parameters()) for module in (model.module, model.fresh(0)))
        assert audited.keys() == drawn.keys()
        assert not any(torch.equal(audited[key], drawn[key]) for key in audited)


def test_programs_need_a_schema_and_finite_weights(
    programs: dict[str, Path], tmp_path: Path, net: Net, plain: Schema
) -> None:
    with pytest.raises(ModelFileError, match="has no schema of its inputs and outputs; pass --schema"):
        open_model(programs["script"], trust_model=sha(programs["script"]))
    broken = Net()
    with torch.no_grad():
        first(broken).bias[0] = torch.inf
    torch.save(broken, tmp_path / "broken.pt")
    with pytest.raises(ModelFileError, match=r"'layers.0.bias' has 1 values that are NaN or infinite"):
        open_model(tmp_path / "broken.pt", schema=plain, trust_pickle=sha(tmp_path / "broken.pt"))


def test_weights_in_a_pickle_of_more_open_under_trust(tmp_path: Path, net: Net, plain: Schema) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"state_dict": net.state_dict(), "best": np.float64(0.9)}, path)
    with pytest.raises(ModelFileError, match="--trust-pickle"):
        open_model(path, architecture=NET, schema=plain)
    model = open_model(path, architecture=NET, schema=plain, trust_pickle=sha(path))
    assert (model.kind, model.trust) == ("weights", "trusted by its hash: its author's code was run")
    assert torch.equal(first(model.module).weight, first(net).weight)


def test_cards_from_files_never_import(tmp_path: Path, plain: Schema, net: Net) -> None:
    card = Card(schema=plain, architecture="evil_module_of_a_file:run", arguments={"command": "x"})
    torch.save({"auditkit_card": card.model_dump_json(), "state_dict": dict(net.state_dict())}, tmp_path / "m.pt")
    with pytest.raises(ModelFileError, match="'evil_module_of_a_file:run', which is code that is not auditkit's"):
        open_model(tmp_path / "m.pt")


def test_a_safetensors_file_whose_header_begins_like_a_pickle_is_none(tmp_path: Path) -> None:
    tensors = {"weight": torch.zeros(2)}
    for padding in range(2000):
        content = safetensors.torch.save(tensors, metadata={"padding": "x" * padding})
        if content.startswith(b"\x80\x04"):
            break
    assert content.startswith(b"\x80\x04")
    (tmp_path / "model.safetensors").write_bytes(content)
    assert read_model_file(tmp_path / "model.safetensors").contents.form == "safetensors file"


def test_a_dictionary_of_python_2_is_a_list_of_pairs() -> None:
    tensor = (
        b"ctorch._utils\n_rebuild_tensor\n((U\x07storagectorch\nFloatStorage\nU\x011U\x06cuda:0K\x04NtQ"
        b"K\x00K\x02K\x02\x86K\x02K\x01\x86tR"
    )
    before, after = b"\x80\x02ccollections\nOrderedDict\n](](U\x01a", b"ee\x85R."
    seen: list[Storage] = []
    found = read_pickle(io.BytesIO(before + tensor + after), seen.append, byte_count=100)
    assert found == {"a": StoredTensor(shape=(2, 2), dtype="float32")}
    assert seen == [Storage("float32", "1", 4)]
    for odd in (b"ee\x85R.", b"K\x01K\x02ee\x85R."):
        with pytest.raises(Refused, match="makes a dictionary in a way that torch"):
            read_pickle(io.BytesIO(before + odd), seen.append, byte_count=100)


def test_weights_that_python_2_saved_open(tmp_path: Path) -> None:
    """Their texts are bytes: the pickle word SHORT_BINSTRING, as in the files of lpips."""
    path = tmp_path / "old.pth"
    torch.save({"weight": torch.arange(6.0).reshape(2, 3)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    old, at = b"", 0
    for found in re.finditer(rb"X(.)\x00\x00\x00", content):
        text = content[found.end() : found.end() + found.group(1)[0]]
        if text.isascii() and found.start() >= at:
            old += content[at : found.start()] + b"U" + found.group(1) + text
            at = found.end() + len(text)
    path.write_bytes(old + content[at:])
    assert b"U\x06weight" in path.read_bytes()
    opened = open_model(
        path,
        architecture="torch.nn:Linear",
        arguments={"in_features": 3, "out_features": 2, "bias": False},
        schema=numeric_schema(["a", "b", "c"], target="y", classes=("0", "1")),
    )
    assert torch.equal(opened.module.state_dict()["weight"], torch.arange(6.0).reshape(2, 3))
