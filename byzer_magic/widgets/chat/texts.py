"""The texts of the chat window's script."""

from __future__ import annotations

from byzer_magic.i18n import gettext as _


def script_texts() -> dict[str, str]:
    """Return the texts of the script by key, in the active language; the script fills in their `{fields}`."""
    return {
        "title": _("Chat with {alias}"),
        "log": _("Messages"),
        "input": _("Message to {alias}"),
        "placeholder": _("Message {alias} (Enter: send, Shift+Enter: new line)"),
        "send": _("Send"),
        "stop": _("Stop"),
        "attach": _("Attach"),
        "remove": _("Remove {name}"),
        "edit": _("Edit"),
        "edit_hint": _("Edit this prompt; this turn and all later ones are replaced"),
        "retry": _("Retry"),
        "retry_hint": _("Send this prompt again; this turn and all later ones are replaced"),
        "copy": _("Copy"),
        "copy_hint": _("Copy this answer as Markdown"),
        "copied": _("Copied."),
        "save": _("Send"),
        "cancel": _("Cancel"),
        "model": _("Model"),
        "looking": _("Looking for other models …"),
        "session": _("Session"),
        "new_session": _("New session"),
        "settings": _("Settings"),
        "system": _("System prompt"),
        "temperature": _("Temperature"),
        "max_tokens": _("Max tokens"),
        "more": _("Other parameters (key=value)"),
        "export": _("Export …"),
        "export_label": _("Export the conversation"),
        "to_cells": _("To %%chat cells"),
        "to_note": _("To a Markdown cell"),
        "to_clipboard": _("Copy as Markdown"),
        "to_file": _("Download Markdown"),
        "exported": _("Cells added below: {count}."),
        "no_cells": _("Cells cannot be added in this environment; copied as text instead."),
        "lost": _("Attachments are not included."),
        "working": _("{alias} is answering …"),
        "stopped": _("Stopped. The partial answer is kept."),
        "done": _("Answer complete."),
        "busy": _("The kernel is busy; this continues when the running cell has finished."),
        "gone": _("The kernel is not responding. Run the cell again."),
        "no_images": _("{alias} does not accept images."),
        "no_audio": _("{alias} does not accept audio."),
        "others": _("Choose a model that does: {names}."),
        "no_kind": _("{name} is neither an image nor an audio file."),
        "too_large": _("{name} is larger than {limit} MB. Use %%chat with --image or --audio and its path."),
    }
