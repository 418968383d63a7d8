"""Text to speech by Azure Speech, over its REST API.

Requests, formats and statuses: https://learn.microsoft.com/azure/ai-services/speech-service/rest-text-to-speech; SSML:
https://learn.microsoft.com/azure/ai-services/speech-service/speech-synthesis-markup-voice; hosts of the national
clouds: https://learn.microsoft.com/azure/ai-services/speech-service/sovereign-clouds.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit
from xml.sax.saxutils import escape, quoteattr

from byzer_magic.backends.base import Backend, Info, Param, Report, Setup
from byzer_magic.backends.http import errors as http_errors, params, reasons, received
from byzer_magic.backends.http.client import Http
from byzer_magic.backends.http.errors import Endpoint
from byzer_magic.backends.http.media import AUDIO_TYPES
from byzer_magic.backends.http.speech import (
    audio_of,
    known_options,
    number,
    split,
    synthesized,
    without_lone_surrogates,
)
from byzer_magic.errors import BadParameter, BadRequest, ByzerError, ProviderUnavailable
from byzer_magic.i18n import lazy_gettext as _, listed
from byzer_magic.media import formats, wav
from byzer_magic.types import AudioChunk, SpeakRequest

VOICE = "zh-CN-XiaoxiaoNeural"
PATH = "/cognitiveservices/v1"
MAX_CHARS = 2000
"""Characters of a request: Azure silently truncates audio after ten minutes."""

FORMATS = {
    "mp3": "audio-48khz-192kbitrate-mono-mp3",
    "wav": "riff-24khz-16bit-mono-pcm",
    "opus": "ogg-48khz-16bit-mono-opus",
    "pcm": "raw-24khz-16bit-mono-pcm",
}
_NAMED = re.compile(r"(audio|riff|raw|ogg|webm)-\d+k?hz-\S+|amr-wb-16000hz|g722-16khz-64kbps")
_RATE = re.compile(r"-(\d+)(k?)hz-")
_MIMES = {
    "*-mp3": AUDIO_TYPES["mp3"],
    "riff-*": AUDIO_TYPES["wav"],
    "ogg-*": AUDIO_TYPES["opus"],
    "webm-*": "audio/webm",
    "raw-*-pcm": AUDIO_TYPES["pcm"],
    "raw-*-mulaw": "audio/basic",
    "raw-*-alaw": "audio/x-alaw",
    "amr-*": "audio/amr",
    "*": "application/octet-stream",
}
_PACES = {"x-slow": 0.5, "slow": 0.64, "medium": 1.0, "fast": 1.55, "x-fast": 2.0, "default": 1.0}
_SPEEDS = (0.5, 2.0)
_CLOUDS = {"china": "azure.cn", "usgov": "azure.us", "usdod": "azure.us"}

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML does not allow: https://www.w3.org/TR/xml/#charsets."""
_DOCUMENT = re.compile(r"(<\?xml[^>]*>\s*)?<speak\b.*</speak>", re.DOTALL)

_PROSODY = ("rate", "pitch", "volume")
_OWN = {
    "voice": _("voice, such as {example} (default {voice})", example="en-US-AvaMultilingualNeural", voice=VOICE),
    "language": _("language to speak, such as en-US, for voices with several (default: the voice's own)"),
    "rate": _("speaking rate: 1.2, +20%, slow, ..."),
    "pitch": _("pitch: +10%, -2st, low, ..."),
    "volume": _("volume: 80, +10%, soft, ..."),
    "style": _("speaking style of the voice, such as cheerful or newscast"),
    "styledegree": _("strength of the style, 0.01..2"),
    "role": _("role that the voice plays, such as Girl or OlderAdultMale"),
}
_KNOWN = {**{name: name for name in _OWN}, "speed": "rate", "output_format": "format", "response_format": "format"}

_REASONS = {
    400: _("the SSML is not well-formed, or the voice, style or format is unknown"),
    401: _("the key is wrong, or it belongs to another region"),
    403: _("the key has no permission for this"),
    404: _("no speech service at this URL"),
    413: _("the text is too long"),
    415: _("only application/ssml+xml is accepted"),
    429: _("the quota or the request rate of the resource is exceeded"),
    502: _("the gateway failed, or a header was wrong"),
    503: _("the service failed"),
}
"""What a status means; Azure often sends no body with it."""
_HINTS = {
    400: _("Check the voice, style, role and format; voices: {url}", url="https://aka.ms/speech/tts-languages"),
    401: _("Check saas.api_key and saas.service_region: a key is valid in its own region only."),
    404: _("Check saas.service_region and saas.base_url."),
    413: _("Shorten the text."),
}


def _info() -> Info:
    _model, *connection = (param for param in params.CONNECTION if param is not params.EXTRA_BODY)  # there is no model
    own = (
        params.api_key(
            "AZURE_SPEECH_KEY", "SPEECH_KEY", help=_("API key of the Speech resource"), env_unless="saas.base_url"
        ),
        Param(
            name="saas.service_region",
            help=_("region of the resource, such as eastus or chinaeast2"),
            env=("AZURE_SPEECH_REGION", "SPEECH_REGION"),
            aliases=("saas.region",),
        ),
        Param(name="saas.base_url", help=_("URL of the service, instead of a region")),
        Param(name="saas.deployment_id", help=_("deployment ID of a custom voice")),
        Param(
            name="saas.output_format",
            help=_("mp3, wav, opus, pcm, or a format name of Azure such as {example}", example=FORMATS["wav"]),
            default="mp3",
            aliases=("saas.response_format",),
            header=True,
        ),
    )
    voices = tuple(Param(name=f"saas.{name}", help=help_) for name, help_ in _OWN.items())
    return Info(
        kind="saas/azure",
        title=_("Azure Speech (text to speech)"),
        params=(*own, *connection, *voices),
    )


class AzureSpeechBackend(Backend):
    """Speech over one HTTP session; an instance serves all slots of a pool."""

    info: ClassVar[Info] = _info()

    def __init__(self, setup: Setup, http: Http) -> None:
        self._http = http
        self._url = _url(setup.params)
        self._retries: int = setup.params["saas.max_retries"]
        self._defaults = known_options({name: setup.params.get(f"saas.{name}") for name in _KNOWN}, _KNOWN)

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check the URL and the audio format.

        Raises:
            MissingKey: there is neither a region nor a URL.
            BadParameter: one of the parameters is not valid.
        """
        given = setup.params
        params.check_url(given, "saas.base_url", f"https://eastus.tts.speech.microsoft.com{PATH}")
        params.check_objects(given)
        if "saas.base_url" not in given and "saas.service_region" not in given:
            raise params.missing_key(cls.info.kind, "saas.service_region", "AZURE_SPEECH_REGION", value="eastus")
        if "saas.base_url" not in given and not _region(given).isalnum():
            raise BadParameter(
                _("saas.service_region is {region!r}, which is not a region.", region=given["saas.service_region"]),
                _("Use a region such as eastus."),
            )
        if ".api.cognitive." in given.get("saas.base_url", ""):
            raise BadParameter(
                _(
                    "saas.base_url is {url}, which is the URL of the token service, not of the speech service.",
                    url=given["saas.base_url"],
                ),
                _("Remove saas.base_url, and set saas.service_region, e.g. eastus."),
            )
        try:
            _format(given["saas.output_format"])
        except BadRequest as err:
            raise BadParameter(err.message, err.hint) from None

    @classmethod
    async def open(cls, setup: Setup, report: Report) -> Self:
        """Make the session; nothing is sent yet."""
        report(_("importing {name}", name="aiohttp"))
        endpoint = Endpoint("Azure Speech", _url(setup.params), params.secrets_of(setup.params), hints=_HINTS)
        headers = {
            "Ocp-Apim-Subscription-Key": setup.params["saas.api_key"].reveal(),
            "Content-Type": "application/ssml+xml",
            "User-Agent": "byzer-magic",  # the service requires one
        }
        return cls(setup, Http.open(setup, endpoint, headers, _from_response))

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def speak(self, request: SpeakRequest) -> AsyncIterator[AudioChunk]:
        """Yield the audio of the text as it arrives; SSML is sent as it is, long texts are split after sentences.

        Raises:
            ProviderError: Azure refused or failed.
            BadRequest: an option is unknown or has an invalid value, or the text is empty.
            DeadlineExceeded: nothing came for `saas.timeout` seconds.
        """
        options = {**self._defaults, **_own_names(request.options)}
        form = _format(options["format"])
        headers = {**(request.options.get("extra_headers") or {}), "X-Microsoft-OutputFormat": form}
        text = _clean(request.text)

        async def send(ssml: str) -> AsyncGenerator[AudioChunk, None]:
            has_audio = False
            async with self._http.request("POST", self._url, data=ssml.encode(), headers=headers) as response:
                body, header = received.blocks(response, received.AUDIO), response.headers.get("Content-Type", "")
                async with aclosing(audio_of(body, header, self._not_audio)) as blocks:
                    async for block in blocks:
                        has_audio = has_audio or bool(block.data)
                        yield block
            if not has_audio:
                raise _no_audio(self._http.endpoint)

        if _DOCUMENT.fullmatch(text):
            parts = [text]
        else:
            limit = int(MAX_CHARS * min(1.0, _pace(options.get("rate"))))
            parts = [_ssml(part, options) for part in split(text, limit)]
        async with aclosing(synthesized(parts, _mime(form), send, self._retries)) as chunks:
            async for chunk in chunks:
                yield chunk

    def _not_audio(self, body: bytes) -> ByzerError:
        """Return the error for a text that came instead of audio: what it says, if it says anything."""
        mime = formats.mime_of(body) or "text/plain"
        reason = _("its type is {type}, not audio", type=mime)
        if not reasons.of(body).sentence:
            return http_errors.unreadable(self._http.endpoint, reason)
        if body.lstrip().startswith((b"{", b"[")):
            return http_errors.no_answer(body, self._http.endpoint)
        return http_errors.not_json(body, self._http.endpoint, reason)


def _url(given: Mapping[str, Any]) -> str:
    """Return the URL of the service; custom voices have their own host, custom domains their own path."""
    base = given.get("saas.base_url")
    custom = given.get("saas.deployment_id")
    if base is None:
        region = _region(given)
        cloud = next((host for start, host in _CLOUDS.items() if region.startswith(start)), "microsoft.com")
        base = f"https://{region}.{'voice' if custom else 'tts'}.speech.{cloud}"
    if PATH not in base:
        domain = ".cognitiveservices.azure." in base
        base = base.rstrip("/") + ("/tts" if domain and not urlsplit(base).path.strip("/") else "") + PATH
    return f"{base}?deploymentId={custom}" if custom and "?" not in base else base


def _region(given: Mapping[str, Any]) -> str:
    return str(given["saas.service_region"]).replace(" ", "").lower()  # the portal says "East US"


def _own_names(options: Mapping[str, Any]) -> dict[str, Any]:
    own = {**options, **(options.get("extra_body") or {})}
    if own.get("speed") is not None:
        own["speed"] = f"{number('speed', own['speed'], *_SPEEDS):g}"
    return known_options(own, _KNOWN)


def _pace(rate: Any) -> float:
    """Return `rate` as a factor, at least 0.5: slow speech fills Azure's ten minutes sooner.

    Example:
        >>> _pace("-20%"), _pace("fast"), _pace(None)
        (0.8, 1.55, 1.0)
    """
    text = str(rate or 1).strip()
    try:
        pace = 1 + float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        pace = _PACES.get(text, 1.0)
    return max(_SPEEDS[0], pace)


def _format(name: Any) -> str:
    """Return Azure's name of an audio format.

    Raises:
        BadRequest: Azure has no such format.

    Example:
        >>> _format("mp3")
        'audio-48khz-192kbitrate-mono-mp3'
    """
    form = FORMATS.get(str(name), str(name))
    if not _NAMED.fullmatch(form):
        raise BadRequest(
            _("Azure Speech does not support the audio format {name!r}.", name=str(name)),
            _("Choose {names}, or a format name of Azure.", names=listed(FORMATS)),
        )
    return form


def _mime(form: str) -> str:
    """Return the media type of one of Azure's formats; raw samples with their rate.

    Example:
        >>> _mime("raw-16khz-16bit-mono-pcm")
        'audio/pcm;rate=16000'
    """
    mime = next(mime for pattern, mime in _MIMES.items() if fnmatchcase(form, pattern))
    rate = _RATE.search(form)
    return wav.raw_type(mime, int(rate[1]) * (1000 if rate[2] else 1)) if rate else mime


def _clean(text: str) -> str:
    """Return `text` without the characters that XML does not allow; white space among them becomes spaces."""
    return _FORBIDDEN.sub(lambda found: " " if found.group().isspace() else "", without_lone_surrogates(text)).strip()


def _ssml(text: str, options: Mapping[str, Any]) -> str:
    """Return an SSML document that speaks `text` with the options, nested as Azure requires."""
    voice = str(options.get("voice") or VOICE)
    own = re.match(r"[a-z]{2,3}(-[A-Za-z]+)*?-[A-Z]{2}", voice)
    language = str(options.get("language") or (own and own.group()) or "en-US")
    body = _element("prosody", escape(text), {name: options.get(name) for name in _PROSODY})
    if own and language != own.group():
        body = _element("lang", body, {"xml:lang": language})
    manner = {name: options.get(name) for name in ("style", "styledegree", "role")}
    body = _element("voice", _element("mstts:express-as", body, manner), {"name": voice})
    spaces = 'xmlns="http://www.w3.org/2001/10/synthesis" xmlns:mstts="https://www.w3.org/2001/mstts"'
    return f'<speak version="1.0" {spaces} xml:lang={quoteattr(language)}>{body}</speak>'


def _element(name: str, body: str, attributes: Mapping[str, Any]) -> str:
    """Return `body` in an element; without any attribute, `body` alone."""
    written = "".join(f" {key}={quoteattr(str(value))}" for key, value in attributes.items() if value is not None)
    return f"<{name}{written}>{body}</{name}>" if written else body


def _from_response(
    body: Any, endpoint: Endpoint, status: int | None = None, headers: Mapping[str, str] | None = None
) -> ByzerError:
    error = {
        "message": body or _REASONS.get(status or 0, ""),
        "code": "context_length_exceeded" if status == 413 else "",
    }
    return http_errors.from_response(body if isinstance(body, Mapping) else error, endpoint, status, headers)


def _no_audio(endpoint: Endpoint) -> ByzerError:
    hint = _("Check that the voice supports the language of the text, and that the text contains words.")
    return ProviderUnavailable(_("{host}: the response has no audio.", host=endpoint.host), hint, final=True)


BACKEND = AzureSpeechBackend
