"""Sphinx's settings for the site; `tools/lessons/site.py` lays out what it builds from.

https://www.sphinx-doc.org/en/master/usage/configuration.html · https://myst-nb.readthedocs.io/en/latest/configuration.html
"""

import histolab_lite

project = "histolab-lite"
author = "histolab-lite contributors"
project_copyright = author
version = release = histolab_lite.__version__

# The formulas are drawn by a copy of MathJax that lies in the site: pages are read without a network, too.
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
myst_enable_extensions = ["amsmath", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # lessons come executed, and say by a stamp of what
nb_merge_streams = True
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_google_docstring = False
napoleon_use_ivar = True  # a field of a named tuple is described once
copybutton_exclude = ".linenos, .gp"
# Classes of other libraries, named in type hints: their own documentation is elsewhere.
suppress_warnings = ["ref.python", "mystnb.unknown_mime_type"]

templates_path = ["templates"]
html_theme = "pydata_sphinx_theme"
html_title = "histolab-lite"
html_favicon = "static/icon.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_sidebars = {name: [] for name in ("index", "demos", "library", "results", "claims", "glossary")}
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navigation_with_keys": True,
    "show_prev_next": True,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
