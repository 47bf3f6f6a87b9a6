"""Modalities: how rows become model inputs, what can be deleted of them, and how they get worse.

One file for each modality; `modality_for` returns the one that a schema names. Third parties add modalities under the
entry-point group `auditkit.modalities`.
"""
