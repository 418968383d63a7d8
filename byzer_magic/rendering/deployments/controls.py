"""Controls of the live panel: its frame, the buttons of a row, the small forms below it."""

from __future__ import annotations

from markupsafe import Markup

from byzer_magic.i18n import gettext as _
from byzer_magic.rendering.markup import join, tag

ICONS = {
    "chat": "M2 3h12v8H7l-3 3v-3H2z",
    "logs": "M3 4h10M3 8h10M3 12h6",
    "scale": "M3 13V9M8 13V6M13 13V3",
    "drain": "M6 3v10M10 3v10",
    "sleep": "M12.5 9.5A5 5 0 1 1 6.5 3.5a4 4 0 0 0 6 6z",
    "wake": "M8 5a3 3 0 1 1 0 6 3 3 0 0 1 0-6M8 1v2M8 13v2M1 8h2M13 8h2M3.4 3.4l1 1M11.6 11.6l1 1",
    "restart": "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
    "undeploy": "M3 5h10M6 5V3h4v2M4.5 5l.7 8h5.6l.7-8",
    "more": "M3.5 8h.01M8 8h.01M12.5 8h.01",
    "close": "M4 4l8 8M12 4l-8 8",
}
"""SVG paths in a square of 16 units."""
MODEL_ACTIONS = ("chat", "logs", "scale", "sleep", "wake", "restart", "drain", "undeploy")
WORKER_ACTIONS = ("restart", "drain")
FIRST = {"chat": "bz-icon bz-first", "more": "bz-icon bz-first bz-more"}
"""Buttons that even a narrow row has, and their classes."""


def expander(alias: str, *, opened: bool) -> Markup:
    """Return the button that opens a deployment into its workers."""
    label = _("Workers and history of {alias}", alias=alias)
    state = str(opened).lower()
    return tag("button", type="button", class_="bz-twist", data_do="toggle", aria_expanded=state, aria_label=label)


def row_buttons(alias: str, part: str) -> Markup:
    """Return the buttons of a deployment's row, or of a worker's; the rows of a route's deployments have none."""
    if part.startswith(">"):
        return Markup()
    if part:
        whom = _("{alias}, worker {index}", alias=alias, index=part)
        return join(icon(name, _label(name, whom)) for name in WORKER_ACTIONS)
    return join(icon(name, _label(name, alias)) for name in (*MODEL_ACTIONS, "more"))


def _label(name: str, alias: str) -> str:
    """Return the tooltip of an icon."""
    match name:
        case "chat":
            return _("Chat with {alias} in a cell below", alias=alias)
        case "logs":
            return _("Logs of {alias}", alias=alias)
        case "scale":
            return _("Change the number of workers of {alias}", alias=alias)
        case "sleep":
            return _("Unload the model of {alias} until the next request", alias=alias)
        case "wake":
            return _("Load the model of {alias} again", alias=alias)
        case "restart":
            return _("Restart {alias}", alias=alias)
        case "drain":
            return _("Send no new requests to {alias}", alias=alias)
        case "undeploy":
            return _("Undeploy {alias}", alias=alias)
        case _other:
            return _("Actions for {alias}", alias=alias)


def icon(name: str, label: str) -> Markup:
    """Return a button that is an icon; its label is a tooltip too."""
    icon = tag("svg", tag("path", d=ICONS[name]), viewBox="0 0 16 16", aria_hidden="true")
    kind = FIRST.get(name, "bz-icon")
    return tag("button", icon, type="button", class_=kind, data_do=name, title=label, aria_label=label)


def frame(table: Markup) -> Markup:
    """Return the live panel around its table, with the small forms as templates."""
    label = _("Filter")
    title = _("Open a deploy form in a cell below")
    head = [
        tag("span", class_="bz-summary"),
        tag("span", class_="bz-push"),
        tag("input", type="search", class_="bz-filter", hidden=True, placeholder=label, aria_label=label),
        tag("button", _("Deploy …"), type="button", data_do="new", title=title),
        icon("close", _("Close the panel; the latest numbers stay")),
    ]
    region = {"role": "region", "tabindex": 0, "aria_label": _("Deployments")}
    return join([
        tag("div", *head, class_="bz-head"),
        tag("p", class_="bz-alarm", role="status", hidden=True),
        tag("div", table, class_="bz-scroll", hidden=True, **region),
        *(tag("template", content, data_tray=name) for name, content in _forms().items()),
    ])  # fmt: skip


def _forms() -> dict[str, Markup]:
    """Return the forms by the action that each is for; `{alias}` in a `<span>` is filled in by the page."""
    names = {
        "logs": _("Logs"),
        "scale": _("Scale"),
        "sleep": _("Sleep"),
        "wake": _("Wake"),
        "restart": _("Restart"),
        "drain": _("Drain"),
        "undeploy": _("Undeploy"),
    }
    actions = (tag("button", text, type="button", data_do=name) for name, text in names.items())
    number = tag("input", type="number", name_="value", min=1, max=999, required=True)
    drain = _("Stop sending new requests to {alias}? Requests in flight finish; restart it to resume.")
    undeploy = _("Undeploy {alias}? Requests in flight have 30 s to finish.")
    cancel, close = _("Cancel"), _("Close")
    log = tag("pre", class_="bz-log", tabindex=0)
    return {
        "more": tag("form", *actions),
        "scale": _form(tag("label", _("Workers"), " ", number), "primary", names["scale"], cancel),
        "drain": _form(tag("span", drain), "primary", names["drain"], cancel),
        "undeploy": _form(tag("span", undeploy), "danger", names["undeploy"], _("Keep")),
        "logs": _form(Markup(), "plain", _("Refresh"), close) + log,
        "line": tag("form", tag("span", _("Run this in a cell:")), tag("code"), _cancel(close)),
        "status": tag("form", _reply(), _cancel(close)),
    }


def _form(question: Markup, kind: str, action: str, cancel: str) -> Markup:
    return tag("form", question, tag("button", action, class_=f"bz-{kind}"), _cancel(cancel), _reply())


def _reply() -> Markup:
    return tag("span", class_="bz-status", role="status")


def _cancel(text: str) -> Markup:
    return tag("button", text, type="button", data_do="cancel")
