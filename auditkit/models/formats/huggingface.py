"""Hugging Face folders of text classifiers (auditkit[hf]): safetensors and a fast tokenizer only, no remote code."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

from auditkit import files
from auditkit.budgets import MODEL_BYTES, Budget
from auditkit.data.dataset import Data
from auditkit.documents import parse_json
from auditkit.errors import InputError, ModelFileError
from auditkit.evidence.messages import Message
from auditkit.models.base import Match, OpenOptions, Source, Trust, opened
from auditkit.models.model import OF_MODULE, Model, first_line
from auditkit.models.pieces import PieceNetwork
from auditkit.schema.infer import infer_classes
from auditkit.schema.schema import Schema, task_of
from auditkit.schema.table import Feature
from auditkit.schema.text import piece_counts

CONFIG, TOKENIZER, WEIGHTS, INDEX = "config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json"
JSON_BYTES = Budget("bytes", 32 * 2**20, 2**40)
MOST_PIECES = 4094
HEAD = "ForSequenceClassification"


class HuggingFaceFormat:
    """Folders of `save_pretrained` whose model classifies texts."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where a folder has a config.json that names a kind of model."""
        if source.file is not None or not (source.path / CONFIG).is_file():
            return None
        return Match("Hugging Face")

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model with its tokenizer; no code of the folder is run, and nothing is fetched.

        Raises:
            ModelFileError: the folder holds code, pickles or links, or is no text classifier.
        """
        for option in trust.given():
            raise ModelFileError(f"{source.name}: no code of the folder is run; leave {option} out.")
        folder, name = source.path, source.name
        settings = checked_settings(name, folder)
        digest = hash_of(name, folder)
        if config.columns is None:
            raise ModelFileError(f"{name}: is opened for a data set: auditkit run --dataset.")
        network, tokenizer = _loaded(name, folder)
        if hash_of(name, folder) != digest:
            raise ModelFileError(f"{name}: changed while it was read.")
        text = config.columns.text
        if text is None:
            raise InputError("text must name the column that the model reads; pass --text COLUMN.")
        schema = _schema(settings, tokenizer, network, config.columns.read_rows(), text, config)
        module = PieceNetwork(network, tokenizer)
        return Model(
            name=folder.resolve().name,
            module=module.eval(),
            schema=schema,
            card=None,
            path=str(folder),
            sha256=digest,
            kind="Hugging Face",
            trust=Message("safetensors and a tokenizer: nothing of the folder was run"),
            capabilities=OF_MODULE,
        )


def checked_settings(name: str, folder: Path) -> dict[str, Any]:
    """Return the folder's config.json once every file of it is known to be plain.

    Raises:
        ModelFileError: a link, remote code, weights as pickles alone, no fast tokenizer, or another kind of model.
    """
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise ModelFileError(f"{name}: {path.name} is a link; copy the files themselves into the folder.")
        if not path.is_dir() and not path.is_file():
            raise ModelFileError(f"{name}: {path.name} is no regular file.")
    settings = _json(name, folder / CONFIG)
    _refuse_code(name, folder)
    held = {path.name for path in folder.iterdir()}
    _check_weights(name, folder, held)
    if TOKENIZER not in held:
        raise ModelFileError(f"{name}: has no {TOKENIZER}; save its fast tokenizer with save_pretrained.")
    kinds = settings.get("architectures") or []
    if not any(isinstance(kind, str) and kind.endswith(HEAD) for kind in kinds):
        raise ModelFileError(
            f"{name}: is a {', '.join(map(str, kinds)) or 'model without a head'}, and auditkit opens text classifiers "
            f"({HEAD})."
        )
    return settings


def _refuse_code(name: str, folder: Path) -> None:
    for file in (CONFIG, "tokenizer_config.json"):
        found = _json(name, folder / file) if (folder / file).is_file() else {}
        if "auto_map" in found:
            raise ModelFileError(
                f"{name}: {file} names code of its own (auto_map: {str(found['auto_map'])[:100]}), which is never run."
            )


def _check_weights(name: str, folder: Path, held: set[str]) -> None:
    """Raise unless the weights are safetensors files of the folder itself."""
    if not held & {WEIGHTS, INDEX}:
        pickles = sorted(file for file in held if file.endswith((".bin", ".pt", ".pth", ".ckpt")))
        what = f"its weights as pickles ({pickles[0]})" if pickles else "no weights"
        raise ModelFileError(f"{name}: holds {what}; save it with save_pretrained, which writes {WEIGHTS}.")
    if INDEX in held:
        shards = set(_json(name, folder / INDEX).get("weight_map", {}).values())
        if not all(shard in held and str(shard).endswith(".safetensors") for shard in shards):
            raise ModelFileError(f"{name}: {INDEX} names files that are not in the folder.")
    for shard in sorted(file for file in held if file.endswith(".safetensors")):
        with opened(folder / shard) as source:
            if source.contents is None or source.contents.form != "safetensors file":
                raise ModelFileError(f"{name}: {shard} is no safetensors file: {source.damage or 'another format'}.")


def _json(name: str, path: Path) -> dict[str, Any]:
    text = files.read_text(path, f"{name}: {path.name}", budget=JSON_BYTES, error=ModelFileError)
    try:
        found = parse_json(text)
    except ValueError as error:
        raise ModelFileError(f"{name}: {path.name} cannot be read: {first_line(error)}.") from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{name}: {path.name} is no JSON object.")
    return found


def hash_of(name: str, folder: Path) -> str:
    """Return a sha256 over the name and the sha256 of every file of a folder, sorted by name."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest = files.sha256_of(path, f"{name}: {path.name}", budget=MODEL_BYTES, error=ModelFileError)
        whole.update(f"{path.relative_to(folder).as_posix()} {digest}\n".encode())
    return whole.hexdigest()


def _loaded(name: str, folder: Path) -> tuple[Any, Any]:
    """Return the network and the tokenizer."""
    import transformers
    from tokenizers import Tokenizer

    allowed = {"local_files_only": True, "trust_remote_code": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network, info = transformers.AutoModelForSequenceClassification.from_pretrained(
                str(folder), use_safetensors=True, output_loading_info=True, dtype="float32", **allowed
            )
            tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    except Exception as error:  # transformers raises anything for a damaged folder
        raise ModelFileError(f"{name}: transformers cannot open it: {first_line(error)}.") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelFileError(
            f"{name}: weight {missing[0]!r} is not in the folder and would be drawn at random"
            f"{f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''}; fine-tune the model first."
        )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return network, tokenizer


def _schema(
    settings: dict[str, Any], tokenizer: Any, network: Any, rows: Data, text: str, config: OpenOptions
) -> Schema:
    if text not in rows.frame.columns:
        raise InputError(f"text column {text!r} is not in {rows.name}.")
    assert config.columns is not None
    if config.columns.target is None:
        raise InputError("target must name the label's column; pass --target COLUMN.")
    pieces = tokenizer.to_str()
    names = {code: piece for piece, code in tokenizer.get_vocab(with_added_tokens=True).items()}
    vocabulary = tuple(names.get(code, f"(piece {code})") for code in range(max(names) + 1))
    special = len(tokenizer.encode("").ids)
    most = min(int(settings.get("max_position_embeddings") or MOST_PIECES), MOST_PIECES) - special
    if settings.get("model_type") in ("roberta", "xlm-roberta", "camembert"):
        most -= 2  # positions begin behind the padding's
    longest = int(piece_counts(rows.frame[text], pieces).max(initial=1))
    feature = Feature(
        name=text,
        kind="text",
        tokenizer="pieces",
        pieces=pieces,
        vocabulary=vocabulary,
        length=max(1, min(longest, most)),
    )
    classes = _classes(settings, rows, config)
    return Schema(
        features=(feature,),
        target=config.columns.target,
        task=task_of(classes),
        classes=classes,
        sensitive=config.columns.sensitive,
        output="logits" if classes else "value",
    )


def _classes(settings: dict[str, Any], rows: Data, config: OpenOptions) -> tuple[str, ...]:
    """Return the classes in the order of the outputs: the labels' names, or their numbers where the data hold these."""
    named = settings.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    order = sorted(named, key=int)
    if len(order) == 1:
        return ()
    assert config.columns is not None
    assert isinstance(config.columns.target, str)
    if config.columns.classes is not None:
        return config.columns.classes
    held = set(infer_classes(rows.frame, config.columns.target))
    for classes in (tuple(str(named[code]) for code in order), tuple(order)):
        if held <= set(classes):
            return classes
    raise InputError(
        f"target {config.columns.target!r} holds {', '.join(sorted(held)[:5])}, and the model's labels are "
        f"{', '.join(str(named[code]) for code in order[:5])}; pass --classes in the order of the model's labels."
    )
