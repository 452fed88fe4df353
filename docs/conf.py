"""The site's settings: `sphinx-build -W docs FOLDER` makes it, and asks no other machine for anything."""

import importlib.metadata
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "benchmarks")]

project = "quickstudy"
release = importlib.metadata.version("quickstudy")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated_pages"]
html_theme = "furo"
html_title = "quickstudy"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_show_copyright = False
toc_object_entries_show_parents = "hide"
highlight_language = "none"
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
maximum_signature_line_length = 160  # with the full names of types, which are not shown
default_role = "code"
smartquotes_action = "D"  # dashes alone
