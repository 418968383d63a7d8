"""Text to speech by Volcengine (火山引擎, 豆包语音), over the two HTTP APIs that it has.

v1 returns a JSON object with the complete audio: https://www.volcengine.com/docs/6561/79823 (older voices, BV...) and
https://www.volcengine.com/docs/6561/1257584 (large models' voices; their errors are listed there, too). v3 streams a
line of JSON for each chunk of audio: https://www.volcengine.com/docs/6561/1598757. `saas.model` decides which: it is
the resource of v3 (seed-..., volc.service_type...), or the cluster of v1.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Self

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.http import errors as http_errors, params, received
from byzer_magic.backends.http.client import Http
from byzer_magic.backends.http.errors import Endpoint
from byzer_magic.backends.http.speech import (
    audio_chunks,
    known_options,
    split,
    synthesized,
    utf8_length,
    without_lone_surrogates,
)
from byzer_magic.backends.http.sse import drain
from byzer_magic.backends.saas.volcengine import schema
from byzer_magic.errors import BadParameter, BadRequest, ByzerError, MissingKey
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.media import formats, wav
from byzer_magic.types import AudioChunk, SpeakRequest

BASE_URL = "https://openspeech.bytedance.com"
CLUSTER = "volcano_tts"
MAX_BYTES = 1024
"""Maximum length of a request's text, in UTF-8."""
_VOICES = (
    (r"volcano_tts$", "BV001_streaming"),  # the other BV voices must be ordered first, even the free ones
    (r"seed-tts-2", "zh_female_vv_uranus_bigtts"),
    (r"seed-tts-1|volc\.service_type\.100(29|48)", "zh_female_shuangkuaisisi_moon_bigtts"),
)
"""The default voice by cluster or resource; cloned voices have none."""

_OPTIONS: dict[str, tuple[str, str]] = {
    "voice": ("text", _("voice: voice_type of v1, speaker of v3 (default: a common female voice of saas.model)")),
    "encoding": ("text", _("mp3, wav, pcm or ogg_opus")),
    "speed": ("float", _("speaking rate, 0.2..3 (v3 and large models: 0.5..2); 1 is the normal rate")),
    "volume": ("float", _("volume, 0.1..3 (v3 and large models: 0.5..2); 1 is the normal volume")),
    "pitch": ("float", _("pitch, 0.1..3 (v3: 0.5..2); 1 is the normal pitch")),
    "emotion": ("text", _("emotion, for voices with several: happy, sad, angry, ...")),
    "language": ("text", _("language to read, for voices with several: cn or zh-cn, en, ja, ...")),
    "sample_rate": ("int", _("samples per second: 8000, 16000 or 24000")),
}
_ALIASES = {
    "voice": ("voice_type", "speaker"),
    "encoding": ("response_format", "format"),
    "speed": ("speed_ratio",),
    "volume": ("volume_ratio", "loudness_ratio"),
    "pitch": ("pitch_ratio",),
    "sample_rate": ("rate",),
}
_KNOWN = {name: own for own in _OPTIONS for name in (own, *_ALIASES.get(own, ()))} | {"instructions": "instructions"}


def _info() -> Info:
    key = params.api_key(
        "VOLC_TTS_TOKEN",
        "VOLCENGINE_TTS_TOKEN",
        help=_("access token of the app, or a new API key"),
        env_unless="saas.base_url",
        aliases=("saas.token", "saas.access_token"),
    )
    own = (
        Param(
            name="saas.app_id",
            help=_("ID of the app; not needed by v3 with a new API key"),
            env=("VOLC_TTS_APP_ID", "VOLCENGINE_TTS_APP_ID"),
            aliases=("saas.appid",),
            header=True,
        ),
        Param(
            name="saas.model",
            help=_(
                "resource of v3, such as {resource}, or cluster of v1 (default {cluster})",
                resource=schema.RESOURCE,
                cluster=CLUSTER,
            ),
            aliases=("saas.resource_id",),
            header=True,
        ),
        Param(name="saas.cluster", help=_("cluster of v1, if it differs from saas.model")),
        Param(
            name="saas.api",
            help=_("API: v1 returns the complete audio, v3 streams; auto: by saas.model"),
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
        for name, (kind, help_) in _OPTIONS.items()
    )
    return Info(
        kind="saas/volcengine",
        title=_("Volcengine (text to speech)"),
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
        """Check the URL, that v1 has its app, and the options of the voice.

        Raises:
            MissingKey: v1 without an app.
            BadParameter: one of the parameters is not valid.
        """
        params.check_url(setup.params, "saas.base_url", BASE_URL)
        params.check_objects(setup.params)
        api, _model = _target(setup.params)
        if api == "v1" and "saas.app_id" not in setup.params:
            raise MissingKey(
                _("{kind} needs {name}.", kind=cls.info.kind, name="saas.app_id"),
                _(
                    "Add --infer_params saas.app_id=... or set {env}; with a new API key, set saas.model={resource}.",
                    env="VOLC_TTS_APP_ID",
                    resource=schema.RESOURCE,
                ),
            )
        try:
            schema.checked(_defaults(setup.params), api, "saas.")
        except BadRequest as err:
            raise BadParameter(err.message, err.hint) from None

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Make the session; nothing is sent yet."""
        report(_("importing {name}", name="aiohttp"))
        api, model = _target(setup.params)
        base = setup.params["saas.base_url"]
        endpoint = Endpoint(model, base, params.secrets_of(setup.params), hints=schema.HINTS)
        key, app = setup.params["saas.api_key"].reveal(), setup.params.get("saas.app_id")
        if api == "v1":
            headers = {"Authorization": f"Bearer;{key}"}  # with a semicolon, as the API requires
        else:
            own = {"X-Api-App-Id": app, "X-Api-Access-Key": key} if app else {"X-Api-Key": key}
            headers = {**own, "X-Api-Resource-Id": model}
        return cls(setup, Http.open(setup, endpoint, headers, schema.from_response))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def speak(self, request: SpeakRequest) -> AsyncIterator[AudioChunk]:
        """Yield the audio of the text, with v3 as it arrives; SSML is sent as it is, long texts are split.

        Raises:
            ProviderError: Volcengine refused or failed; the message quotes its own text.
            BadRequest: an option is unknown or has an invalid value, or the text is empty.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        settings = schema.checked({**self._defaults, **known_options(request.options, _KNOWN)}, self._api)
        settings["voice"] = str(settings.get("voice") or _voice(self._model))
        as_pcm = settings["encoding"] == "wav" and self._api == "v3"  # whose chunks would have a WAV header each
        if as_pcm:
            settings["encoding"] = "pcm"
        text = without_lone_surrogates(request.text).strip()
        settings["ssml"] = text.startswith("<speak")
        parts = [text] if settings["ssml"] else split(text, MAX_BYTES, utf8_length)
        request_audio = self._streamed if self._api == "v3" else self._complete

        async def send(part: str) -> AsyncGenerator[AudioChunk, None]:
            body, headers = self._body(part, settings, request.options), request.options.get("extra_headers") or {}
            async with aclosing(request_audio(body, headers)) as blocks:
                async for block in blocks:
                    yield AudioChunk(block, "")  # it comes as base64 in JSON: no header names its type

        mime, retries = schema.mime(settings), self._params["saas.max_retries"]
        async with aclosing(synthesized(parts, mime, send, retries)) as chunks:
            if as_pcm:
                found = [chunk async for chunk in chunks]
                for chunk in _wav(found, settings["sample_rate"]):
                    yield chunk
                return
            async for chunk in chunks:
                yield chunk

    def _body(self, text: str, settings: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        cluster = self._params.get("saas.cluster") or self._model
        app = self._params.get("saas.app_id")
        body = schema.v3(text, settings) if self._api == "v3" else schema.v1(text, settings, app, cluster)
        for extra in (self._params.get("saas.extra_body"), options.get("extra_body")):
            body = schema.merged(body, extra or {})
        if isinstance(additions := body.get("req_params", {}).get("additions"), Mapping):
            body["req_params"]["additions"] = json.dumps(
                additions, ensure_ascii=False
            )  # the API takes JSON in a JSON string
        return body

    async def _complete(self, body: Any, headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        async with self._http.request("POST", self._url, json=body, headers=headers) as response:
            known = {name.lower(): value for name, value in response.headers.items()}
            _code, audio = schema.read(await received.read(response), self._http.endpoint, known)
        if not audio:
            raise http_errors.unreadable(self._http.endpoint, http_errors.NO_AUDIO)
        yield audio

    async def _streamed(self, body: Any, headers: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        code, received = 0, False
        headers = {"X-Api-Request-Id": str(uuid.uuid4()), **headers}
        async with aclosing(self._http.lines(self._url, body, headers=headers)) as lines:
            async for line in lines:
                if line.strip() == b"null":
                    continue
                code, audio = schema.read(line, self._http.endpoint, {})
                if audio:
                    received = True
                    yield audio
                if code == schema.END:
                    await drain(lines, ByzerError)
                    break
        if code != schema.END:
            raise http_errors.truncated(self._http.endpoint)
        if not received:
            raise http_errors.unreadable(self._http.endpoint, http_errors.NO_AUDIO)


def _wav(chunks: Sequence[AudioChunk], rate: int) -> Iterable[AudioChunk]:
    """Return raw samples as one WAV file; what turns out to be another format stays as it is."""
    if any(formats.canonical(chunk.mime) != "audio/pcm" for chunk in chunks):
        return chunks
    return audio_chunks(wav.write(b"".join([chunk.data for chunk in chunks]), rate), "audio/wav")


def _target(given: Mapping[str, Any]) -> tuple[str, str]:
    """Return the API (v1 or v3), and the cluster or resource there."""
    api, model = given["saas.api"], given.get("saas.model")
    if api == "auto":
        api = "v3" if re.match(r"seed-|volc\.", model or "") else "v1"
    return api, str(model or (schema.RESOURCE if api == "v3" else CLUSTER))


def _defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    return params.given(given, _OPTIONS)


def _voice(model: str) -> str:
    voice = next((voice for pattern, voice in _VOICES if re.match(pattern, model)), None)
    if voice is None:
        raise BadRequest(
            _("{model} has no default voice.", model=model),
            _("Add voice=S_... to the request, or saas.voice=S_... to the deployment."),
        )
    return voice


BACKEND = VolcengineBackend
