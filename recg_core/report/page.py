"""The report as one HTML page that needs nothing else: no network, no script."""

import re
from collections.abc import Sequence
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from recg_core.report.layout import Section


def html(title: str, sections: Sequence[Section]) -> str:
    """The page: landmarks, captions and row headers for screen readers, light and dark."""
    source = resources.files("recg_core.report").joinpath("page.html").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string(source)
    page = template.render(title=title, sections=sections, prose=_prose)
    return page.strip() + "\n"


def _prose(text: str) -> Markup:
    """Escaped text with `code` between back-ticks."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
