"""Bias of word vectors and of language models: associations of words that name groups of people."""
