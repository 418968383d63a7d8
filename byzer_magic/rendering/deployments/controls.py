"""The parts of the live panel that can be clicked: its frame, the buttons of a row, the small forms below it."""

from __future__ import annotations

import html

from byzer_magic.i18n import gettext as _

ICONS = {
    "chat": "M2 3h12v8H7l-3 3v-3H2z",
    "logs": "M3 4h10M3 8h10M3 12h6",
    "scale": "M3 13V9M8 13V6M13 13V3",
    "drain": "M6 3v10M10 3v10",
    "restart": "M13 8a5 5 0 1 1-1.5-3.6M13 2v3h-3",
    "undeploy": "M3 5h10M6 5V3h4v2M4.5 5l.7 8h5.6l.7-8",
    "more": "M3.5 8h.01M8 8h.01M12.5 8h.01",
    "close": "M4 4l8 8M12 4l-8 8",
}
"""Strokes in a square of 16."""
MODEL_ACTIONS = ("chat", "logs", "scale", "restart", "drain", "undeploy")
WORKER_ACTIONS = ("restart", "drain")
FIRST = {"chat": "bz-icon bz-first", "more": "bz-icon bz-first bz-more"}
"""Those that a row has however narrow it is, and their classes."""


def twist(alias: str, *, opened: bool) -> str:
    """Return the button that opens a deployment into its workers."""
    label = html.escape(_("Workers and history of {alias}", alias=alias))
    state = f'aria-expanded="{str(opened).lower()}" aria-label="{label}"'
    return f'<button type="button" class="bz-twist" data-do="toggle" {state}></button>'


def of_row(alias: str, part: str) -> str:
    """Return the buttons of a deployment's row, or of a worker's."""
    if part:
        whom = _("{alias}, worker {index}", alias=alias, index=part)
        return "".join(icon(name, _label(name, whom)) for name in WORKER_ACTIONS)
    return "".join(icon(name, _label(name, alias)) for name in (*MODEL_ACTIONS, "more"))


def _label(name: str, alias: str) -> str:
    """Return what an icon's tooltip says."""
    match name:
        case "chat":
            return _("Chat with {alias} in a cell below", alias=alias)
        case "logs":
            return _("Logs of {alias}", alias=alias)
        case "scale":
            return _("Change the number of workers of {alias}", alias=alias)
        case "restart":
            return _("Restart {alias}", alias=alias)
        case "drain":
            return _("Send no new requests to {alias}", alias=alias)
        case "undeploy":
            return _("Undeploy {alias}", alias=alias)
        case _other:
            return _("Actions for {alias}", alias=alias)


def icon(name: str, label: str) -> str:
    """Return a button that is an icon; its label is a tooltip too."""
    said = html.escape(label)
    drawn = f'<svg viewBox="0 0 16 16" aria-hidden="true"><path d="{ICONS[name]}"/></svg>'
    kind = FIRST.get(name, "bz-icon")
    return f'<button type="button" class="{kind}" data-do="{name}" title="{said}" aria-label="{said}">{drawn}</button>'


def frame(table: str) -> str:
    """Return the live panel around its table, with the small forms as templates."""
    filter_label = html.escape(_("Filter"))
    search = f'<input type="search" class="bz-filter" hidden placeholder="{filter_label}" aria-label="{filter_label}">'
    new_title = html.escape(_("Open a deploy form in a cell below"))
    new_text, region_label = html.escape(_("Deploy …")), html.escape(_("Deployments"))
    new = f'<button type="button" data-do="new" title="{new_title}">{new_text}</button>'
    close = icon("close", _("Close the panel; the latest numbers stay"))
    forms = "".join(f'<template data-tray="{name}">{inner}</template>' for name, inner in _trays().items())
    region = f'role="region" tabindex="0" aria-label="{region_label}"'
    scroll = f'<div class="bz-scroll" {region} hidden>{table}</div>'
    return (
        f'<div class="bz-head"><span class="bz-summary"></span><span class="bz-push"></span>{search}{new}{close}</div>'
        f'<p class="bz-alarm" role="status" hidden></p>{scroll}{forms}'
    )


def _trays() -> dict[str, str]:
    """Return the forms by the action that each is for; `{alias}` in a `<span>` is filled in by the page."""
    reply = '<span class="bz-said" role="status"></span>'
    number = '<input type="number" name="value" min="1" max="999" required>'
    names = {
        "logs": _("Logs"),
        "scale": _("Scale"),
        "restart": _("Restart"),
        "drain": _("Drain"),
        "undeploy": _("Undeploy"),
    }
    workers = html.escape(_("Workers"))
    texts = {
        "scale": f"<label>{workers} {number}</label>",
        "drain": _span(_("Send no new requests to {alias}? Requests in flight finish; a restart resumes service.")),
        "undeploy": _span(_("Undeploy {alias}? Requests in flight have 30 s to finish.")),
        "line": _span(_("Run this in a cell:")),
    }
    actions = "".join(
        f'<button type="button" data-do="{name}">{html.escape(text)}</button>' for name, text in names.items()
    )
    cancel, close = _("Cancel"), _cancel(_("Close"))
    return {
        "more": f"<form>{actions}</form>",
        "scale": _form(texts["scale"], "primary", names["scale"], cancel),
        "drain": _form(texts["drain"], "primary", names["drain"], cancel),
        "undeploy": _form(texts["undeploy"], "danger", names["undeploy"], _("Keep")),
        "logs": _form("", "plain", _("Refresh"), _("Close")) + '<pre class="bz-log" tabindex="0"></pre>',
        "line": f"<form>{texts['line']}<code></code>{close}</form>",
        "said": f"<form>{reply}{close}</form>",
    }


def _span(text: str) -> str:
    return f"<span>{html.escape(text)}</span>"


def _form(question: str, kind: str, action: str, cancel: str) -> str:
    reply = '<span class="bz-said" role="status"></span>'
    return f'<form>{question}<button class="bz-{kind}">{html.escape(action)}</button>{_cancel(cancel)}{reply}</form>'


def _cancel(text: str) -> str:
    return f'<button type="button" data-do="cancel">{html.escape(text)}</button>'
