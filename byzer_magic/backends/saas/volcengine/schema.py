"""Requests, answers and refusals of Volcengine's speech, as both of its HTTP APIs have them.

v1: https://www.volcengine.com/docs/6561/79823 (older voices, BV...) and https://www.volcengine.com/docs/6561/1257584
(voices of large models, and the codes of errors); v3: https://www.volcengine.com/docs/6561/1598757, codes
https://www.volcengine.com/docs/6561/2534853.
"""

from __future__ import annotations

import base64
import json
import math
import re
import uuid
from collections.abc import Mapping
from typing import Any

from byzer_magic.backends.http import errors as http_errors
from byzer_magic.backends.http.errors import Endpoint
from byzer_magic.backends.http.speech import number
from byzer_magic.errors import BadRequest, ByzerError

WELL = (0, 3000, 20000000)
END = 20000000
RESOURCE = "seed-tts-2.0"
TOO_LONG = "context_length_exceeded"
"""What `failures` calls texts that are too long."""
USER = {"uid": "byzer-magic"}

MIMES = {"mp3": "audio/mpeg", "wav": "audio/wav", "pcm": "audio/pcm", "ogg_opus": "audio/ogg"}
_FORMATS = {**{name: name for name in MIMES}, "opus": "ogg_opus", "ogg": "ogg_opus"}
_RANGES = {
    "v1": {"speed": (0.2, 3.0), "volume": (0.1, 3.0), "pitch": (0.1, 3.0), "sample_rate": (8000, 48000)},
    "v3": {"speed": (0.5, 2.0), "volume": (0.5, 2.0), "pitch": (0.5, 2.0), "sample_rate": (8000, 48000)},
}

CODES = {
    "3001": 400,
    "3003": 429,
    "3005": 503,
    "3006": 503,  # the reqid was used before: the next try has another one
    "3010": 413,
    "3011": 400,
    "3030": 504,
    "3031": 500,
    "3032": 504,
    "3040": 502,
    "3050": 404,
    "40402003": 413,
    "45000010": 401,
    "45000030": 403,
    "45000292": 429,
    "45002000": 404,
}
_SENTENCES = (
    (r"quota exceeded.*(concurrency|qps)|rate limit|too many requests", 429),
    (r"grant not found|authenticat|unauthorized|invalid .{0,20}(api.?key|token)", 401),
    (r"access denied|permission denied|not granted", 403),
    (r"speaker not found|invalid speaker|mismatched with speaker|Init Engine Instance failed|is not allowed", 404),
    (r"request size too large", 413),
)
"""What sentences tell better than the codes, which are 3001, 45000000 and 55000000 for all of these."""
HINTS = {
    400: "Check the text (does the voice speak its language?) and the voice's options.",
    401: "Check saas.app_id and saas.api_key: the access token of that app, or, without an app_id, a new API key.",
    403: "Open the service and order the voice in the console (the free ones, too).",
    404: "Check saas.voice, and that it belongs to saas.model: *_uranus_bigtts to seed-tts-2.0, BV... to volcano_tts.",
    413: "Shorten the text.",
}


def checked(asked: dict[str, Any], api: str) -> dict[str, Any]:
    """Return what is asked for, with the provider's formats, numbers as numbers, and what goes without saying.

    Raises:
        BadRequest: a value cannot be.
    """
    encoding = str(asked.get("encoding", "mp3"))
    if encoding not in _FORMATS:
        raise BadRequest(f"encoding is {encoding!r}, which Volcengine has not.", f"Choose {', '.join(MIMES)}.")
    if api == "v1" and asked.get("instructions"):
        raise BadRequest("instructions are for v3 only.", f"Choose an emotion, or deploy with saas.model={RESOURCE}.")
    rate = {"sample_rate": 24000, **asked}
    numbers = {name: number(name, rate[name], *bounds) for name, bounds in _RANGES[api].items() if name in rate}
    return {**asked, **numbers, "sample_rate": int(numbers["sample_rate"]), "encoding": _FORMATS[encoding]}


def v1(text: str, asked: Mapping[str, Any], app: str | None, cluster: str) -> dict[str, Any]:
    """Return a request of v1; voices of large models have other names for some fields."""
    large = not asked["voice"].startswith("BV")
    audio = {
        "voice_type": asked["voice"],
        "encoding": asked["encoding"],
        "rate": asked["sample_rate"],
        "speed_ratio": asked.get("speed"),
        "loudness_ratio" if large else "volume_ratio": asked.get("volume"),
        "pitch_ratio": asked.get("pitch"),
        "emotion": asked.get("emotion"),
        "enable_emotion": True if large and asked.get("emotion") else None,
        "explicit_language" if large else "language": asked.get("language"),
    }
    kind = "ssml" if asked["ssml"] else "plain"
    return {
        "app": {"appid": app, "token": "access_token", "cluster": cluster},  # the true token is in a header
        "user": USER,
        "audio": _without_none(audio),
        "request": {"reqid": str(uuid.uuid4()), "text": text, "text_type": kind, "operation": "query"},
    }


def v3(text: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request of v3, its `additions` still an object."""
    pitch, told = asked.get("pitch"), asked.get("instructions")
    audio = {
        "format": asked["encoding"],
        "sample_rate": asked["sample_rate"],
        "speech_rate": _percent(asked.get("speed")),
        "loudness_rate": _percent(asked.get("volume")),
        "emotion": asked.get("emotion"),
    }
    additions = {
        "explicit_language": asked.get("language"),
        "context_texts": [told] if told else None,
        "post_process": {"pitch": round(12 * math.log2(pitch))} if pitch else None,  # in semitones
    }
    wanted = {
        "ssml" if asked["ssml"] else "text": text,
        "speaker": asked["voice"],
        "audio_params": _without_none(audio),
        "additions": _without_none(additions) or None,
    }
    return {"user": USER, "req_params": _without_none(wanted)}


def _percent(ratio: float | None) -> int | None:
    """Return how v3 says a ratio: 100 is twice as much, -50 is half."""
    return None if ratio is None else round((ratio - 1) * 100)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with `extra`, objects in objects merged."""
    both = {
        name: merged(body[name], value) if isinstance(value, Mapping) and isinstance(body.get(name), Mapping) else value
        for name, value in extra.items()
    }
    return {**body, **both}


def read(data: bytes, endpoint: Endpoint, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Return the code and the sound of an answer of v1, or of a line of v3.

    Raises:
        ProviderError: it is a refusal, or no answer at all.
    """
    try:
        body = json.loads(data)
        code = int(_inner(body)["code"])
        sound = base64.b64decode(body.get("data") or "", validate=True)
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        raise http_errors.unreadable(endpoint, f"{type(err).__name__}: {err}") from None
    if code not in WELL:
        raise from_response(body, endpoint, 200, headers)
    return code, sound


def _inner(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of an answer that has the code: v3 puts refusals of its gateway in a header."""
    header = body.get("header")
    return header if isinstance(header, Mapping) else body


def from_response(
    body: Any, endpoint: Endpoint, status: int | None = None, headers: Mapping[str, str] | None = None
) -> ByzerError:
    """Return the error that a refusal says, whichever of the two APIs it is of."""
    code, _, sentence = http_errors.error_fields(_inner(body) if isinstance(body, Mapping) else body)
    told = next((found for words, found in _SENTENCES if re.search(words, sentence, re.IGNORECASE)), None)
    if told is None and "quota exceeded" in sentence:
        return http_errors.from_response({"code": "insufficient_quota", "message": sentence}, endpoint, 429, headers)
    status = told or _status(code, status or 200)
    said = {"code": TOO_LONG if status == 413 else code, "message": sentence}
    return http_errors.from_response(said, endpoint, status, headers)


def _status(code: str, status: int) -> int:
    """Return the status of a code; that of HTTP is 200 for many refusals, and tells more of a few."""
    if status in (401, 403, 404, 429):
        return status
    family = {"4": 400, "5": 500}.get(code[:1]) if len(code) == 8 else None
    return CODES.get(code) or family or (status if status >= 400 else 500)
