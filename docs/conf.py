"""Sphinx settings of the documentation."""

from __future__ import annotations

import sys
from pathlib import Path

import asof

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Asof"
author = "The Asof developers"
copyright = "2026, the Asof developers"  # noqa: A001 - the name that Sphinx reads
version = release = asof.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated"]
exclude_patterns = ["_build", "_ext", "generated"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
html_theme = "furo"
html_title = f"Asof {version}"
