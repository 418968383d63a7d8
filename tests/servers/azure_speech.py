"""A strict little Azure Speech (text to speech, REST), that fails on request; see skeleton.py for the knobs in texts.

    python tests/servers/azure_speech.py --port 8000 --key sk-test

Headers, formats and statuses: https://learn.microsoft.com/azure/ai-services/speech-service/rest-text-to-speech; which
element may hold which: https://learn.microsoft.com/azure/ai-services/speech-service/speech-synthesis-markup-structure.
Errors have no body, as most of Azure's have none. The audio comes in blocks with a pause between them. In the
journal, `ssml` is the request, `text` its text, and `why` the reason, which Azure would not send.

More faults: `415`, `502`, `html` (a page with status 200), `empty` (no audio with status 200), `leak` (a 401 that
quotes the key), `hang` (silence inside a stream), `as-wav` and `as-opus` (another format than was asked for).
"""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ET
from typing import Any

import audio_files
from aiohttp import web
from skeleton import before_answer, close_now, knobs, noted, serve

VOICES = {"zh-CN-XiaoxiaoNeural", "zh-CN-YunxiNeural", "en-US-AvaMultilingualNeural"}
FORMATS = {
    "audio-48khz-192kbitrate-mono-mp3": "audio/mpeg",
    "audio-24khz-48kbitrate-mono-mp3": "audio/mpeg",
    "riff-24khz-16bit-mono-pcm": "audio/x-wav",
    "riff-16khz-16bit-mono-pcm": "audio/x-wav",
    "raw-24khz-16bit-mono-pcm": "audio/basic",
    "raw-16khz-16bit-mono-pcm": "audio/basic",
    "ogg-48khz-16bit-mono-opus": "audio/ogg",
    "webm-24khz-16bit-mono-opus": "audio/webm",
}
SSML, MSTTS, XML = (
    "{http://www.w3.org/2001/10/synthesis}",
    "{https://www.w3.org/2001/mstts}",
    "{http://www.w3.org/XML/1998/namespace}",
)
IN_TEXT = {"audio", "break", "p", "phoneme", "prosody", "say-as", "sub", "s"}
MAY_HOLD = {
    "speak": {"voice", "backgroundaudio"},
    "voice": {*IN_TEXT, "express-as", "lang", "emphasis", "silence"},
    "lang": {*IN_TEXT, "express-as", "emphasis"},
    "express-as": {"audio", "break", "emphasis", "lang", "phoneme", "prosody", "say-as", "sub"},
    "prosody": IN_TEXT,
}
MAY_HAVE = {
    "prosody": {"rate", "pitch", "volume", "range", "contour"},
    "express-as": {"style", "styledegree", "role"},
    "lang": {f"{XML}lang"},
    "voice": {"name", "effect"},
}
STATUSES = {"401", "403", "404", "415", "429", "500", "502"}
OTHERS = {"400": 400, "context": 413, "529": 503}  # Azure documents no status for it; gateways send 413
BLOCKS = 4


class Refusal(Exception):
    def __init__(self, status: int, why: str, body: str = "", **headers: str) -> None:
        super().__init__(why)
        self.status = status
        self.body = body
        self.headers = headers


def check_headers(request: web.Request) -> None:
    if request.headers.get("Ocp-Apim-Subscription-Key") != request.app["key"]:
        raise Refusal(401, "wrong key")
    if request.content_type != "application/ssml+xml":
        raise Refusal(415, "no SSML")
    if not 0 < len(request.headers.get("User-Agent", "")) < 255 or "aiohttp" in request.headers["User-Agent"]:
        raise Refusal(400, "no application name")
    if request.headers.get("X-Microsoft-OutputFormat") not in FORMATS:
        raise Refusal(400, "unknown format")


def check_ssml(data: str) -> str:
    """Return the text of a document; refuse what Azure does not take."""
    try:
        root = ET.fromstring(data)
    except ET.ParseError as err:
        raise Refusal(400, f"not well-formed: {err}") from None
    if root.tag != f"{SSML}speak" or root.get("version") != "1.0" or not root.get(f"{XML}lang"):
        raise Refusal(400, "no speak element with version and language")
    if not [child for child in root if child.tag == f"{SSML}voice"] or (root.text or "").strip():
        raise Refusal(400, "text outside of a voice")
    for element in root.iter():
        check_element(element)
    return "".join(root.itertext()).strip()


def check_element(element: ET.Element) -> None:
    name = element.tag.removeprefix(SSML).removeprefix(MSTTS)
    for child in element:
        held = child.tag.removeprefix(SSML).removeprefix(MSTTS)
        if held not in MAY_HOLD.get(name, {held}):
            raise Refusal(400, f"{name} may not hold {held}")
    if not set(element.attrib) <= MAY_HAVE.get(name, set(element.attrib)):
        raise Refusal(400, f"{name} has unknown attributes")
    if name == "voice" and element.get("name") not in VOICES:
        raise Refusal(400, "unknown voice")


def audio_of(text: str, form: str) -> bytes:
    rate = 16000 if "-16khz" in form else 24000
    if form.startswith("riff"):
        return audio_files.wav(text, rate)
    if form.startswith("raw"):
        return audio_files.pcm(text, rate)
    if form.startswith("webm"):
        return audio_files.webm(text)
    return audio_files.opus(text) if "opus" in form else audio_files.mp3(text)


def fail(request: web.Request, asked: dict[str, str]) -> None:
    name = asked.get("fault", "")
    headers = {"Retry-After": asked["retry_after"]} if "retry_after" in asked else {}
    if name in STATUSES or name in OTHERS:
        raise Refusal(OTHERS.get(name) or int(name), "asked for", **headers)
    if name == "leak":
        raise Refusal(401, "asked for", f"Access denied with key {request.headers['Ocp-Apim-Subscription-Key']}.")


@noted
async def speak(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    try:
        check_headers(request)
        entry["ssml"] = await request.text()
        entry["text"] = check_ssml(entry["ssml"])
        asked = knobs(entry["text"])
        await before_answer(request, asked)
        fail(request, asked)
    except Refusal as err:
        entry["why"] = str(err)
        return web.Response(status=err.status, text=err.body, headers={**err.headers, "X-RequestId": "r-1"})
    fault, form = asked.get("fault", ""), request.headers["X-Microsoft-OutputFormat"]
    if fault in ("html", "garbage"):
        return web.Response(text="<html><title>Hello</title></html>", content_type="text/html")
    response = web.StreamResponse(headers={"Content-Type": FORMATS[form], "X-RequestId": "r-1"})
    await response.prepare(request)
    made = {"as-wav": "riff-24khz-16bit-mono-pcm", "as-opus": "ogg-48khz-16bit-mono-opus"}.get(fault, form)
    data = b"" if fault == "empty" else audio_of(entry["text"], made)
    size = -(-len(data) // BLOCKS)
    for number in range(BLOCKS if data else 0):
        if number == BLOCKS // 2 and await broken(request, fault):
            return response
        await response.write(data[number * size : (number + 1) * size])
        await asyncio.sleep(0.02)
    await response.write_eof()
    return response


async def broken(request: web.Request, fault: str) -> bool:
    """Do what a fault inside a stream does; return whether that was the end."""
    if fault == "hang":
        await asyncio.sleep(600)
    if fault == "reset":
        close_now(request)
    if fault == "truncate" and request.transport:
        request.transport.close()
    return fault in ("reset", "truncate")


def add_routes(app: web.Application) -> None:
    app.router.add_post("/cognitiveservices/v1", speak)


if __name__ == "__main__":
    serve(__doc__, add_routes)
