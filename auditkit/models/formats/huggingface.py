"""Hugging Face folders (auditkit[hf]): classifiers and language models, safetensors only, no remote code."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import torch

from auditkit import files
from auditkit.budgets import Budget
from auditkit.data.dataset import Data
from auditkit.data.image import holds_images
from auditkit.errors import InputError, ModelFileError
from auditkit.evidence.messages import Message
from auditkit.models.base import Match, OpenOptions, Source, Trust, opened
from auditkit.models.formats.adapters import ADAPTER_CONFIG, check_adapter, merge, read_adapter, whole_weights
from auditkit.models.formats.folder_copy import copied
from auditkit.models.formats.huggingface_audio import (
    AUDIO_HEAD,
    WaveNetwork,
    extractor_of,
    reads_recordings,
    wave_feature,
    wave_network,
)
from auditkit.models.formats.huggingface_images import image_feature
from auditkit.models.formats.huggingface_ledger import stated_training
from auditkit.models.formats.huggingface_sentences import POOLER, as_encoder, reads_sentences, sentence_modules
from auditkit.models.formats.huggingface_settings import (
    OFFSET_POSITIONS,
    architectures_of,
    check_settings,
    check_size,
    offline,
    read_json,
)
from auditkit.models.formats.huggingface_text import language_schema, text_feature
from auditkit.models.formats.weights import check_finite
from auditkit.models.model import OF_MODULE, Model, first_line
from auditkit.models.pieces import PieceNetwork, PixelNetwork
from auditkit.models.sentence_vectors import LACKS as ENCODER_LACKS
from auditkit.schema.infer import infer_classes
from auditkit.schema.pieces import PieceTokenizer
from auditkit.schema.schema import Schema, task_of
from auditkit.schema.table import Feature

if TYPE_CHECKING:
    from auditkit.models.from_columns import Columns
    from auditkit.models.token_networks import LanguageNetwork

PROCESSOR = "preprocessor_config.json"
CONFIG, TOKENIZER, WEIGHTS, INDEX = "config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json"
TOKENIZER_BYTES = Budget("bytes", 128 * 2**20, 2**40)
MOST_PIECES = 4094
MODULE_ABILITIES: dict[str, Any] = {"capabilities": OF_MODULE}

TEXT_HEAD, IMAGE_HEAD = "ForSequenceClassification", "ForImageClassification"
LANGUAGE_HEADS = ("ForCausalLM", "LMHeadModel", "ForMaskedLM")


class HuggingFaceFormat:
    """Folders of `save_pretrained`: classifiers of texts, images or recordings, language models, and LoRA over one."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where a folder has the config.json of a model, or the adapter_config.json of an adapter."""
        if source.file is not None or not any((source.path / file).is_file() for file in (CONFIG, ADAPTER_CONFIG)):
            return None
        stated = functools.partial(stated_training, source.name, source.path)
        check = functools.partial(_check, source)
        if _encodes(source):
            return Match("Hugging Face", stated=stated, lacks=ENCODER_LACKS, own_rows=True, check=check)
        return Match("Hugging Face", stated=stated, check=check)

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model with its tokenizer; no code of the folder is run, and nothing is fetched.

        Raises:
            ModelFileError: the folder holds code, pickles or links, or is none of the kinds that are opened.
        """
        for option in trust.given():
            raise ModelFileError(f"{source.name}: no code of the folder is run; leave {option} out.")
        name = source.name
        if not (source.path / ADAPTER_CONFIG).is_file():
            checked_settings(name, source.path)  # before it is copied
        with contextlib.ExitStack() as copies:
            return _open_copy(name, source.path, config, copies)


def _check(source: Source, options: OpenOptions) -> None:
    """Raise ModelFileError unless a folder, and that of its base model, hold what is opened; no network is made."""
    name, folder = source.name, source.path
    if (folder / ADAPTER_CONFIG).is_file():
        described = read_json(name, folder / ADAPTER_CONFIG)
        base = _base_of(name, described, options.architecture)
        check_adapter(name, folder, described)
        name, folder = str(base), base
    checked_settings(name, folder)
    for place in {source.path, folder}:
        _check_finite(f"model {place}", place)


def _check_finite(name: str, folder: Path) -> None:
    """Raise ModelFileError where a weight in a folder is NaN or infinite. No network is made for it."""
    for path in sorted(folder.glob("*.safetensors")):
        with safetensors.safe_open(path, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118  # it is no dictionary
                check_finite(f"{name}: {path.name}", {key: file.get_tensor(key)})


def _encodes(source: Source) -> bool:
    """Return whether a folder says that it makes vectors of texts; what cannot be read says nothing."""
    try:
        return reads_sentences(read_json(source.name, source.path / CONFIG), source.path)
    except InputError:  # no config.json, or a damaged one: whoever opens it says so
        return False


def _open_copy(name: str, source: Path, config: OpenOptions, copies: contextlib.ExitStack) -> Model:
    """Return the model of a private copy of a folder, and of a copy of the folder of its base model."""
    folder, digest = copies.enter_context(copied(name, source))
    adapter: dict[str, torch.Tensor] = {}
    base, base_name, described = folder, name, {}
    if (folder / ADAPTER_CONFIG).is_file():
        described = read_json(name, folder / ADAPTER_CONFIG)
        named = _base_of(name, described, config.architecture)
        base_name = str(named)
        checked_settings(base_name, named)
        base, of_base = copies.enter_context(copied(base_name, named))
        digest = hashlib.sha256(f"{digest} {of_base}".encode()).hexdigest()
        adapter = read_adapter(name, folder, described)
    settings = checked_settings(base_name, base)
    if config.columns is None:
        raise ModelFileError(f"{name}: is opened for a data set: auditkit run --dataset.")
    opener = _opener(settings, base_name, base)
    module, schema, abilities = opener(name, base, settings, config.columns, whole_weights(adapter))
    if adapter:
        merge(name, module.network, adapter, described)
    return Model(
        name=source.resolve().name,
        module=module.eval(),
        schema=schema,
        card=None,
        path=str(source),
        sha256=digest,
        kind="Hugging Face",
        trust=Message("safetensors and descriptions: nothing of the folder was run"),
        beside_weights=stated_training(base_name, base, *((folder,) if adapter else ())),
        **abilities,
    )


def checked_settings(name: str, folder: Path) -> dict[str, Any]:
    """Return the folder's config.json once every file of it is known to be plain.

    Raises:
        ModelFileError: a link, remote code, weights as pickles alone, no fast tokenizer, or another kind of model.
    """
    _check_plain(name, folder)
    settings = read_json(name, folder / CONFIG)
    check_settings(name, settings)
    _refuse_code(name, folder)
    held = {path.name for path in folder.iterdir()}
    _check_weights(name, folder, held)
    encodes = reads_sentences(settings, folder)
    if not encodes and not _has_head(settings, (TEXT_HEAD, IMAGE_HEAD, AUDIO_HEAD, *LANGUAGE_HEADS)):
        kinds = architectures_of(settings)
        raise ModelFileError(
            f"{name}: is a {', '.join(kinds) or 'model without a head'}, and auditkit opens classifiers of "
            f"texts ({TEXT_HEAD}), images ({IMAGE_HEAD}) and recordings ({AUDIO_HEAD}), language models "
            f"({', '.join(LANGUAGE_HEADS)}), and encoders of texts (Model)."
        )
    needed, remedy = TOKENIZER, "fast tokenizer"
    if encodes:
        sentence_modules(name, folder, settings)
    elif reads_recordings(settings, _processor(name, folder)):
        needed, remedy = PROCESSOR, "feature extractor"
    elif _has_head(settings, (IMAGE_HEAD,)):
        needed, remedy = PROCESSOR, "image processor"
    if needed not in held:
        raise ModelFileError(f"{name}: has no {needed}; save its {remedy} with save_pretrained.")
    return settings


def _check_plain(name: str, folder: Path) -> None:
    """Raise unless a folder holds folders and regular files alone."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise ModelFileError(f"{name}: {path.name} is a link; copy the files themselves into the folder.")
        if not path.is_dir() and not path.is_file():
            raise ModelFileError(f"{name}: {path.name} is no regular file.")


def _base_of(name: str, described: dict[str, Any], stated: str | None) -> Path:
    """Return the folder of the model that an adapter changes, which the user names."""
    if stated is None or not (Path(stated) / CONFIG).is_file():
        raise ModelFileError(
            f"{name}: is a PEFT adapter over {described.get('base_model_name_or_path')!r}; pass the folder of that "
            "model as --architecture FOLDER."
        )
    return Path(stated)


def _has_head(settings: dict[str, Any], heads: tuple[str, ...]) -> bool:
    return any(kind.endswith(heads) for kind in architectures_of(settings))


def _processor(name: str, folder: Path) -> dict[str, Any]:
    """Return a folder's description of its image processor or feature extractor; nothing where it has none."""
    return read_json(name, folder / PROCESSOR) if (folder / PROCESSOR).is_file() else {}


def _opener(settings: dict[str, Any], name: str, folder: Path) -> Callable[..., tuple[Any, Schema, dict[str, Any]]]:
    """Return what opens a folder of these settings: a function to the module, its schema and its capabilities."""
    if reads_sentences(settings, folder):
        return _sentences
    if reads_recordings(settings, _processor(name, folder)):
        return _recordings
    if _has_head(settings, (IMAGE_HEAD,)):
        return _images
    return _texts if _has_head(settings, (TEXT_HEAD,)) else _language


def _refuse_code(name: str, folder: Path) -> None:
    for file in (CONFIG, "tokenizer_config.json", PROCESSOR):
        found = read_json(name, folder / file) if (folder / file).is_file() else {}
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
        shards = set(read_json(name, folder / INDEX).get("weight_map", {}).values())
        if not all(shard in held and str(shard).endswith(".safetensors") for shard in shards):
            raise ModelFileError(f"{name}: {INDEX} names files that are not in the folder.")
    for shard in sorted(file for file in held if file.endswith(".safetensors")):
        with opened(folder / shard) as source:
            if source.contents is None or source.contents.form != "safetensors file":
                raise ModelFileError(f"{name}: {shard} is no safetensors file: {source.damage or 'another format'}.")


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """Keep transformers' bars of progress from standard error, where messages of one line go."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers gives no types
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # transformers gives no types


def _network(name: str, folder: Path, kind: str, replaced: frozenset[str]) -> Any:
    """Return the network that one of transformers' automatic classes makes of a folder, with all its weights.

    Those that are `replaced` afterwards may be missing.
    """
    import transformers

    allowed = {"local_files_only": True, "trust_remote_code": False}
    try:
        with warnings.catch_warnings(), without_bars(), offline():
            warnings.simplefilter("ignore")
            builder = getattr(transformers, kind)
            configuration: Any = transformers.AutoConfig  # transformers gives no types
            check_size(name, folder, configuration.from_pretrained(str(folder), **allowed), builder)
            network, info = builder.from_pretrained(
                str(folder), use_safetensors=True, output_loading_info=True, dtype="float32", **allowed
            )
    except ModelFileError:
        raise
    except Exception as error:  # transformers raises anything for a damaged folder
        raise ModelFileError(
            f"{name}: transformers cannot open it: {first_line(error).replace(str(folder), name)}."
        ) from error
    missing = sorted(set(info["missing_keys"]) - replaced)
    if missing:
        raise ModelFileError(
            f"{name}: weight {missing[0]!r} is not in the folder and would be drawn at random"
            f"{f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''}; fine-tune the model first."
        )
    check_finite(name, dict(network.named_parameters()))
    return network


def _texts(
    name: str, folder: Path, settings: dict[str, Any], columns: Columns, replaced: frozenset[str]
) -> tuple[PieceNetwork, Schema, dict[str, Any]]:
    """Return a classifier of texts as a module of piece ids, its schema, and its capabilities."""
    network = _network(name, folder, "AutoModelForSequenceClassification", replaced)
    tokenizer = tokenizer_of(name, folder)
    most = min(int(settings.get("max_position_embeddings") or MOST_PIECES), MOST_PIECES)
    most -= len(tokenizer.encode("").ids)
    if settings.get("model_type") in OFFSET_POSITIONS:
        most -= 2
    feature = text_feature(tokenizer, columns, most)
    return PieceNetwork(network, tokenizer), _of_classes((feature,), settings, columns), MODULE_ABILITIES


def _language(
    name: str, folder: Path, settings: dict[str, Any], columns: Columns, replaced: frozenset[str]
) -> tuple[LanguageNetwork, Schema, dict[str, Any]]:
    """Return a causal or masked language model as a module of token ids, its schema, and its capabilities."""
    from auditkit.models.formats.huggingface_language import causal, masked

    is_masked = _has_head(settings, ("ForMaskedLM",))
    network = _network(name, folder, f"AutoModelFor{'MaskedLM' if is_masked else 'CausalLM'}", replaced)
    tokenizer = tokenizer_of(name, folder)
    offset = 2 if settings.get("model_type") in OFFSET_POSITIONS else 0
    module, abilities = (masked if is_masked else causal)(name, network, tokenizer, offset)
    return module, language_schema(tokenizer, columns, module.context), abilities


def _sentences(
    name: str, folder: Path, settings: dict[str, Any], columns: Columns, replaced: frozenset[str]
) -> tuple[torch.nn.Module, Schema, dict[str, Any]]:
    """Return an encoder of texts as a module of token ids, its schema, and its capabilities."""
    modules = sentence_modules(name, folder, settings)
    network = _network(name, folder, "AutoModel", replaced | POOLER)
    return as_encoder(name, network, tokenizer_of(name, folder), modules)


def tokenizer_of(name: str, folder: Path) -> PieceTokenizer:
    """Return the fast tokenizer of a folder, which neither cuts nor pads."""
    try:
        text = files.read_text(folder / TOKENIZER, TOKENIZER, budget=TOKENIZER_BYTES, error=ModelFileError)
        return PieceTokenizer(text)
    except ModelFileError as error:
        raise ModelFileError(f"{name}: {error}") from error


def _images(
    name: str, folder: Path, settings: dict[str, Any], columns: Columns, replaced: frozenset[str]
) -> tuple[PixelNetwork, Schema, dict[str, Any]]:
    """Return a classifier of images as a module of pixels, its schema, by its image processor, and its capabilities."""
    network = _network(name, folder, "AutoModelForImageClassification", replaced)
    rows = columns.read_rows()
    held = [str(column) for column in rows.frame.columns if holds_images(rows.frame[column])]
    if not held:
        raise InputError(f"{rows.name}: has no column of images, which {name} reads; pass a folder of images.")
    channels = int(settings.get("num_channels") or 3)
    feature = image_feature(read_json(name, folder / PROCESSOR), held[0], channels, f"{name}: {PROCESSOR}")
    return PixelNetwork(network), _of_classes((feature,), settings, columns), MODULE_ABILITIES


def _recordings(
    name: str, folder: Path, settings: dict[str, Any], columns: Columns, replaced: frozenset[str]
) -> tuple[WaveNetwork, Schema, dict[str, Any]]:
    """Return a classifier of recordings as a module of samples, its schema, and its capabilities."""
    network = _network(name, folder, "AutoModelForAudioClassification", replaced)
    extractor, sample_rate = extractor_of(name, folder, _processor(name, folder))
    feature = wave_feature(columns, sample_rate, name)
    module, notes = wave_network(network, extractor, feature, columns)
    return module, _of_classes((feature,), settings, columns), MODULE_ABILITIES | {"notes": notes}


def _of_classes(features: tuple[Feature, ...], settings: dict[str, Any], columns: Columns) -> Schema:
    """Return the schema of a classifier over these features, its classes named by id2label."""
    if not isinstance(columns.target, str):
        raise InputError("target must name one column, that of the labels; pass --target COLUMN.")
    classes = _classes(settings, columns.read_rows(), columns.target, columns.classes)
    return Schema(
        features=features,
        target=columns.target,
        task=task_of(classes),
        classes=classes,
        sensitive=columns.sensitive,
        output="logits" if classes else "value",
    )


def _classes(settings: dict[str, Any], rows: Data, target: str, stated: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the classes in the order of the outputs: the labels' names, or their numbers where the data hold these."""
    named = settings.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    order = sorted(named, key=int)
    if len(order) == 1:
        return ()
    if stated is not None:
        return stated
    held = set(infer_classes(rows.frame, target))
    for classes in (tuple(str(named[code]) for code in order), tuple(order)):
        if held <= set(classes):
            return classes
    raise InputError(
        f"target {target!r} holds {', '.join(sorted(held)[:5])}, and the model's labels are "
        f"{', '.join(str(named[code]) for code in order[:5])}; pass --classes in the order of the model's labels."
    )
