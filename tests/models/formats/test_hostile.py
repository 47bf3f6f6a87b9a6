"""Files made to harm: each is refused, with trust too, and leaves no file, no process and no connection behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
import torch
from effort import effort
from refusals import MOST_BYTES, TRACE, Evil, most_calls
from torch import nn
from torch.package.package_exporter import PackageExporter

import auditkit
from auditkit.errors import ModelFileError
from auditkit.models.formats.opening import open_model, read_model_file
from auditkit.schema.infer import numeric_schema
from auditkit.schema.schema import Schema

WATCHED = ("os.system", "subprocess.Popen", "os.posix_spawn", "os.fork", "os.exec", "socket.connect", "ctypes.dlopen")
happened: list[str] = []
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and (event in WATCHED or (event == "open" and set(str(arguments[1])) & set("wax+"))):
        happened.append(f"{event} {arguments}")


sys.addaudithook(watch)


@pytest.fixture(scope="module")
def schema() -> Schema:
    return numeric_schema(list("abcd"), target="y", classes=["no", "yes"])


def sha(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def refused(schema: Schema) -> Iterator[Callable[..., str]]:
    def refused(path: Path, match: str, **trust: Any) -> str:
        global watching
        happened.clear()
        before = sorted(os.listdir(path.parent))
        watching = True
        try:
            with effort() as spent, pytest.raises(ModelFileError, match=match) as caught:
                open_model(path, schema=schema, **trust)
        finally:
            watching = False
        assert spent.calls < most_calls(path)
        assert spent.peak_bytes < MOST_BYTES
        assert "\n" not in str(caught.value)
        assert happened == []
        assert not TRACE.exists()
        assert sorted(os.listdir(path.parent)) == before
        return str(caught.value)

    yield refused
    TRACE.unlink(missing_ok=True)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.pt2"
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(network(), (torch.zeros(3, 4),), dynamic_shapes=shapes), path)
    return path


def tampered(
    source: Path, target: Path, *, change: dict[str, Any] | None = None, add: dict[str, bytes] | None = None
) -> Any:
    """Write an archive again; `change` maps a member's end to a function of its bytes, `add` adds members."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(members)).partition("/")[0]
    for name in members:
        for end, function in (change or {}).items():
            if name.endswith(end):
                members[name] = function(members[name])
    members |= {f"{root}/{name}": content for name, content in (add or {}).items()}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def edit(function: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        document = json.loads(content)
        function(document)
        return json.dumps(document).encode()

    return change


def in_text(old: str, new: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        assert old.encode() in content
        return content.replace(old.encode(), new.encode())

    return change


def pickled(thing: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(thing, buffer)
    return buffer.getvalue()


CODE = f"__import__('os').system('touch {TRACE}')"
EXPR = "Symbol('s31', positive=True, integer=True)"


def symbol(exported: Path) -> str:
    with zipfile.ZipFile(exported) as archive:
        name = next(name for name in archive.namelist() if name.endswith("models/model.json"))
        return str(next(iter(json.loads(archive.read(name))["range_constraints"])))


def expression(code: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        document = content.decode()
        start = document.index('"expr_str": "') + len('"expr_str": "')
        end = document.index('", "hint"', start)
        return document.replace(document[start:end], code.replace('"', "'")).encode()

    return change


def first_node(document: Any) -> Any:
    return document["graph_module"]["graph"]["nodes"][0]


def put(document: Any, key: str, value: Any) -> None:
    document[key] = value


HUGE = '{"as_int": 999999}, {"as_int": 999999}'
ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "sample inputs that are a pickle": (
        {"change": {"sample_inputs/model.pt": lambda content: pickled(((Evil(),), {}))}},
        "holds sample inputs that are a pickled module or object",
    ),
    "weights that are a pickle": (
        {"change": {"model_weights_config.json": in_text('"use_pickle": false', '"use_pickle": true')}},
        "is a pickle or an object",
    ),
    "an opaque constant": (
        {"add": {"data/constants/opaque_obj_0": pickle.dumps(Evil())}},
        "opaque_obj_0', which is no part of a plain exported network",
    ),
    "a custom object": ({"add": {"data/constants/custom_obj_0": b"x"}}, "custom_obj_0', which is no part"),
    "a shape expression": ({"change": {"models/model.json": expression(CODE)}}, "which is more than arithmetic"),
    "a power without end": ({"change": {"models/model.json": expression("9**9**9**9")}}, "more than arithmetic"),
    "a guard": (
        {"change": {"models/model.json": edit(lambda document: put(document, "guards_code", [CODE]))}},
        "which is more than a comparison of sizes",
    ),
    "a tree type": (
        {"change": {"models/model.json": in_text("builtins.tuple", "evil_module.Evil")}},
        "nests its inputs in 'evil_module.Evil'",
    ),
    "a tree context": (
        {"change": {"models/model.json": in_text(
            r'\"builtins.dict\", \"context\": \"[]\"',
            r'\"collections.defaultdict\", \"context\": \"{\\\"default_factory_module\\\": \\\"evil\\\"}\"',
        )}},
        "nests its inputs in 'collections.defaultdict'",
    ),
    "an operator that loads": (
        {"change": {"models/model.json": edit(lambda document: put(first_node(document), "target", "torch.hub.load"))}},
        "calls 'torch.hub.load', which is no plain operator",
    ),
    "an operator that reads files": (
        {"change": {"models/model.json": edit(
            lambda document: put(first_node(document), "target", "torch.ops.aten.from_file.default"))}},
        "from_file.default', which is no plain operator",
    ),
    "a name that is code": (
        {"change": {"models/model.json": in_text('"name": "input"', '"name": "input=exec(1)"')}},
        "which is no plain name",
    ),
    "an argument name that is code": (
        {"change": {"models/model.json": in_text('_names": ["input"]', '_names": ["x=exec(1)"]')}},
        "which is no plain name",
    ),
    "native code": ({"add": {"data/aotinductor/m/x.so": b"\x7fELF"}}, "which is no part of a plain exported network"),
    "a path out of the archive": (
        {"add": {f"data/aotinductor/m/../../../../../..{TRACE}": b"x"}},
        "which is no part of a plain exported network",
    ),
    "weights that are not there": (
        {"change": {"model_weights_config.json": in_text('{"as_int": 3}, {"as_int": 4}', HUGE)}},
        "numbers, and its storage has",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_export_archives(attack: Any, exported: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    how, match = ATTACKS[attack]
    path = tampered(exported, tmp_path / "model.pt2", **how)
    message = refused(path, "a torch.export archive, which can run its author's code when it is opened")
    assert message.endswith(f"--trust-model {sha(path)}")
    refused(path, match, trust_model=sha(path))


def test_an_honest_export_passes_the_same_preflight(exported: Path, tmp_path: Path, schema: Schema) -> None:
    path = tampered(exported, tmp_path / "model.pt2")
    assert open_model(path, schema=schema, trust_model=sha(path)).kind == "torch.export"


class Writes(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        torch.save(inputs, "TRACE-FILE")
        return inputs


class Maps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.path = str(TRACE)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_file(self.path, shared=True, size=4) + inputs


class Prints(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        print(inputs)
        return inputs


@pytest.mark.parametrize("module", [Writes, Maps, Prints])
def test_torchscript_that_touches_files(module: Any, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "model.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module()), path)
    message = refused(path, "a TorchScript program, which can read and write files when it runs")
    assert message.endswith(f"--trust-model {sha(path)}")
    refused(path, "reads or writes outside the network|prints, or calls Python", trust_model=sha(path))


def test_torchscript_that_inflates(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/constants.pkl", b"x" * 10)
        archive.writestr("archive/code/a.py", b"\0" * 2**28)
    refused(path, "inflate without bound", trust_model=sha(path))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/constants.pkl", b"x" * 10)
        archive.writestr("archive/../../evil.so", b"x")
    refused(path, "which is no part of a network", trust_model=sha(path))


def test_pickles_of_every_kind(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "model.pt"
    torch.save({"state_dict": Evil()}, path)
    refused(path, "pickled module or object.*--trust-pickle sha256:")
    torch.save({"state_dict": Evil()}, path, _use_new_zipfile_serialization=False)
    refused(path, "pickled module or object.*--trust-pickle sha256:")
    for content in (pickle.dumps(Evil()), pickle.dumps({"weights": Evil()}, protocol=5)):
        path.write_bytes(content)
        assert "--trust" not in refused(path, "refused: a pickle .of pickle.dump or joblib")
        refused(path, "refused: a pickle", trust_pickle=sha(path), trust_model=sha(path))
    joblib.dump({"weights": Evil()}, path)
    refused(path, "refused: a pickle .of pickle.dump or joblib")
    joblib.dump({"weights": Evil()}, path, compress=3)
    refused(path, "zlib-compressed; auditkit opens no compressed model")


def test_archives_of_torch_before_0_4(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "model.pt"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(content := pickle.dumps(Evil()))
            archive.addfile(member, io.BytesIO(content))
    refused(path, r"a tar archive of torch before 0\.4", trust_pickle=sha(path))


def test_packages_are_never_opened(tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "model.pt"
    with PackageExporter(path) as exporter:
        exporter.save_source_string("evil", f"import os; {CODE}")
        exporter.save_pickle("model", "model.pkl", [1])
    message = refused(path, "a torch.package archive, which holds Python source", trust_model=sha(path))
    assert "--trust" not in message


def test_trust_is_for_the_very_file(tmp_path: Path, refused: Callable[..., str], exported: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(Evil(), path)
    wrong = "sha256:" + "0" * 64
    refused(path, f"--trust-pickle names '{wrong}', but this file is {sha(path)}", trust_pickle=wrong)
    refused(path, "pickled module or object", trust_model=sha(path))
    refused(path, "--trust-pickle names 'yes', but this file is", trust_pickle="yes")
    copied = tampered(exported, tmp_path / "model.pt2")
    refused(copied, "torch.export archive", trust_pickle=sha(copied))


def test_code_in_a_trusted_pickle_that_fails_is_one_line(tmp_path: Path, schema: Schema) -> None:
    class Raises:
        def __reduce__(self) -> Any:
            return (int, ("not a number\nat all",))

    path = tmp_path / "model.pt"
    torch.save(Raises(), path)
    with pytest.raises(ModelFileError, match=r"cannot be opened: ValueError: invalid literal") as caught:
        open_model(path, schema=schema, trust_pickle=sha(path))
    assert "\n" not in str(caught.value)
    torch.save([torch.Size([1]), complex(1, 2)], path)
    with pytest.raises(ModelFileError, match="holds a list, and neither a module nor weights"):
        open_model(path, schema=schema, trust_pickle=sha(path))


def test_reading_what_a_file_is_runs_nothing_either(tmp_path: Path) -> None:
    global watching
    path = tmp_path / "model.pt"
    torch.save(Evil(), path)
    happened.clear()
    watching = True
    try:
        assert read_model_file(path).kind == "pickled module"
    finally:
        watching = False
    assert happened == []
    assert not TRACE.exists()


def test_nothing_of_auditkit_calls_what_unpickles() -> None:
    root = Path(auditkit.__file__).parent
    for path in root.rglob("*.py"):
        text = path.read_text()
        assert "load_checkpoint(" not in text, path  # of Opacus: weights_only=False inside
        assert "add_safe_globals" not in text, path
        if path.name != "pickled.py":
            assert "weights_only=False" not in text, path
        if path.name != "torchscript.py":
            assert "torch.jit.load" not in text, path


BOMBS = """
import resource, sys, torch
from auditkit.errors import ModelFileError
from auditkit.models.formats.opening import open_model
from auditkit.schema.infer import numeric_schema
schema = numeric_schema(["a"], target="y", classes=["no", "yes"])
resting = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
calls = 0
def count(frame, event, argument):
    global calls
    calls += event in ("call", "c_call")
for path in sys.argv[1:]:
    calls = 0
    sys.setprofile(count)
    try:
        open_model(path, schema=schema, architecture="mlp", arguments={"input_width": 1, "output_width": 2})
    except ModelFileError as error:
        sys.setprofile(None)
        print(calls, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resting, error)
    else:
        raise SystemExit(f"{path} was opened")
"""


def test_size_bombs_are_refused_with_little_work_and_within_500_mb(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    bombs = [tmp_path / f"bomb{number}" for number in range(7)]
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, bombs[0])
    with zipfile.ZipFile(bombs[1], "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2**28)
    torch.save({"a": torch.zeros(8)}, bombs[2], _use_new_zipfile_serialization=False)
    count = bombs[2].read_bytes()
    bombs[2].write_bytes(count.replace(b"K\x08N", b"\x8a\x05\x00\x00\x00\x00\x32N").replace(b"K\x08\x85", b"K\x08\x85"))
    bombs[3].write_bytes((2**40).to_bytes(8, "little") + b"{" + b" " * 100)
    save_file({"a": torch.zeros(8)}, bombs[4])
    bombs[4].write_bytes(bombs[4].read_bytes().replace(b'"shape":[8]', b'"shape":[8000000000]'))
    bombs[5].write_bytes(count[:-40] + b"X\xff\xff\xff\x7f" + count[-40:])
    with zipfile.ZipFile(bombs[6], "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"](" * 500_000)
    command = [sys.executable, "-c", BOMBS, *map(str, bombs)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.strip().splitlines()
    assert len(lines) == len(bombs)
    for path, line in zip(bombs, lines, strict=True):
        calls, kilobytes, message = line.split(" ", 2)
        assert int(calls) < most_calls(path), message
        assert int(kilobytes) < 500_000, message
