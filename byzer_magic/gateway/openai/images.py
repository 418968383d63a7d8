"""`POST /v1/images/generations` and `/edits`: https://developers.openai.com/api/reference/resources/images."""

from __future__ import annotations

import base64
import time
from typing import Any

import msgspec

from byzer_magic import media
from byzer_magic.gateway import bodies
from byzer_magic.gateway.calls import Call, Reply
from byzer_magic.gateway.openai import forms
from byzer_magic.gateway.problems import bad
from byzer_magic.i18n import gettext as _
from byzer_magic.results import ImageResult
from byzer_magic.types import ImageItem, ImageRequest

MOST = 128
"""Images of one request: providers have limits of their own, which are lower."""


class Body(msgspec.Struct):
    """The fields that the endpoint itself needs."""

    model: str
    prompt: str
    n: int | None = None
    response_format: str | None = None


async def generate(call: Call) -> Reply:
    """Return images for a prompt.

    Raises:
        Problem: the request is not valid.
    """
    found = await call.json()
    body = bodies.typed(found, Body)
    options = bodies.rest(found, Body, "stream") | _counted(call, body.n)
    request = ImageRequest(prompt=body.prompt, options=options)
    return await _images(call, body.model, request, body.response_format)


async def edit(call: Call) -> Reply:
    """Return images made from others.

    Raises:
        Problem: the request is not valid.
    """
    form = await forms.read(call)
    if form.has_file("mask"):
        raise bad(_("This endpoint takes no mask: describe in the prompt what to change."), "mask", "unsupported")
    given = [media.image(data) for data in form.files("image")]
    options = form.rest("model", "prompt", "response_format", "stream", "image", "n")
    options |= _counted(call, form.number("n"))
    request = ImageRequest(prompt=form.needed("prompt"), images=given, options=options)
    return await _images(call, form.needed("model"), request, form.text("response_format"))


def _counted(call: Call, count: int | None) -> dict[str, Any]:
    """Return the option for so many images, each of which counts as a request."""
    if count is None:
        return {}
    if not 1 <= count <= MOST:
        raise bad(_("n is {value}, which is not from 1 to {most}.", value=count, most=MOST), "n")
    call.counts_as(count, apart=False)
    return {"n": count}


async def _images(call: Call, model: str, request: ImageRequest, shape: str | None) -> Reply:
    result: ImageResult = await call.result(model, request)
    found: dict[str, Any] = {"created": int(time.time()), "data": [_image(item, shape) for item in result.pictures]}
    if usage := result.usage:
        found["usage"] = {
            "input_tokens": usage.prompt_tokens, "output_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        }  # fmt: skip
    return Reply(found)


def _image(item: ImageItem, shape: str | None) -> dict[str, Any]:
    """Return an image in base64, or as a URL where that is asked for, or where there is nothing else."""
    about = {"revised_prompt": item.caption} if item.caption else {}
    if not item.data:
        return {"url": item.url, **about}
    coded = base64.b64encode(item.data).decode()
    return (
        {"url": item.url or f"data:{item.mime};base64,{coded}"} | about
        if shape == "url"
        else {"b64_json": coded} | about
    )
