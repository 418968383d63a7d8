"""Forms with files, as the endpoints for audio and for edits of images take them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from byzer_magic.gateway import bodies
from byzer_magic.gateway.calls import Call
from byzer_magic.gateway.problems import bad
from byzer_magic.i18n import gettext as _

FIELDS = 64
"""Fields and files of one form at most."""
FIELD_BYTES = 1024 * 1024
NUMBERS: dict[str, type[int | float]] = {
    "temperature": float, "speed": float, "top_p": float, "n": int, "seed": int, "top_k": int,
    "output_compression": int, "partial_images": int, "guidance_scale": float, "num_inference_steps": int,
}  # fmt: skip
"""Fields that are numbers: a form has texts only."""


class Form:
    """The fields and files of a form.

    Args:
        fields: names and texts, in order.
        files: names and contents, in order.
    """

    def __init__(self, fields: list[tuple[str, str]], files: list[tuple[str, bytes]]) -> None:
        self._fields = fields
        self._files = files

    def text(self, name: str) -> str | None:
        """Return a field, or None."""
        return next((value for known, value in self._fields if known == name), None)

    def number(self, name: str) -> Any:
        """Return a field that is a number, or None.

        Raises:
            Problem: it is none.
        """
        text = self.text(name)
        return _typed(name, text) if text else None

    def needed(self, name: str) -> str:
        """Return a field.

        Raises:
            Problem: there is none.
        """
        found = self.text(name)
        if not found:
            raise bad(_("The request needs {name}.", name=name), name, "missing_required_parameter")
        return found

    def files(self, name: str) -> list[bytes]:
        """Return the content of the files of a field, also under its name with brackets.

        Raises:
            Problem: there is none.
        """
        found = [data for known, data in self._files if known in (name, f"{name}[]")]
        if not found:
            raise bad(_("The request needs a file {name}.", name=name), name, "missing_required_parameter")
        return found

    def has_file(self, name: str) -> bool:
        """Return whether a field has a file."""
        return any(known in (name, f"{name}[]") for known, _data in self._files)

    def rest(self, *known: str, options: Collection[str] = ()) -> dict[str, Any]:
        """Return the other fields as options; those that are numbers in JSON become numbers.

        Args:
            known: fields to leave out.
            options: fields that clients may set here, whatever else they are.

        Raises:
            Problem: one is no number, or is one that no client may set.
        """
        found: dict[str, Any] = {}
        for name, value in self._fields:
            plain = name.removesuffix("[]")
            if plain in known or not value or not (plain in options or bodies.is_option(plain, value)):
                continue
            if name.endswith("[]"):
                found.setdefault(plain, []).append(value)
            else:
                found[plain] = _typed(plain, value)
        return found


def _typed(name: str, text: str) -> Any:
    if name not in NUMBERS:  # a prompt may be 2024
        return text
    try:
        return NUMBERS[name](text)
    except ValueError:
        raise bad(_("{name} is {value}, which is not a number.", name=name, value=repr(text[:100])), name) from None


async def read(call: Call) -> Form:
    """Return the form in the body of a call.

    Raises:
        Problem: it is not one.
    """
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        body, sent = (b"" if sent else call.body), True
        return {"type": "http.request", "body": body, "more_body": False}

    if not call.headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data"):
        raise bad(_("The body of the request is not a form (multipart/form-data)."))
    request = Request(dict(call.scope), receive)
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=FIELDS, max_fields=FIELDS, max_part_size=FIELD_BYTES
    )
    fields: list[tuple[str, str]] = []
    files: list[tuple[str, bytes]] = []
    try:
        for name, value in (await parser.parse()).multi_items():
            if isinstance(value, str):
                fields.append((name, value))
            else:
                files.append((name, await value.read()))
    except (MultiPartException, ValueError, KeyError, AssertionError) as err:
        raise bad(_("The form cannot be read: {error}.", error=err)) from None
    finally:
        for file in parser._files_to_close_on_error:  # also one that was cut off, which the parsed form does not have
            file.close()
    return Form(fields, files)
