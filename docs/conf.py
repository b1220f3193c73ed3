"""Settings of the documentation (``make docs``). Sphinx, because its reference reads our numpydoc docstrings.

Pages that repeat the program (settings, output format, commands, modules) are made from it by ``generated.py``.
"""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import generated  # noqa: E402 - stands beside this file

project = "ictc"
author = "the ictc authors"
release = tomllib.loads((HERE.parent / "pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "README.md"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
suppress_warnings = ["misc.highlighting_failure"]  # examples of broken packets

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 88
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring, napoleon_google_docstring = True, False
napoleon_use_rtype = False

html_theme = "pydata_sphinx_theme"
html_title = f"ictc {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sourcelink = False
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "logo": {"text": html_title},
    "show_toc_level": 2,
}


def setup(app: object) -> None:
    """Write the generated pages before Sphinx looks for pages."""
    generated.write(HERE / "generated")
