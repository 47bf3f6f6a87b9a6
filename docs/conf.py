"""The documentation site: `make docs` builds it into docs/_build, where a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

project = "auditkit"
author = "the auditkit authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "auditkit"
html_static_path: list[str] = []
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_output_stderr = "remove"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 900
autodoc_typehints = "description"
autodoc_member_order = "bysource"
suppress_warnings = ["myst.header", "misc.highlighting_failure"]


def setup(app: Sphinx) -> None:
    """Write the pages that are made of the code before the others are read."""
    from reference_pages import write_pages

    app.connect("builder-inited", lambda _: write_pages(Path(__file__).parent / "reference"))
