"""Text to speech by Volcengine (火山引擎, 豆包语音), over the two HTTP APIs that it has.

v1 answers a JSON object with the whole sound: https://www.volcengine.com/docs/6561/79823 (older voices, BV...) and
https://www.volcengine.com/docs/6561/1257584 (large models' voices; their errors are listed there, too). v3 answers a
line of JSON for each piece of the sound: https://www.volcengine.com/docs/6561/1598757. `saas.model` tells which: it is
the resource of v3 (seed-..., volc.service_type...), or the cluster of v1.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.http import errors as http_errors, params
from byzer_magic.backends.http.client import Http
from byzer_magic.backends.http.errors import Endpoint
from byzer_magic.backends.http.speech import (
    audio_chunks,
    known_options,
    split,
    synthesized,
    utf8,
    wav,
    without_lone_surrogates,
)
from byzer_magic.backends.http.sse import drain
from byzer_magic.backends.saas.volcengine import schema
from byzer_magic.errors import BadParameter, BadRequest, ByzerError, MissingKey
from byzer_magic.types import AudioChunk, SpeakRequest

BASE_URL = "https://openspeech.bytedance.com"
CLUSTER = "volcano_tts"
LONGEST = 1024
"""UTF-8 bytes of a request's text."""
_VOICES = (
    (r"volcano_tts$", "BV001_streaming"),  # the other BV voices must be ordered first, even those for 0 yuan
    (r"seed-tts-2", "zh_female_vv_uranus_bigtts"),
    (r"seed-tts-1|volc\.service_type\.100(29|48)", "zh_female_shuangkuaisisi_moon_bigtts"),
)
"""The voice by cluster or resource, where none is asked for; cloned voices have no default."""

_OWN = {
    "voice": ("text", "who speaks: voice_type of v1, speaker of v3 (default: a common female voice of saas.model)"),
    "encoding": ("text", "mp3, wav, pcm or ogg_opus"),
    "speed": ("float", "how fast: 0.2..3 (v3 and large models: 0.5..2), 1 is normal"),
    "volume": ("float", "how loud: 0.1..3 (v3 and large models: 0.5..2), 1 is normal"),
    "pitch": ("float", "how high: 0.1..3 (v3: 0.5..2), 1 is normal"),
    "emotion": ("text", "mood, where the voice has several: happy, sad, angry, ..."),
    "language": ("text", "language to read, where the voice knows several: cn or zh-cn, en, ja, ..."),
    "sample_rate": ("int", "samples a second: 8000, 16000 or 24000"),
}
_ALIASES = {
    "voice": ("voice_type", "speaker"),
    "encoding": ("response_format", "format"),
    "speed": ("speed_ratio",),
    "volume": ("volume_ratio", "loudness_ratio"),
    "pitch": ("pitch_ratio",),
    "sample_rate": ("rate",),
}
_KNOWN = {name: own for own in _OWN for name in (own, *_ALIASES.get(own, ()))} | {"instructions": "instructions"}


def _info() -> Info:
    key = params.api_key(
        "VOLC_TTS_TOKEN",
        "VOLCENGINE_TTS_TOKEN",
        help="access token of the app, or a new API key",
        env_unless="saas.base_url",
        aliases=("saas.token", "saas.access_token"),
    )
    own = (
        Param(
            name="saas.app_id",
            help="id of the app; v3 needs none with a new API key",
            env=("VOLC_TTS_APP_ID", "VOLCENGINE_TTS_APP_ID"),
            aliases=("saas.appid",),
        ),
        Param(
            name="saas.model",
            help=f"resource of v3, such as {schema.RESOURCE}, or cluster of v1 (default {CLUSTER})",
            aliases=("saas.resource_id",),
        ),
        Param(name="saas.cluster", help="cluster of v1, when saas.model is another name"),
        Param(
            name="saas.api",
            help="v1 answers at once, v3 streams; auto: as saas.model tells",
            choices=("auto", "v1", "v3"),
            default="auto",
        ),
        params.base_url(BASE_URL, aliases=("saas.api_base",)),
    )
    connection = (param for param in params.CONNECTION if param is not params.MODEL)
    voices = (
        Param(
            name=f"saas.{name}",
            kind=kind,
            help=help_,
            aliases=tuple(f"saas.{alias}" for alias in _ALIASES.get(name, ())),
        )
        for name, (kind, help_) in _OWN.items()
    )
    return Info(
        kind="saas/volcengine",
        title="Volcengine (text to speech)",
        params=(key, *own, *connection, *voices),
    )


class VolcengineBackend(Backend):
    """Speech over one HTTP session; an instance serves all slots of a pool."""

    info: ClassVar[Info] = _info()

    def __init__(self, setup: Setup, http: Http) -> None:
        self._http = http
        self._params = setup.params
        self._api, self._model = _target(setup.params)
        base = setup.params["saas.base_url"].rstrip("/")
        path = "/api/v3/tts/unidirectional" if self._api == "v3" else "/api/v1/tts"
        self._url = base if "/api/v" in base else base + path
        self._defaults = _defaults(setup.params)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check the address, that v1 has its app, and the settings of the voice."""
        params.check_url(setup.params, "saas.base_url", BASE_URL)
        params.check_objects(setup.params)
        api, _ = _target(setup.params)
        if api == "v1" and "saas.app_id" not in setup.params:
            raise MissingKey(
                "saas/volcengine needs saas.app_id.",
                "Add --infer_params saas.app_id=... or set VOLC_TTS_APP_ID; "
                f"a new API key needs none, with saas.model={schema.RESOURCE}.",
            )
        try:
            schema.checked(_defaults(setup.params), api)
        except BadRequest as err:
            raise BadParameter(f"saas.{err.message}", err.hint) from None

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Make the session; nothing is sent yet."""
        report("importing aiohttp", None)
        api, model = _target(setup.params)
        base = setup.params["saas.base_url"]
        endpoint = Endpoint(model, base, params.secrets_of(setup.params), hints=schema.HINTS)
        key, app = setup.params["saas.api_key"].reveal(), setup.params.get("saas.app_id")
        if api == "v1":
            headers = {"Authorization": f"Bearer;{key}"}  # with a semicolon, indeed
        else:
            own = {"X-Api-App-Id": app, "X-Api-Access-Key": key} if app else {"X-Api-Key": key}
            headers = {**own, "X-Api-Resource-Id": model}
        return cls(setup, Http.open(setup, endpoint, headers, schema.from_response))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def speak(self, request: SpeakRequest) -> AsyncIterator[AudioChunk]:
        """Yield the text as sound, with v3 while it comes; SSML goes as it is, long texts are cut at sentences.

        Raises:
            ProviderError: Volcengine refused or failed; its own sentence is in the message.
            BadRequest: an option is unknown, or has a value that cannot be.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        asked = schema.checked({**self._defaults, **known_options(request.options, _KNOWN)}, self._api)
        asked["voice"] = str(asked.get("voice") or _voice(self._model))
        framed = asked["encoding"] == "wav" and self._api == "v3"  # whose pieces would have a header each
        if framed:
            asked["encoding"] = "pcm"
        text = without_lone_surrogates(request.text).strip()
        asked["ssml"] = text.startswith("<speak")
        pieces = [text] if asked["ssml"] else split(text, LONGEST, utf8)
        send = self._streamed if self._api == "v3" else self._whole

        def say(piece: str) -> AsyncGenerator[bytes, None]:
            return send(self._body(piece, asked, request.options), request.options.get("extra_headers") or {})

        async with aclosing(
            synthesized(pieces, schema.MIMES[asked["encoding"]], say, self._params["saas.max_retries"])
        ) as sounds:
            if framed:
                samples = [sound.data async for sound in sounds]
                for sound in audio_chunks(wav(b"".join(samples), asked["sample_rate"]), schema.MIMES["wav"]):
                    yield sound
                return
            async for sound in sounds:
                yield sound

    def _body(self, text: str, asked: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._params.get("saas.cluster") or self._model
        app = self._params.get("saas.app_id")
        body = schema.v3(text, asked) if self._api == "v3" else schema.v1(text, asked, app, cluster)
        for extra in (self._params.get("saas.extra_body"), options.get("extra_body")):
            body = schema.merged(body, extra or {})
        if isinstance(additions := body.get("req_params", {}).get("additions"), Mapping):
            body["req_params"]["additions"] = json.dumps(additions, ensure_ascii=False)  # JSON in JSON, indeed
        return body

    async def _whole(self, body: Any, headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        async with self._http.request("POST", self._url, json=body, headers=headers) as response:
            told = {name.lower(): value for name, value in response.headers.items()}
            _, sound = schema.read(await response.read(), self._http.endpoint, told)
        if not sound:
            raise http_errors.unreadable(self._http.endpoint, "no sound in it")
        yield sound

    async def _streamed(self, body: Any, headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        code, heard = 0, False
        headers = {"X-Api-Request-Id": str(uuid.uuid4()), **headers}
        async with aclosing(self._http.lines(self._url, body, headers=headers)) as lines:
            async for line in lines:
                code, sound = schema.read(line, self._http.endpoint, {})
                if sound:
                    heard = True
                    yield sound
                if code == schema.END:
                    await drain(lines, ByzerError)
                    break
        if code != schema.END:
            raise http_errors.truncated(self._http.endpoint)
        if not heard:
            raise http_errors.unreadable(self._http.endpoint, "no sound in it")


def _target(given: Mapping[str, Any]) -> tuple[str, str]:
    """Return the API (v1 or v3), and the cluster or resource there."""
    api, model = given["saas.api"], given.get("saas.model")
    if api == "auto":
        api = "v3" if re.match(r"seed-|volc\.", model or "") else "v1"
    return api, str(model or (schema.RESOURCE if api == "v3" else CLUSTER))


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[f"saas.{name}"] for name in _OWN if f"saas.{name}" in given}


def _voice(model: str) -> str:
    voice = next((voice for pattern, voice in _VOICES if re.match(pattern, model)), None)
    if voice is None:
        raise BadRequest(f"There is no usual voice of {model}.", "Give one: voice=S_..., or saas.voice in the deploy.")
    return voice


BACKEND = VolcengineBackend
