"""OpenAI's endpoints besides chat, as strict as the real ones: embeddings, rerank, transcription, speech, images.

https://developers.openai.com/api/reference/resources/embeddings, .../audio and .../images; `/rerank` is that of
https://docs.cohere.com/reference/rerank. The knobs of skeleton.py work in every text. Fields and limits are checked.
"""

from __future__ import annotations

import asyncio
import base64
import io
import re
import struct
import wave
import zlib
from collections.abc import Callable
from typing import Any

from aiohttp import web
from audio_files import mp3, opus, wav
from skeleton import before_answer, knobs

Refuse = Callable[[str], Exception]
"""Makes the refusal for a bad request."""
VOICES = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")
SIZES = ("1024x1024", "1792x1024", "1024x1792")
FORMATS = ("mp3", "wav", "opus", "aac", "flac", "pcm")
TRANSCRIPTS = ("json", "text", "verbose_json", "srt", "vtt")


def need(body: dict[str, Any], bad: Refuse, **kinds: Any) -> None:
    """Refuse a body that lacks a field, or has one of the wrong type."""
    for name, kind in kinds.items():
        if name not in body:
            raise bad(f"Missing required parameter: '{name}'.")
        if not isinstance(body[name], kind):
            raise bad(f"Invalid type for '{name}'.")


def one_of(body: dict[str, Any], bad: Refuse, **known: tuple[str, ...]) -> None:
    """Refuse a value that is not one of those known."""
    for name, values in known.items():
        if name in body and body[name] not in values:
            raise bad(f"Invalid value: '{body[name]}'. Supported values are: {', '.join(values)}.")


def vector(text: str, size: int) -> list[float]:
    """Return numbers that identify the text."""
    seed = zlib.crc32(text.encode())
    return [((seed * (place + 1)) % 1009) / 1009 for place in range(size)]


async def embeddings(body: dict[str, Any], bad: Refuse) -> web.Response:
    need(body, bad, input=(str, list))
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if not texts or len(texts) > 2048 or not all(isinstance(text, str) and text for text in texts):
        raise bad("'$.input' is invalid.")
    one_of(body, bad, encoding_format=("float", "base64"))
    if "floats" in body["model"] and "encoding_format" in body:
        raise bad("Unknown parameter: 'encoding_format'.")
    rows = [vector(text, body.get("dimensions", 8)) for text in texts]
    packed = body.get("encoding_format") == "base64"
    shown = [base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode() if packed else row for row in rows]
    data = [{"object": "embedding", "index": place, "embedding": row} for place, row in enumerate(shown)]
    if "fault:short" in texts[0]:
        data.pop()
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return web.json_response({"object": "list", "data": data[::-1], "model": body["model"], "usage": usage})


async def rerank(body: dict[str, Any], bad: Refuse) -> web.Response:
    need(body, bad, query=str, documents=list)
    asked = set(body["query"].lower().split())
    scores = [len(asked & set(text.lower().split())) / max(len(asked), 1) for text in body["documents"]]
    order = sorted(range(len(scores)), key=lambda place: -scores[place])[: body.get("top_n")]
    rows = [{"index": place, "relevance_score": scores[place]} for place in order]
    return web.json_response({"id": "r", "results": rows, "meta": {"billed_units": {"search_units": 1}}})


AUDIO_FAULTS: dict[str, dict[str, Any]] = {
    "wav-as-mp3": {"body": wav("a tone", 24000), "content_type": "audio/mpeg"},
    "wav-as-json": {"body": wav("a tone", 24000), "content_type": "application/json"},
    "mp3-as-wav": {"body": mp3("silence"), "content_type": "audio/wav"},
    "opus-as-bytes": {"body": opus("silence"), "content_type": "application/octet-stream"},
    "error-as-mp3": {"body": b'{"error": {"message": "The voice has been retired."}}', "content_type": "audio/mpeg"},
    "page-as-mp3": {"body": b"<html><title>Sign in</title></html>", "content_type": "audio/mpeg"},
}
"""Bodies that are not what their header says."""


async def speech(request: web.Request, body: dict[str, Any], bad: Refuse) -> web.StreamResponse:
    need(body, bad, input=str, voice=str)
    one_of(body, bad, voice=VOICES, response_format=FORMATS)
    if not 0 < len(body["input"]) <= 4096:
        raise bad("String should have at most 4096 characters.")
    if not 0.25 <= body.get("speed", 1.0) <= 4:
        raise bad("'speed' must be between 0.25 and 4.0.")
    kind = body.get("response_format", "mp3")
    data = wav(body["input"], 24000) if kind == "wav" else mp3(body["input"]) if kind == "mp3" else b"\x01\x02" * 500
    asked = knobs(body["input"])
    fault = asked.get("fault", "")
    if fault == "garbage":
        return web.json_response({"oops": True})
    if fault in AUDIO_FAULTS:
        return web.Response(**AUDIO_FAULTS[fault])
    response = web.StreamResponse(headers={"Content-Type": f"audio/{'mpeg' if kind == 'mp3' else kind}"})
    if fault in ("truncate", "reset"):
        response.content_length = len(data)
    await response.prepare(request)
    for number in range(4):
        if number == 2 and fault in ("truncate", "reset"):
            assert request.transport
            request.transport.abort()
            return response
        await response.write(data[number * len(data) // 4 : (number + 1) * len(data) // 4])
        await asyncio.sleep(0.01)
    return response


async def transcriptions(request: web.Request, check_model: Callable[[Any], None], bad: Refuse) -> web.Response:
    form = await request.post()
    check_model(dict(form))
    file = form.get("file")
    if not isinstance(file, web.FileField):
        raise bad("Missing required parameter: 'file'.")
    kind = str(form.get("response_format", "json"))
    one_of({"response_format": kind}, bad, response_format=TRANSCRIPTS)
    data = file.file.read()
    asked = knobs(str(form.get("prompt", "")))
    await before_answer(request, asked)
    if asked.get("fault") == "garbage":
        return web.Response(text='{"text": ', content_type="application/json")
    if asked.get("fault") == "deaf" and not str(file.filename).endswith("wav"):
        return web.json_response({"text": ""})
    text = f"{len(data)} bytes of {file.filename} in {form.get('language', '?')}: {asked['text']}"
    if kind in ("text", "srt", "vtt"):
        lines = text if kind == "text" else f"1\n00:00:00,000 --> 00:00:01,000\n{text}\n"
        return web.Response(text=lines, content_type="text/plain")
    if kind == "json":
        return web.json_response({"text": text, "usage": {"type": "duration", "seconds": 1}})
    with wave.open(io.BytesIO(data)) as file:
        seconds = file.getnframes() / file.getframerate()
    segments = parts(text, seconds, int(asked.get("segments", 1)))
    body = {"task": "transcribe", "language": "english", "duration": seconds, "text": text, "segments": segments}
    return web.json_response(body)


def parts(text: str, seconds: float, count: int) -> list[dict[str, Any]]:
    """Return the segments of a transcript: one, or so many of the same length, each with a text of its own."""
    texts = [text] if count == 1 else [f"part {number}: {text}" for number in range(count)]
    each = seconds / count
    return [
        {"id": number, "seek": 0, "start": number * each, "end": (number + 1) * each, "text": said, "tokens": [1],
         "avg_logprob": -0.1}
        for number, said in enumerate(texts)
    ]  # fmt: skip


def png(size: str, text: str) -> bytes:
    """Return a real image whose colour identifies the text."""
    width, height = map(int, size.split("x"))
    colour = zlib.crc32(text.encode()).to_bytes(4, "big")[:3]
    rows = (b"\0" + colour * width) * height

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9"
"""The start and the end of one."""


async def generations(request: web.Request, body: dict[str, Any], bad: Refuse) -> web.Response:
    need(body, bad, prompt=str)
    newer = body["model"].startswith("gpt-image")
    if newer and "response_format" in body:
        raise bad("Unknown parameter: 'response_format'.")
    if not newer and body.get("n", 1) != 1:
        raise bad("You must provide n=1 for this model.")
    one_of(body, bad, size=SIZES, response_format=("url", "b64_json"))
    one_of(body, bad, quality=("low", "medium", "high", "auto") if newer else ("standard", "hd"))
    image = png(body.get("size", "1024x1024"), body["prompt"])
    if knobs(body["prompt"]).get("fault") == "garbage":
        return web.json_response({"data": []})
    if newer or body.get("response_format") == "b64_json":
        rows: list[dict[str, Any]] = [{"b64_json": base64.b64encode(image).decode()} for _ in range(body.get("n", 1))]
    else:
        rows = [{"url": f"http://{request.host}/images/{body['prompt'].replace(' ', '-')}.png"}]
    if knobs(body["prompt"]).get("fault") == "jpeg":
        rows = [{"b64_json": base64.b64encode(JPEG).decode()}]
    if knobs(body["prompt"]).get("fault") == "not-base64":
        rows = [{"b64_json": "abcde"}]
    if knobs(body["prompt"]).get("fault") == "data-url":
        rows = [{"url": f"data:image/png;base64,{base64.b64encode(JPEG).decode()}"}]
    if not newer:
        rows[0]["revised_prompt"] = f"An image of {body['prompt']}."
    usage = {"usage": {"input_tokens": 9, "output_tokens": 90, "total_tokens": 99}} if newer else {}
    return web.json_response({"created": 1, "data": rows, **usage})


async def edits(request: web.Request, check_model: Callable[[Any], None], bad: Refuse) -> web.Response:
    form = await request.post()
    check_model(dict(form))
    files = [item for name in ("image", "image[]") for item in form.getall(name, []) if isinstance(item, web.FileField)]
    if not files:
        raise bad("Missing required parameter: 'image'.")
    if not all(item.file.read(4) == b"\x89PNG" for item in files):
        raise bad("Invalid image file.")
    image = png("1024x1024", f"{form['prompt']} {len(files)}")
    return web.json_response({"created": 1, "data": [{"b64_json": base64.b64encode(image).decode()}]})


async def image(request: web.Request) -> web.Response:
    if "expired" in request.match_info["name"]:
        return web.Response(text="<html><title>This link has expired</title></html>", content_type="text/html")
    return web.Response(body=png("64x64", request.match_info["name"]), content_type="image/png")


def images_in(messages: list[dict[str, Any]], bad: Refuse) -> str:
    """Return type and size of the images in the last message; reject what is not one."""
    content = messages[-1].get("content")
    found = []
    for part in content if isinstance(content, list) else []:
        if part.get("type") != "image_url":
            continue
        url = part["image_url"]["url"]
        match = re.match(r"data:(image/\w+);base64,", url)
        data = base64.b64decode(url[match.end() :]) if match else b""
        if not match and not url.startswith(("http://", "https://")):
            raise bad("Invalid image URL.")
        if match and data[:4] not in (b"\x89PNG", b"\xff\xd8\xff\xe0", b"GIF8", b"RIFF"):
            raise bad("You uploaded an unsupported image.")
        found.append(f"[{match[1]} {len(data)}]" if match else f"[{url}]")
    return "".join(f" {item}" for item in found)
