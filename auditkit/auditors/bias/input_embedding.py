"""The input embedding of a language model as word vectors: those of the words that are one token."""

from __future__ import annotations

import numpy as np
from torch import nn

from auditkit.auditors.bias.tested import Lookup, lookup_of
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import LanguageModel

BEFORE = "a"
"""What stands before a word when it is looked up, so that it is read as inside a text."""


def embedded_words(able: LanguageModel) -> Lookup:
    """Return the words that are one token behind a space, with the rows of the token embedding.

    Raises:
        NotRun: the model has no torch.nn.Embedding of its tokens, or no token is a word.
    """
    module = able.model.module
    size = int(module.vocabulary_size)  # type: ignore[arg-type]
    tables = [
        part.weight for part in module.modules() if isinstance(part, nn.Embedding) and part.num_embeddings >= size
    ]
    if not tables:
        raise NotRun(Message("the model has no torch.nn.Embedding of its tokens, whose rows are vectors of words"))
    vectors = tables[0].detach().float().cpu().numpy()[:size]
    usable = np.isfinite(vectors).all(axis=1) & vectors.any(axis=1)
    begun = len(able.tokens(BEFORE)[0])
    words, rows = [], []
    for row in np.flatnonzero(usable):
        word = able.text_of([int(row)]).strip()
        if word.isalpha() and able.tokens(f"{BEFORE} {word}")[0][begun:].tolist() == [row]:
            words.append(word)
            rows.append(row)
    if not words:
        raise NotRun(Message("no token of the model is a word, so that its input embedding has no vectors of words"))
    return lookup_of(words, vectors[rows])
