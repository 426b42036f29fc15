"""Sphinx directives that write the reference out of the code, so that the two can't differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

import generated
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

__all__ = ["setup"]


class SettingList(SphinxDirective):
    """``.. session-settings::`` lists every setting."""

    def run(self) -> list[Node]:
        return self.parse_text_to_nodes("\n".join(generated.setting_list()), allow_section_headings=True)


class FieldList(SphinxDirective):
    """``.. session-fields:: Profile`` lists the fields of a model of settings.

    Its content says ``name: description`` of the fields that the code describes nowhere.
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[Node]:
        told = dict(line.split(": ", 1) for line in self.content if line.strip())
        try:
            lines = generated.field_list(generated.MODELS[self.arguments[0]], told)
        except LookupError as error:
            raise self.error(str(error)) from error
        return self.parse_text_to_nodes("\n".join(lines))


class ReasonList(SphinxDirective):
    """``.. session-refusals::`` lists why cookies are refused."""

    def run(self) -> list[Node]:
        return self.parse_text_to_nodes("\n".join(generated.reason_list()))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directives."""
    app.add_directive("session-settings", SettingList)
    app.add_directive("session-fields", FieldList)
    app.add_directive("session-refusals", ReasonList)
    return {"parallel_read_safe": True}
