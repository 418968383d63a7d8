"""Forms with files, as the endpoints for audio and for edits of images take them."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from byzer_magic.gateway.calls import Call
from byzer_magic.gateway.problems import bad
from byzer_magic.i18n import gettext as _

FIELDS = 64
"""Fields and files of one form at most."""
FIELD_BYTES = 1024 * 1024


class Form:
    """The fields and files of a form.

    Args:
        data: as it was parsed.
    """

    def __init__(self, data: FormData) -> None:
        self._data = data

    def text(self, name: str) -> str | None:
        """Return a field, or None."""
        value = self._data.get(name)
        return value if isinstance(value, str) else None

    def needed(self, name: str) -> str:
        """Return a field.

        Raises:
            Problem: there is none.
        """
        found = self.text(name)
        if not found:
            raise bad(_("The request needs {name}.", name=name), name, "missing_required_parameter")
        return found

    async def files(self, name: str) -> list[bytes]:
        """Return the content of the files of a field, also under its name with brackets.

        Raises:
            Problem: there is none.
        """
        uploads = [*self._data.getlist(name), *self._data.getlist(f"{name}[]")]
        found = [await upload.read() for upload in uploads if isinstance(upload, UploadFile)]
        if not found:
            raise bad(_("The request needs a file {name}.", name=name), name, "missing_required_parameter")
        return found

    def rest(self, *known: str) -> dict[str, Any]:
        """Return the other fields as options; numbers become numbers."""
        found: dict[str, Any] = {}
        for name, value in self._data.multi_items():
            plain = name.removesuffix("[]")
            if plain in known or not isinstance(value, str) or not value:
                continue
            if name.endswith("[]"):
                found.setdefault(plain, []).append(value)
            else:
                found[plain] = _typed(value)
        return found


def _typed(text: str) -> Any:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text, text)


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
    try:
        return Form(await request.form(max_files=FIELDS, max_fields=FIELDS, max_part_size=FIELD_BYTES))
    except (MultiPartException, ValueError, KeyError, AssertionError) as err:
        raise bad(_("The form cannot be read: {error}.", error=err)) from None
    except Exception as err:  # starlette turns the first into one of its own, which has the sentence in `detail`
        if type(err).__name__ != "HTTPException":
            raise
        raise bad(_("The form cannot be read: {error}.", error=getattr(err, "detail", err))) from None
