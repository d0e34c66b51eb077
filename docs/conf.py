"""How Sphinx makes the site of these pages; docs/site.md says with which command."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

project = "minicnn"
html_title = "minicnn"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "source_files", "mathml"]
html_math_renderer = "mathml"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3

smartquotes = False  # "relu" is code
nitpicky = True  # a name in the text that leads nowhere is an error
autodoc_default_options = {"member-order": "bysource"}
autodoc_inherit_docstrings = False  # a method that says nothing new has no entry
autodoc_typehints = "none"  # the docstrings speak of shapes, which types cannot say
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
add_module_names = False
python_maximum_signature_line_length = 88
