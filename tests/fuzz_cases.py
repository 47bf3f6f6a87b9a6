"""The cases of the fuzzer: which files are damaged, in which ways, and the command line that reads each."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_files import LISTS, RETRAINING, WORDS

from auditkit.models.formats.archive import CARD

KINDS: dict[str, tuple[str, ...]] = {
    "model": ("model.pt", "model.safetensors"),
    "weights": ("nested.pt", "legacy.pt", "bare.safetensors"),
    "program": ("program.pt2", "pickled.pt"),
    "data": ("data.csv", "data.csv", "data.parquet", "data.jsonl"),
    "estimator": ("model.skops", "model.onnx", "model.joblib"),
    "table": ("data.npz",),
    "images": ("images",),
    "words": tuple(WORDS),
    "seal": ("run",),
    "policy": ("policy.toml",),
    "schema": ("schema.json",),
    "results": ("results.json",),
    "language": ("bert",),
    "checkpoint": ("checkpoint",),
    "ledger": ("private",),
    "vectors": ("vectors.glove", "vectors.vec", "vectors.bin", "vectors.npy"),
    "lists": tuple(LISTS),
    "log": ("log.json", "samples_t.jsonl"),
    "synthetic": ("synthetic.csv",),
    "causal": ("gpt",),
    "canaries": ("seeded.canaries.json",),
}

ODD_NUMBERS: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 10**400, float("nan"), float("inf"), "x", b"x", [], {}, {"a": 1}, ["a", None],
)  # fmt: skip
"""What may stand in a checkpoint in place of anything else."""

ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**400, 1e308, "", "x", "\ud800", "\x1b]0;x\x07", "<script>alert(1)</script>", "=1|' /C x'!A",
    "0001-01-01T00:00:00+14:00", [], {}, [[]], {"a": None}, ["a", 1, None],
)  # fmt: skip
"""What may stand in a JSON file in place of anything else."""


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with a few of them flipped, replaced, taken out, doubled or cut off."""
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4, 16]))):
        if not changed:
            break
        place, way = int(rng.integers(len(changed))), int(rng.integers(10))
        if way < 5:
            changed[place] ^= 1 << int(rng.integers(8))
        elif way < 7:
            changed[place] = int(rng.choice([0, 1, 9, 10, 34, 44, 48, 57, 127, 128, 255, int(rng.integers(256))]))
        elif way == 7:
            del changed[place : place + int(rng.integers(1, 9))]
        elif way == 8:
            changed[place:place] = changed[place : place + int(rng.integers(1, 33))]
        elif rng.random() < 0.2:
            del changed[place:]
    return bytes(changed)


def damaged_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Return JSON text in which a few values are others, are gone, or stand in another's place."""
    document = json.loads(content)
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        places = [
            (part, key)
            for part in _containers(document)
            for key in (part if isinstance(part, dict) else range(len(part)))
        ]
        part, key = places[int(rng.integers(len(places)))]
        way = int(rng.integers(4))
        if way == 0:
            del part[key]
        elif way == 1:
            other, place = places[int(rng.integers(len(places)))]
            part[key] = copy.deepcopy(other[place])
        else:
            part[key] = copy.deepcopy(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))])
    return json.dumps(document).encode()


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _containers(item)


def damage_inside(path: Path, rng: np.random.Generator) -> bytes:
    """Damage one member of a zip archive, and write the archive again with checksums that fit."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = str(rng.choice(list(members)))
    members[chosen] = damaged(members[chosen], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def command_of(number: int, honest: Path, work: Path, kinds: Sequence[str]) -> tuple[list[str], str]:
    """Write the damaged file of a case, of each of the kinds in turn; return its command line and what was damaged."""
    os.environ["XDG_DATA_HOME"] = str(honest / "home")  # the fuzzer's own keys and records
    rng = np.random.default_rng(number)
    kind = kinds[number % len(kinds)]
    name = str(rng.choice(KINDS[kind]))
    if kind in ("checkpoint", "ledger"):
        return _of_a_private_training(kind, honest, work, rng), kind
    if (honest / name).is_dir():
        return _of_a_folder(kind, honest / name, work, rng)
    inside = (
        kind in ("model", "weights", "estimator", "table") and zipfile.is_zipfile(honest / name) and rng.random() < 0.5
    )
    way = damaged_json if name.endswith(".json") and rng.random() < 0.8 else damaged
    content = damage_inside(honest / name, rng) if inside else way((honest / name).read_bytes(), rng)
    (work / name).write_bytes(content)
    if kind == "results":
        command = ["gate", str(work / name), "--policy", str(honest / "policy.toml"), "--out", str(work / "out")]
        return [*command, "--to", "html,junit,markdown,sarif,gitlab,model-card,cyclonedx", "--quiet"], f"{kind} {name}"
    if kind == "table":
        return ["schema", "infer", str(work / name), "--target", "income"], f"{kind} {name}"
    if name == "facts.toml":
        command = ["comply", str(honest / "results.json"), "--framework", "nist-ai-rmf", "--facts", str(work / name)]
        return [*command, "--out", str(work / "out")], f"{kind} {name}"
    if kind in READ_ALONE:
        return _of_a_file(kind, work / name, honest, work / "out"), f"{kind} {name}"
    return _run_command(kind, name, honest, work, content), f"{kind} {name}{' inside' if inside else ''}"


READ_ALONE = ("vectors", "lists", "log", "synthetic", "canaries")
"""The kinds whose files are audited by themselves, or beside an honest model of their own."""


def _of_a_file(kind: str, path: Path, honest: Path, out: Path) -> list[str]:
    """Return the command line that reads a damaged file of words, scores or records."""
    if path.suffix == ".npy":
        shutil.copy(honest / "vectors.vocab", path.with_suffix(".vocab"))
    texts = ["--text", "text", "--target", "label", "--sensitive", "sex"]
    data = str(honest / "data.csv")
    heads = {
        "vectors": [str(path)],
        "log": ["--results", str(path)],
        "synthetic": ["--samples", str(path), "--train-dataset", data, "--dataset", data],
        "canaries": [*_language_model(honest / "gpt", honest), "--canary-record", str(path)],
        "lists": [str(honest / "vectors.vec"), "--set", f"bias.word_lists={path}"],
    }
    command = heads[kind]
    if path.name == "identity_terms.toml":
        command = [str(honest / "bert"), "--dataset", str(honest / "texts.csv"), *texts]
        command += ["--identity-terms", str(path), "--only", "identity_terms"]
    ending = ["--policy", str(honest / "policy.toml"), "--effort", "quick", "--quiet", "--out", str(out)]
    return ["run", *command, *ending]


def _language_model(folder: Path, honest: Path) -> list[str]:
    """Return the arguments of an audit of what a language model remembers."""
    texts = [
        "--dataset",
        str(honest / "unseen.jsonl"),
        "--train-dataset",
        str(honest / "seeded.jsonl"),
        "--text",
        "text",
    ]
    return [str(folder), *texts, "--only", "memorisation", "--set", "memorisation.prompts=10"]


def _run_command(kind: str, name: str, honest: Path, work: Path, content: bytes) -> list[str]:
    """Return the command line of an audit in which one file is the damaged one."""
    files = {"model": honest / "model.pt", "data": honest / "data.csv", "policy": honest / "policy.toml"}
    flags: list[str] = []
    if kind in files:
        files[kind] = work / name
    if kind == "words":
        flags = ["--config" if name == "auditkit.toml" else f"--{Path(name).stem}", str(work / name)]
    if kind == "estimator":
        files["model"] = work / name
        flags = ["--target", "income", "--sensitive", "sex"]
        flags += ["--trust-pickle", "sha256:" + "0" * 64] if name.endswith("joblib") else []
    if kind == "schema":
        flags = ["--schema", str(work / name)]
    if kind in ("weights", "program"):
        files["model"] = work / name
        flags = ["--schema", str(honest / "schema.json")]
    if kind == "weights":
        flags += ["--architecture", "mlp", "--architecture-args", (honest / "arguments.json").read_text("utf-8")]
    if name == "program.pt2":
        flags += ["--trust-model", "sha256:" + hashlib.sha256(content).hexdigest()]
    command = ["run", str(files["model"]), "--dataset", str(files["data"]), "--policy", str(files["policy"]), *flags]
    command += ["--only", "performance", "--only", "fairness", "--out", str(work / "out"), "--quiet"]
    return command


def _of_a_folder(kind: str, honest: Path, work: Path, rng: np.random.Generator) -> tuple[list[str], str]:
    """Damage one file of a folder's copy: an image or its table, a part of a sealed run, or of a language model."""
    place = work / honest.name
    shutil.copytree(honest, place)
    chosen = sorted(path for path in place.rglob("*") if path.is_file())[int(rng.integers(len(list(place.iterdir()))))]
    way = damaged_json if chosen.suffix == ".json" and rng.random() < 0.5 else damaged
    chosen.write_bytes(way(chosen.read_bytes(), rng))
    if kind == "images":
        return ["schema", "infer", str(place), "--target", "label"], f"{kind} {chosen.name}"
    if kind == "causal":
        command = [
            "run",
            *_language_model(place, honest.parent),
            "--effort",
            "quick",
            "--out",
            str(work / "out"),
            "--quiet",
        ]
        return [*command, "--policy", str(honest.parent / "policy.toml")], f"{kind} {chosen.name}"
    if kind == "language":
        command = [
            "run",
            str(place),
            "--dataset",
            str(honest.parent / "texts.csv"),
            "--text",
            "text",
            "--target",
            "label",
        ]
        command += ["--sensitive", "sex", "--only", "performance", "--out", str(work / "out"), "--quiet"]
        command += ["--policy", str(honest.parent / "policy.toml")]
        return command, f"{kind} {chosen.name}"
    return ["gate", str(place), "--out", str(work / "out"), "--quiet"], f"{kind} {chosen.name}"


def _of_a_private_training(kind: str, honest: Path, work: Path, rng: np.random.Generator) -> list[str]:
    """Damage a checkpoint or a ledger, with this user's own code where it has one; return what reads it."""
    import torch

    from auditkit.private import seal_of, user_key

    # Each case has records of its own, which know the checkpoint.
    shutil.copytree(honest / "home", work / "home")
    os.environ["XDG_DATA_HOME"] = str(work / "home")
    out = work / "trained"
    out.mkdir()
    path = out / "model-eps8.pt"
    if kind == "checkpoint":
        sealed = (honest / "checkpoint").read_bytes()
        content = torch.load(io.BytesIO(sealed[32:]), weights_only=True)
        key = user_key()
        assert key is not None
        path = out / f".{path.name}.checkpoint"
        way = int(rng.integers(3))
        if way == 0:
            path.write_bytes(damaged(sealed, rng))
        else:
            packed = io.BytesIO(damaged(sealed[32:], rng))
            if way == 1:
                entry = str(rng.choice(list(content)))
                content[entry] = copy.deepcopy(ODD_NUMBERS[int(rng.integers(len(ODD_NUMBERS)))])
                packed = io.BytesIO()
                torch.save(content, packed)
            path.write_bytes(seal_of(key, "checkpoint", packed.getvalue()) + packed.getvalue())
    else:
        content = torch.load(honest / "private" / path.name, weights_only=True)
        card = json.loads(content[CARD])
        card["ledger"] = json.loads(damaged_json(json.dumps(card["ledger"]).encode(), rng))
        torch.save({**content, CARD: json.dumps(card)}, path)
        if rng.random() < 0.5:
            return ["inspect", str(path)]
    command = ["retrain", str(honest / "model.pt"), "--train-dataset", str(honest / "data.csv"), *RETRAINING]
    return [*command, "--out", str(out)]
