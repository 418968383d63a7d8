"""Requests, responses and errors of Volcengine's text to speech, in the schemas of both of its HTTP APIs.

v1: https://www.volcengine.com/docs/6561/79823 (older voices, BV...) and https://www.volcengine.com/docs/6561/1257584
(voices of large models, and the codes of errors); v3: https://www.volcengine.com/docs/6561/1598757, codes
https://www.volcengine.com/docs/6561/2534853.
"""

from __future__ import annotations

import base64
import math
import re
import uuid
from collections.abc import Mapping
from typing import Any

from byzer_magic.backends.http import errors as http_errors, json_reader, reasons
from byzer_magic.backends.http.errors import Endpoint
from byzer_magic.backends.http.speech import number
from byzer_magic.errors import BadRequest, ByzerError
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.media import wav

MAX_DIGITS = 18
"""Longest code of a response that is one."""
SUCCESS = (0, 3000, 20000000)
END = 20000000
RESOURCE = "seed-tts-2.0"
TOO_LONG = "context_length_exceeded"
"""The code that `http.errors` knows for texts that are too long."""
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
    (r"quota exceeded.{0,200}(concurrency|qps)|rate limit|too many requests", 429),
    (r"grant not found|authenticat|unauthorized|invalid .{0,20}(api.?key|token)", 401),
    (r"access denied|permission denied|not granted", 403),
    (r"speaker not found|invalid speaker|mismatched with speaker|Init Engine Instance failed|is not allowed", 404),
    (r"request size too large", 413),
)
"""Statuses by sentence, where the code does not decide: it is 3001, 45000000 or 55000000 for all of these."""
HINTS = {
    400: _("Check the options of the voice, and that it supports the language of the text."),
    401: _("Check saas.app_id and saas.api_key: the access token of that app, or a new API key without an app_id."),
    403: _("Activate the service and order the voice in the console (free voices must be ordered, too)."),
    404: _(
        "Check saas.voice, and that it belongs to saas.model: *_uranus_bigtts to seed-tts-2.0, BV... to volcano_tts."
    ),
    413: _("Shorten the text."),
}


def checked(options: dict[str, Any], api: str, prefix: str = "") -> dict[str, Any]:
    """Return the options with the provider's formats, numbers as numbers, and defaults.

    Args:
        options: the options, by our names.
        api: v1 or v3.
        prefix: precedes the options' names in errors.

    Raises:
        BadRequest: a value is not valid.

    Example:
        >>> checked({"encoding": "opus", "speed": "1.5"}, "v3")
        {'encoding': 'ogg_opus', 'speed': 1.5, 'sample_rate': 24000}
    """
    encoding = str(options.get("encoding", "mp3"))
    if encoding not in _FORMATS:
        raise BadRequest(
            _("Volcengine does not support the encoding {name!r}.", name=encoding),
            _("Choose {names}.", names=listed(MIMES)),
        )
    if api == "v1" and options.get("instructions"):
        raise BadRequest(
            _("The v1 API does not accept instructions."),
            _("Use emotion instead, or deploy with saas.model={resource}.", resource=RESOURCE),
        )
    rate = {"sample_rate": 24000, **options}
    numbers = {
        name: number(prefix + name, rate[name], *bounds) for name, bounds in _RANGES[api].items() if name in rate
    }
    return {**options, **numbers, "sample_rate": int(numbers["sample_rate"]), "encoding": _FORMATS[encoding]}


def mime(options: Mapping[str, Any]) -> str:
    """Return the media type that options, as `checked` returns them, request.

    Example:
        >>> mime({"encoding": "pcm", "sample_rate": 16000})
        'audio/pcm;rate=16000'
    """
    return wav.raw_type(MIMES[options["encoding"]], options["sample_rate"])


def v1(text: str, options: Mapping[str, Any], app: str | None, cluster: str) -> dict[str, Any]:
    """Return a request of v1; some fields have other names for voices of large models.

    Args:
        text: the text, or SSML.
        options: the options, as `checked` returns them, with `voice` and `ssml`.
        app: the ID of the app.
        cluster: the cluster.
    """
    large = not options["voice"].startswith("BV")
    audio = {
        "voice_type": options["voice"],
        "encoding": options["encoding"],
        "rate": options["sample_rate"],
        "speed_ratio": options.get("speed"),
        "loudness_ratio" if large else "volume_ratio": options.get("volume"),
        "pitch_ratio": options.get("pitch"),
        "emotion": options.get("emotion"),
        "enable_emotion": True if large and options.get("emotion") else None,
        "explicit_language" if large else "language": options.get("language"),
    }
    kind = "ssml" if options["ssml"] else "plain"
    return {
        "app": {"appid": app, "token": "access_token", "cluster": cluster},  # a placeholder; the token is in a header
        "user": USER,
        "audio": _without_none(audio),
        "request": {"reqid": str(uuid.uuid4()), "text": text, "text_type": kind, "operation": "query"},
    }


def v3(text: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request of v3, its `additions` still an object."""
    pitch, instructions = options.get("pitch"), options.get("instructions")
    audio = {
        "format": options["encoding"],
        "sample_rate": options["sample_rate"],
        "speech_rate": _percent(options.get("speed")),
        "loudness_rate": _percent(options.get("volume")),
        "emotion": options.get("emotion"),
    }
    additions = {
        "explicit_language": options.get("language"),
        "context_texts": [instructions] if instructions else None,
        "post_process": {"pitch": round(12 * math.log2(pitch))} if pitch else None,  # in semitones
    }
    params = {
        "ssml" if options["ssml"] else "text": text,
        "speaker": options["voice"],
        "audio_params": _without_none(audio),
        "additions": _without_none(additions) or None,
    }
    return {"user": USER, "req_params": _without_none(params)}


def _percent(ratio: float | None) -> int | None:
    """Return a ratio as v3 has it: 100 is twice as much, -50 is half.

    Example:
        >>> _percent(2.0), _percent(0.5), _percent(None)
        (100, -50, None)
    """
    return None if ratio is None else round((ratio - 1) * 100)


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return `body` with the fields of `extra`; nested objects are merged.

    Example:
        >>> merged({"audio": {"rate": 1}}, {"audio": {"pitch": 2}})
        {'audio': {'rate': 1, 'pitch': 2}}
    """
    both = {
        name: merged(body[name], value) if isinstance(value, Mapping) and isinstance(body.get(name), Mapping) else value
        for name, value in extra.items()
    }
    return {**body, **both}


def read(data: bytes, endpoint: Endpoint, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Return the code and the audio of a response of v1, or of a line of v3.

    Raises:
        ProviderError: it is an error.
        ProviderUnavailable: it cannot be read.

    Example:
        >>> read(b'{"code": 3000, "data": "YWJj"}', Endpoint("volcano_tts", "https://host"), {})
        (3000, b'abc')
    """
    try:
        body = json_reader.loads(data)
    except ValueError as err:
        raise http_errors.not_json(data, endpoint, str(err)) from None
    code = str(_inner(body).get("code")) if isinstance(body, Mapping) else ""
    if not code.isdecimal() or len(code) > MAX_DIGITS:
        raise http_errors.no_answer(body, endpoint)
    if int(code) not in SUCCESS:
        raise from_response(body, endpoint, 200, headers)
    return int(code), _audio(body.get("data") or "", endpoint)


def _audio(data: Any, endpoint: Endpoint) -> bytes:
    text = data if isinstance(data, str) else "?"
    try:
        return base64.b64decode("".join((text.partition(";base64,")[2] or text).split()), validate=True)
    except ValueError:
        raise http_errors.unreadable(endpoint, _("the audio is not base64")) from None


def _inner(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a response that has the code: v3 puts errors of its gateway in a header."""
    header = body.get("header")
    return header if isinstance(header, Mapping) else body


def from_response(
    body: Any, endpoint: Endpoint, status: int | None = None, headers: Mapping[str, str] | None = None
) -> ByzerError:
    """Return the error for an error body of either API."""
    code, _kind, sentence = reasons.of(_inner(body) if isinstance(body, Mapping) else body)
    by_sentence = next((found for words, found in _SENTENCES if re.search(words, sentence, re.IGNORECASE)), None)
    if by_sentence is None and "quota exceeded" in sentence:
        return http_errors.from_response({"code": "insufficient_quota", "message": sentence}, endpoint, 429, headers)
    status = by_sentence or _status(code, status or 200)
    error = {"code": TOO_LONG if status == 413 else code, "message": sentence}
    return http_errors.from_response(error, endpoint, status, headers)


def _status(code: str, status: int) -> int:
    """Return the status of a code; that of HTTP is 200 for many errors, and more precise for a few."""
    if status in (401, 403, 404, 429):
        return status
    family = {"4": 400, "5": 500}.get(code[:1]) if len(code) == 8 else None
    return CODES.get(code) or family or (status if status >= 400 else 500)
