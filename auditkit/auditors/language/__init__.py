"""How well a language model predicts the tokens of texts, overall and for each group."""
