"""Sphinx builds the site from here: `make site`.

The source folder is the repository, not docs/: so links to CHANGELOG, SECURITY and the README files of packages lead to
pages of the site, and every link is written as it is for readers of the repository.
"""

project = "sendledger"
author = "the sendledger team"
html_title = "sendledger"
html_theme = "furo"
html_show_sphinx = False
html_show_copyright = False
# The site is read from a folder, also without a network, so nothing may come from elsewhere.
html_use_opensearch = ""
html_copy_source = False
html_show_sourcelink = False

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "docs/**",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "processors/engine/README.md",
    "tests/golden/README.md",
]
exclude_patterns = [".*", "build", "docs/site_templates"]
templates_path = ["site_templates"]
html_additional_pages = {"index": "start.html"}

# Anchors as Git hosts make them. Links are checked down to the anchor.
myst_heading_anchors = 4
nitpicky = True
# An output of a program is no language: it has the language `text`.
highlight_language = "text"
# The SQL of ClickHouse: Pygments does not know its parameters, `{name:Type}`.
suppress_warnings = ["misc.highlighting_failure"]
