"""The parts of the live panel that can be clicked: its frame, the buttons of a row, the small forms below it."""

from __future__ import annotations

import html

from byzer_magic.rendering.deployments.cells import Words

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
MODEL_DEEDS = ("chat", "logs", "scale", "restart", "drain", "undeploy")
WORKER_DEEDS = ("restart", "drain")
FIRST = {"chat": "bz-icon bz-first", "more": "bz-icon bz-first bz-more"}
"""Those that a row has however narrow it is, and their classes."""


def twist(alias: str, words: Words, *, opened: bool) -> str:
    """Return the button that opens a deployment into its workers."""
    label = html.escape(words["show_workers"].format(alias=alias))
    state = f'aria-expanded="{str(opened).lower()}" aria-label="{label}"'
    return f'<button type="button" class="bz-twist" data-do="toggle" {state}></button>'


def of_row(alias: str, part: str, words: Words) -> str:
    """Return the buttons of a deployment's row, or of a worker's."""
    if part:
        whom = f"{alias}, {words['worker'].format(index=part)}"
        return "".join(icon(name, words[f"{name}_long"].format(alias=whom)) for name in WORKER_DEEDS)
    return "".join(icon(name, words[f"{name}_long"].format(alias=alias)) for name in (*MODEL_DEEDS, "more"))


def icon(name: str, label: str) -> str:
    """Return a button that is an icon; its label is a tooltip too."""
    said = html.escape(label)
    drawn = f'<svg viewBox="0 0 16 16" aria-hidden="true"><path d="{ICONS[name]}"/></svg>'
    kind = FIRST.get(name, "bz-icon")
    return f'<button type="button" class="{kind}" data-do="{name}" title="{said}" aria-label="{said}">{drawn}</button>'


def frame(table: str, words: Words) -> str:
    """Return the live panel around its table, with the small forms as templates."""
    said = {name: html.escape(text) for name, text in words.items()}
    sift = (
        f'<input type="search" class="bz-filter" hidden placeholder="{said["filter"]}" aria-label="{said["filter"]}">'
    )
    new = f'<button type="button" data-do="new" title="{said["new_long"]}">{said["new"]}</button>'
    shut = icon("close", words["close_long"])
    forms = "".join(f'<template data-tray="{name}">{inner}</template>' for name, inner in _trays(said).items())
    region = f'role="region" tabindex="0" aria-label="{said["deployments"]}"'
    scroll = f'<div class="bz-scroll" {region} hidden>{table}</div>'
    return (
        f'<div class="bz-head"><span class="bz-summary"></span><span class="bz-push"></span>{sift}{new}{shut}</div>'
        f'<p class="bz-alarm" role="status" hidden></p>{scroll}{forms}'
    )


def _trays(words: Words) -> dict[str, str]:
    """Return the forms by the action that each is for; `{alias}` in a `<span>` is filled in by the page."""
    told = '<span class="bz-said" role="status"></span>'
    number = '<input type="number" name="value" min="1" max="999" required>'
    deeds = "".join(f'<button type="button" data-do="{name}">{words[name]}</button>' for name in MODEL_DEEDS[1:])
    return {
        "more": f"<form>{deeds}</form>",
        "scale": _form(f"<label>{words['number']} {number}</label>", "primary", words["scale"], words["cancel"]),
        "drain": _form(f"<span>{words['ask_drain']}</span>", "primary", words["drain"], words["cancel"]),
        "undeploy": _form(f"<span>{words['ask_undeploy']}</span>", "danger", words["undeploy"], words["keep"]),
        "logs": _form("", "plain", words["refresh"], words["close"]) + '<pre class="bz-log" tabindex="0"></pre>',
        "line": f"<form><span>{words['below']}</span><code></code>{_cancel(words['close'])}</form>",
        "said": f"<form>{told}{_cancel(words['close'])}</form>",
    }


def _form(asked: str, kind: str, deed: str, cancel: str) -> str:
    told = '<span class="bz-said" role="status"></span>'
    return f'<form>{asked}<button class="bz-{kind}">{deed}</button>{_cancel(cancel)}{told}</form>'


def _cancel(text: str) -> str:
    return f'<button type="button" data-do="cancel">{text}</button>'
