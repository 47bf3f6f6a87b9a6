"""Model files: the round trip, saving, and what is refused for what it is."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import re
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import Evil, refused, repacked
from torch import nn

from auditkit.errors import ModelFileError
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model

# The round trip


def test_a_model_comes_back_as_it_was_saved(model_file: Any, module: Any, card: Any, schema: Any) -> None:
    before = torch.get_rng_state()
    model = open_model(model_file)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.card == card
    assert model.schema == schema
    assert (model.name, model.kind, model.trust) == ("people", "auditkit", "weights only")
    assert model.path == str(model_file)
    assert model.sha256 == hashlib.sha256(model_file.read_bytes()).hexdigest()
    assert model.parameter_count == sum(parameter.numel() for parameter in module.parameters())
    assert not model.module.training
    for key, value in module.state_dict().items():
        assert torch.equal(model.module.state_dict()[key], value)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path, module: Any, card: Any, model_file: Any) -> None:
    save_model(tmp_path / "again.pt", module, card)
    assert (tmp_path / "again.pt").read_bytes() == model_file.read_bytes()
    assert stat.S_IMODE(model_file.stat().st_mode) == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_without_a_name_in_its_card_is_called_by_its_own(tmp_path: Path, module: Any, card: Any) -> None:
    save_model(tmp_path / "census.pt", module, card.model_copy(update={"name": ""}))
    assert open_model(tmp_path / "census.pt").name == "census"


def test_weights_of_half_precision_or_in_views_are_saved_whole(tmp_path: Path, module: Any, card: Any) -> None:
    wide = torch.randn(100, 100)
    changed = copy.deepcopy(module)
    changed[0].weight.data = wide[: changed[0].weight.shape[0], : changed[0].weight.shape[1]]
    save_model(tmp_path / "view.pt", changed, card)
    assert torch.equal(open_model(tmp_path / "view.pt").module[0].weight, changed[0].weight)  # type: ignore[index]  # torch types what a module holds as Tensor | Module
    assert (tmp_path / "view.pt").stat().st_size < 20_000
    save_model(tmp_path / "half.pt", copy.deepcopy(module).half(), card)
    assert open_model(tmp_path / "half.pt").module[0].weight.dtype == torch.float32  # type: ignore[index]  # torch types what a module holds as Tensor | Module


# Saving


def test_nothing_is_left_where_saving_fails(
    tmp_path: Path, module: Any, card: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "model.pt"
    target.write_text("the older one")

    def full(*_: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc] . unexpected pos 64 vs 0\nmore")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ModelFileError, match=r"cannot be written .is the disk full.*unexpected pos 64 vs 0"):
        save_model(target, module, card)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["model.pt"]
    assert target.read_text() == "the older one"
    with pytest.raises(ModelFileError, match="cannot be written: No such file"):
        save_model(tmp_path / "none" / "model.pt", module, card)
    with pytest.raises(ModelFileError, match="cannot be written"):
        save_model(tmp_path, module, card)
    assert os.listdir(tmp_path) == ["model.pt"]


def test_what_is_not_worth_saving(tmp_path: Path, module: Any, card: Any, schema: Any) -> None:
    broken = copy.deepcopy(module)
    with torch.no_grad():
        broken[0].bias[1] = torch.nan
    for saved, changed, match in (
        (broken, card, "weight '0.bias' has 1 values that are NaN or infinite"),
        (nn.Linear(2, 2), card, "weight '0.weight' of mlp is missing.*did you mean 'weight'"),
        (module, card.model_copy(update={"architecture": "mlpp"}), "architecture 'mlpp' is unknown"),
        (module, card.model_copy(update={"schema_": schema.model_copy(update={"features": schema.features[:1]})}),
         "reads 7 cells a row, but its schema encodes 1"),
    ):  # fmt: skip
        with pytest.raises(ModelFileError, match=match):
            save_model(tmp_path / "model.pt", saved, changed)
    assert os.listdir(tmp_path) == []


# Files that are no model


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the file is empty"),
        (b"age,income\n39,high\n", "not a model file"),
        (b"PK\x03\x04", "is damaged"),
        (b"PK\x03\x04" + b"\0" * 2000, "is damaged"),
        (b"\x7fELF" + b"\0" * 100, "not a model file"),
        (struct.pack("<Q", 20) + b'{"a": {}}' + b" " * 50, "safetensors header cannot be read"),
    ],
)
def test_other_files(tmp_path: Path, content: Any, match: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    refused(path, match)


def test_no_file_a_directory_and_a_pipe(tmp_path: Path) -> None:
    refused(tmp_path / "none.pt", "No such file")
    refused(tmp_path, "is a folder")
    pipe = tmp_path / "pipe.pt"
    os.mkfifo(pipe)
    refused(pipe, "is no regular file but a pipe")
    refused(Path("/dev/zero"), "is no regular file")


def test_a_file_cut_anywhere_is_refused(model_file: Any) -> None:
    content = model_file.read_bytes()
    for length in range(1, len(content), max(1, len(content) // 60)):
        model_file.write_bytes(content[:length])
        refused(model_file, "not a model file|is damaged|bytes before or behind|no archive|pickle")


def test_flipped_bytes_never_cause_anything_else(model_file: Any, module: Any) -> None:
    content = bytearray(model_file.read_bytes())
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(content), 400):
        changed = bytearray(content)
        changed[position] ^= 1 << int(rng.integers(8))
        model_file.write_bytes(changed)
        try:
            opened = open_model(model_file)
        except ModelFileError as error:
            assert "\n" not in str(error)  # noqa: PT017  # some damages are harmless
        else:
            # A bit of padding or of a time stamp: the weights must be the same.
            for key, value in module.state_dict().items():
                assert torch.equal(opened.module.state_dict()[key], value)


# Programs


def test_a_pickled_module_is_refused_with_the_remedies(tmp_path: Path, module: Any) -> None:
    path = tmp_path / "model.pt"
    torch.save(module, path)
    message = refused(path, "a pickled module or object, whose code runs when it is opened")
    assert "torch.nn.modules.container.Sequential" in message
    assert "torch.save(model.state_dict(), 'weights.pt')" in message
    assert message.endswith(f"--trust-pickle sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    torch.save(module, path, _use_new_zipfile_serialization=False)
    refused(path, "a pickled module or object, whose code runs.*--trust-pickle sha256:")


def test_code_in_a_pickle_never_runs(tmp_path: Path, model_like: Any, module: Any) -> None:
    refused(model_like(note=Evil()), "whose code runs when it is opened .it names '(posix|os).system'")
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(Evil()))
    refused(path, "refused: a pickle")
    path.write_bytes(pickle.dumps(Evil(), protocol=0))
    refused(path, "not a model file")
    evil = pickle.dumps({"auditkit_card": "{}", "state_dict": Evil()}, protocol=4)
    torch.save({}, path)
    repacked(path, lambda name, content: evil if name.endswith("data.pkl") else content)
    refused(path, "whose code runs when it is opened")


def test_torchscript_export_and_package_archives(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    for member, match in (
        ("archive/constants.pkl", "a TorchScript program"),
        ("archive/code/__torch__.py", "a TorchScript program"),
        ("archive/models/model.json", "a torch.export archive"),
        ("archive/archive_format", "a torch.export archive"),
        ("archive/.data/extern_modules", "a torch.package archive"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/version", "3")
            archive.writestr(member, "")
        refused(path, match)


def test_an_exported_program_is_known_for_what_it_is(tmp_path: Path) -> None:
    program = torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),))
    path = tmp_path / "model.pt2"
    torch.export.save(program, path)
    refused(path, "a torch.export archive, which can run its author's code")


def test_bare_weights_are_refused_with_the_remedy(tmp_path: Path, module: Any) -> None:
    torch.save(module.state_dict(), tmp_path / "model.pt")
    refused(tmp_path / "model.pt", "holds weights without auditkit's card.*pass --architecture")


# Weights and cards that do not fit


def test_weights_are_named_where_they_do_not_fit(model_like: Any, module: Any) -> None:
    state = dict(module.state_dict())
    renamed = {key.replace("2.weight", "2.wieght"): value for key, value in state.items()}
    refused(model_like(state=renamed), "weight '2.weight' of mlp is missing.*did you mean '2.wieght'")
    refused(model_like(state={**state, "2.weights": torch.zeros(1)}), "'2.weights' does not belong to mlp.*'2.weight'")
    refused(model_like(state={**state, "0.bias": torch.zeros(5)}), re.escape("'0.bias' must have shape (4,), got (5,)"))
    refused(model_like(state={**state, "0.bias": 3}), "no dictionary of named tensors")
    refused(model_like(state={**state, 7: torch.zeros(1)}), "no dictionary of named tensors")
    refused(model_like(state=[1]), "no dictionary of named tensors")
    refused(model_like(more=1), "must hold a card and a state_dict, and nothing else")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite(model_like: Any, module: Any, value: Any) -> None:
    state = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    state["0.bias"][2] = value
    refused(model_like(state=state), "weight '0.bias' has 1 values that are NaN or infinite")


def test_cards_that_are_not_valid(model_like: Any, card: Any) -> None:
    words = json.loads(card.model_dump_json())

    def changed(**change: object) -> str:
        return json.dumps({**words, **change})

    for text, match in (
        ("", "its card is not valid"),
        ("[" * 100_000, "its card is not valid"),
        ("{}", "schema: Field required"),
        (changed(card_version=2), "card_version: Input should be 1"),
        (changed(code="os.system('x')"), "code: Extra inputs are not permitted"),
        (changed(architecture="os:system"), "'os:system', which is code that is not auditkit's"),
        (
            changed(arguments={"hidden": [10**6] * 60, "input_width": 10**6, "output_width": 2}),
            "must have shape|missing",
        ),
        (changed(arguments={"input_width": 7, "output_width": 2, "hidden": [4], "code": 1}), "wrong arguments"),
        (changed(schema={**words["schema"], "classes": ["a"]}), "classes: at least 2"),
        (changed(schema={**words["schema"], "target": "age"}), "the target 'age' is among the features"),
        (changed(schema={**words["schema"], "task": "multiclass", "classes": ["a", "b", "c"]}), "2 outputs.*3 classes"),
    ):
        refused(model_like(card_text=text), match)
    refused(model_like(card_text=b"{}"), "its card is no text|pickle|whose code runs")
    refused(model_like(card_text=torch.zeros(2)), "its card is no text")
