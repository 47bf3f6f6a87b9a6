"""Tasks: what the outputs of a model mean, and what is measured of them.

One file for each task; `task_for` returns the one that a schema names. Third parties add tasks under the entry-point
group `auditkit.tasks`.
"""
