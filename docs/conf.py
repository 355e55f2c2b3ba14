"""Sphinx settings. Build with: sphinx-build -W -b html docs build/docs (foresight installed)."""

import importlib.metadata

project = "Foresight"
author = "The Foresight authors"
copyright = author
release = version = importlib.metadata.version("foresight-lm")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "furo"
html_title = f"Foresight {release}"
