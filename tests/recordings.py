"""Tiny classifiers of recordings as `save_pretrained` writes them, with drawn weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

LIBRARY: Any = transformers  # which types its arguments too narrowly

RATE = 8000
LABELS = {"id2label": {0: "high", 1: "low"}, "label2id": {"high": 0, "low": 1}}


def made_folder(place: Path, kind: str, rate: int = RATE) -> Path:
    """Return a folder of `save_pretrained`: a tiny network with drawn weights, and its feature extractor."""
    torch.manual_seed(0)
    if kind == "wav2vec2":
        network = LIBRARY.Wav2Vec2ForSequenceClassification(
            LIBRARY.Wav2Vec2Config(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(8, 8),
                conv_stride=(5, 4), conv_kernel=(10, 8), num_feat_extract_layers=2, num_conv_pos_embeddings=16,
                num_conv_pos_embedding_groups=2, classifier_proj_size=8, **LABELS,
            )
        )  # fmt: skip
        extractor = LIBRARY.Wav2Vec2FeatureExtractor(sampling_rate=rate)
    elif kind == "ast":
        network = LIBRARY.ASTForAudioClassification(
            LIBRARY.ASTConfig(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_mel_bins=16,
                max_length=32, patch_size=8, frequency_stride=8, time_stride=8, **LABELS,
            )
        )  # fmt: skip
        extractor = LIBRARY.ASTFeatureExtractor(sampling_rate=rate, num_mel_bins=16, max_length=32)
    else:
        network = LIBRARY.WhisperForAudioClassification(
            LIBRARY.WhisperConfig(
                d_model=16, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=16, num_mel_bins=16,
                max_source_positions=50, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16, **LABELS,
            )
        )  # fmt: skip
        extractor = LIBRARY.WhisperFeatureExtractor(
            feature_size=16, sampling_rate=rate, chunk_length=1, hop_length=rate // 100
        )
    network.eval().save_pretrained(place)
    extractor.save_pretrained(place)
    return place
