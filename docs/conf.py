"""Sphinx configuration."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

project = "scrapy_sessions"
author = "scrapy_sessions developers"
copyright = author
release = installed_version("scrapy-persistent-sessions")
version = ".".join(release.split(".")[:2])

# Gives autodoc, and the directives and roles of Scrapy's documentation: setting, reqmeta, signal, command, stat.
# The second, in _ext, writes the reference pages out of the code.
sys.path.append(str(Path(__file__).parent / "_ext"))
# The last one reads SECURITY.md.
extensions = ["sphinx_scrapy", "sessions_reference", "myst_parser"]

# sphinx_scrapy links to Python and Scrapy by inventories that it fetches. A build must not depend on the network.
scrapy_intersphinx_disable = ["python", "scrapy"]

exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"scrapy_sessions {release}"
# Without a base, sphinx_scrapy makes up a host for the sitemap.
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "/")
html_static_path = ["_static"]
html_css_files = ["tables.css"]
