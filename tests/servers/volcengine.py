"""A strict little Volcengine text to speech (v1 and v3), that fails on request; see skeleton.py for the knobs in texts.

    python tests/servers/volcengine.py --port 8000 --key sk-test

v1: https://www.volcengine.com/docs/6561/79823 and https://www.volcengine.com/docs/6561/1257584 (with the codes and
sentences of errors); v3: https://www.volcengine.com/docs/6561/1598757 and, for its codes,
https://www.volcengine.com/docs/6561/2534853. Both have the app 6503259792 with the key as its token; v3 also accepts
the key as a new API key. Errors come with status 200, except those of the gateway (401, 403, 400).

More faults: `quota` (nothing left), `busy`, `leak` (quotes the key), `error` (an error inside a stream), `hang`
(silence inside a stream), `late` (v3 does not end the body after its last line), `html`, `empty` (no audio),
`as-wav` and `as-opus` (another format than was asked for).
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

import audio_files
from aiohttp import web
from skeleton import before_answer, close_now, knobs, noted, serve

APP = "6503259792"
CLUSTERS = {"volcano_tts": ("BV", "zh_"), "volcano_icl": ("S_",)}
RESOURCES = {
    "seed-tts-2.0": r"\w+_uranus_bigtts",
    "seed-tts-1.0": r"\w+_(moon|mars)_bigtts|BV\w+",
    "volc.service_type.10029": r"\w+_(moon|mars)_bigtts|BV\w+",
    "seed-icl-2.0": r"S_\w+",
}
LONGEST = 1024
RATES = (8000, 16000, 22050, 24000, 32000, 44100, 48000)
SEEN: set[str] = set()
NUMBER = (int, float)

AUDIO_1: dict[str, Any] = {
    "voice_type": str,
    "encoding": ("wav", "pcm", "ogg_opus", "mp3"),
    "rate": (8000, 16000, 24000),
    **dict.fromkeys(("speed_ratio", "volume_ratio", "pitch_ratio", "loudness_ratio", "emotion_scale"), NUMBER),
    **dict.fromkeys(("emotion", "language", "explicit_language", "context_language"), str),
    "enable_emotion": bool,
    **dict.fromkeys(("compression_rate", "bitrate"), int),
}
AUDIO_3: dict[str, Any] = {
    "format": ("mp3", "ogg_opus", "pcm", "wav"),
    "sample_rate": RATES,
    **dict.fromkeys(("speech_rate", "loudness_rate"), range(-50, 101)),
    "emotion": str,
    **dict.fromkeys(("emotion_scale", "bit_rate"), NUMBER),
}

# by fault: code and sentence of v1, code and sentence of v3, and the status of both
FAULTS = {
    "401": (
        (3001, "authenticate request: load grant: requested grant not found"),
        (45000010, "load grant: requested grant not found in SaaS storage"),
        401,
    ),
    "403": (
        (3001, "extract request resource id: get resource id: access denied"),
        (45000000, "speaker permission denied: get resource id: access denied"),
        403,
    ),
    "404": ((3050, "voice not found"), (45000001, "[Invalid argument] speaker not found"), 200),
    "context": ((3010, "text too long"), (40402003, "TTSExceededTextLimit:exceed max limit"), 200),
    "429": (
        (3003, "quota exceeded for types: concurrency"),
        (45000292, "quota exceeded for types: concurrency"),
        200,
    ),
    "quota": (
        (3001, "quota exceeded for types: text_words_lifetime"),
        (45000292, "quota exceeded for types: text_words_lifetime"),
        200,
    ),
    "500": ((3031, "Init Engine Error"), (55000000, "Service internal error"), 200),
    "529": ((3005, "server busy"), (55000000, "connect downstream service timeout"), 200),
    "busy": ((3030, "processing timeout"), (55000000, "synthesis processing timeout"), 200),
    "gateway": ((3001, "bad gateway"), (55000000, "bad gateway"), 502),
}


class Refusal(Exception):
    def __init__(self, code: int, message: str, status: int = 200, **headers: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = {**headers, "X-Tt-Logid": "l-1"}


def need(fields: Any, wanted: dict[str, Any], code: int) -> None:
    """Refuse fields that are unknown, or have another type or value than they may."""
    if not isinstance(fields, dict):
        raise Refusal(code, "[Invalid argument] EmptyRequest")
    for name, value in fields.items():
        if name not in wanted:
            raise Refusal(code, f"[Invalid argument] unknown field {name}")
        if not fits(value, wanted[name]):
            raise Refusal(code, f"[Invalid argument] {name} is {value!r}")


def fits(value: Any, wanted: Any) -> bool:
    """Return whether a value is one of those wanted, or of one of the types."""
    if isinstance(wanted, range) or (isinstance(wanted, tuple) and not isinstance(wanted[0], type)):
        return value in wanted
    return isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))


def check_text(text: Any, too_long: int, unreadable: Refusal) -> None:
    if not isinstance(text, str) or not re.search(r"\w", text):
        raise unreadable
    if len(text.encode()) > LONGEST:
        raise Refusal(too_long, FAULTS["context"][too_long == 40402003][1])


def fail(request: web.Request, asked: dict[str, str], version: int) -> None:
    name = asked.get("fault", "")
    if name in FAULTS:
        code, message = FAULTS[name][version == 3]
        if "retry_after" in asked:
            raise Refusal(code, message, 429, **{"Retry-After": asked["retry_after"]})
        raise Refusal(code, message, FAULTS[name][2])
    if name == "leak":
        secret = request.headers.get("Authorization") or request.headers.get("X-Api-Access-Key")
        raise Refusal((3001, 45000010)[version == 3], f"invalid token {secret}", 401)


def audio_of(text: str, form: str, rate: int, fault: str) -> bytes:
    form = {"as-wav": "wav", "as-opus": "ogg_opus"}.get(fault, form)  # another than was asked for
    if form == "mp3":
        return audio_files.mp3(text)
    if form == "ogg_opus":
        return audio_files.opus(text)
    return audio_files.wav(text, rate) if form == "wav" else audio_files.pcm(text, rate)


# ---- v1


def check_v1(request: web.Request, body: Any) -> None:
    if request.headers.get("Authorization") != f"Bearer;{request.app['key']}" or body["app"].get("appid") != APP:
        raise Refusal(*FAULTS["401"][0], 401)
    if not body["app"].get("token") or body["app"].get("cluster") not in CLUSTERS or not body["user"].get("uid"):
        raise Refusal(3001, "invalid request: app or user")
    asked = body["request"]
    if asked.get("operation") != "query" or asked.get("text_type", "plain") not in ("plain", "ssml"):
        raise Refusal(3001, "invalid request: operation or text_type")
    if not asked.get("reqid") or asked["reqid"] in SEEN:
        raise Refusal(3006, "reqid was used before")
    SEEN.add(asked["reqid"])
    check_text(asked.get("text"), 3010, Refusal(3011, "illegal input text!"))
    need(body["audio"], AUDIO_1, 3001)
    if not body["audio"].get("voice_type", "").startswith(CLUSTERS[body["app"]["cluster"]]):
        raise Refusal(3050, "voice not found")


@noted
async def v1(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    reqid = ""
    try:
        body = entry["body"] = await request.json()
        if not all(isinstance(body.get(name), dict) for name in ("app", "user", "audio", "request")):
            raise Refusal(3001, "invalid request: app, user, audio and request are needed")
        check_v1(request, body)
        reqid = body["request"]["reqid"]
        asked = knobs(body["request"]["text"])
        await before_answer(request, asked)
        fail(request, asked, 1)
    except Refusal as err:
        error = {"reqid": reqid, "code": err.code, "operation": "query", "message": err.message, "sequence": -1}
        return web.json_response(error, status=err.status, headers=err.headers)
    fault, audio = asked.get("fault", ""), body["audio"]
    data = audio_of(body["request"]["text"], audio.get("encoding", "pcm"), audio.get("rate", 24000), fault)
    good = {
        "reqid": reqid,
        "code": 3000,
        "operation": "query",
        "message": "Success",
        "sequence": -1,
        "data": "" if fault == "empty" else base64.b64encode(data).decode(),
        "addition": {"duration": str(int(1000 * audio_files.seconds(body["request"]["text"])))},
    }
    text = "<html><title>Hello</title></html>" if fault in ("html", "garbage") else json.dumps(good)
    if fault not in ("truncate", "reset", "hang"):
        return web.Response(text=text, content_type="application/json", headers={"X-Tt-Logid": "l-1"})
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(text))})
    await response.prepare(request)
    await response.write(text[: len(text) // 2].encode())
    await broken(request, response, fault)
    return response


# ---- v3


def check_v3(request: web.Request, body: Any) -> None:
    need(body, {"user": dict, "namespace": str, "req_params": dict}, 45000000)
    asked = body.get("req_params")
    kinds = dict.fromkeys(("text", "ssml", "speaker", "model", "additions"), str) | {"audio_params": dict}
    need(asked, kinds, 45000001)
    need(asked.get("audio_params"), AUDIO_3, 45000001)
    check_text(asked.get("ssml") or asked.get("text"), 40402003, Refusal(45002001, "No readable text!"))
    if not asked.get("speaker"):
        raise Refusal(45002000, "TTS invalid speaker")
    if not re.fullmatch(RESOURCES[request.headers["X-Api-Resource-Id"]], asked["speaker"]):
        raise Refusal(55000000, "resource ID is mismatched with speaker related resource")
    try:
        pitch = json.loads(asked.get("additions", "{}")).get("post_process", {}).get("pitch", 0)
    except ValueError:
        raise Refusal(45000001, "[Invalid argument] additions") from None
    if pitch not in range(-12, 13):
        raise Refusal(45000001, "[Invalid argument] pitch")


def check_gateway(request: web.Request) -> None:
    headers, key = request.headers, request.app["key"]
    old = (headers.get("X-Api-App-Id"), headers.get("X-Api-Access-Key")) == (APP, key)
    if headers.get("X-Api-Key") != key and not old:
        raise Refusal(*FAULTS["401"][1], 401)
    if headers.get("X-Api-Resource-Id") not in RESOURCES:
        raise Refusal(45000000, f"resourceId {headers.get('X-Api-Resource-Id')} is not allowed", 400)


@noted
async def v3(request: web.Request, entry: dict[str, Any]) -> web.StreamResponse:
    try:
        check_gateway(request)
        body = entry["body"] = await request.json()
        entry["resource"] = request.headers["X-Api-Resource-Id"]
        check_v3(request, body)
        text = body["req_params"].get("ssml") or body["req_params"]["text"]
        asked = knobs(text)
        await before_answer(request, asked)
        fail(request, asked, 3)
    except Refusal as err:
        error: dict[str, Any] = {"code": err.code, "message": err.message}
        error = {"header": {"reqid": "r-1", **error}} if err.status != 200 else {"reqid": "r-1", **error, "data": None}
        return web.Response(text=json.dumps(error) + "\n", status=err.status, headers=err.headers)
    if asked.get("fault") == "html":
        return web.Response(text="<html><title>Hello</title></html>", content_type="text/html")
    response = web.StreamResponse(headers={"Content-Type": "application/json", "X-Tt-Logid": "l-3"})
    await response.prepare(request)
    return await stream(request, response, text, asked.get("fault", ""), body["req_params"]["audio_params"])


async def stream(
    request: web.Request, response: web.StreamResponse, text: str, fault: str, audio: dict[str, Any]
) -> web.StreamResponse:
    form = audio.get("format", "mp3")
    data = audio_of(text, form, audio.get("sample_rate", 24000), fault)
    size = 144 * max(1, len(data) // 144 // 3)
    blocks = [] if fault == "empty" else [data[start : start + size] for start in range(0, len(data), size)]
    if form == "wav":  # a header for each chunk, as the documentation warns
        blocks = [audio_files.wav(text, audio.get("sample_rate", 24000))] * 2
    for number, block in enumerate(blocks):
        if number == 1 and await broken(request, response, fault):
            return response
        await line(response, {"code": 0, "message": "", "data": base64.b64encode(block).decode()})
        await asyncio.sleep(0.01)
    await line(response, {"code": 0, "message": "", "data": None, "sentence": {"text": text + "\u2028", "words": []}})
    await line(response, {"code": 20000000, "message": "ok", "data": None})
    if fault == "late":
        await asyncio.sleep(600)
    await response.write_eof()
    return response


async def line(response: web.StreamResponse, data: Any) -> None:
    await response.write(json.dumps(data, ensure_ascii=False).encode() + b"\n")


async def broken(request: web.Request, response: web.StreamResponse, fault: str) -> bool:
    """Do what a fault inside a stream does; return whether that was the end."""
    if fault == "error":
        await line(response, {"code": 55000000, "message": "Service internal error", "data": None})
    elif fault == "garbage":
        await response.write(b'{"code": 0, "data": nonsense\n')
    elif fault == "reset":
        close_now(request)
    elif fault == "hang":
        await asyncio.sleep(600)
    elif fault == "truncate" and request.path == "/api/v1/tts" and request.transport:
        request.transport.close()
    else:
        return fault == "truncate"
    return True


def add_routes(app: web.Application) -> None:
    app.router.add_post("/api/v1/tts", v1)
    app.router.add_post("/api/v3/tts/unidirectional", v3)


if __name__ == "__main__":
    serve(__doc__, add_routes)
