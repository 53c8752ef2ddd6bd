"""Renders the page's template: everything is escaped, and nothing is loaded from outside."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from detfinetune.report.wording import number, plural


def render_page(values: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    A content security policy allows only the page's own script and style, by their hashes, and
    embedded images; no connections.
    """
    environment = _environment()
    style, script = _source("page.css"), _source("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    template = environment.get_template("page.html")
    return template.render(**values, policy=policy, style=Markup(style), script=Markup(script))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("detfinetune.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["number"] = number
    environment.filters["plural"] = plural
    return environment


def _source(name: str) -> str:
    """Return the content of a template file."""
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return a source expression of a content security policy for an inline script or style."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"sha256-{digest}"
