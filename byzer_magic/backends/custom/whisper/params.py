"""Parameters of a Whisper deployment and options of a request, in one table.

Names are OpenAI's (https://developers.openai.com/api/reference/resources/audio/subresources/transcriptions), then
transformers'; those of faster-whisper are aliases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from byzer_magic.backends.base import Param, convert
from byzer_magic.errors import BadParameter, BadRequest, ByzerError, suggest
from byzer_magic.i18n import lazy_gettext as _, listed

FORMATS = ("text", "json", "verbose_json")
TASKS = ("transcribe", "translate")
LADDER = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Temperatures at which a window is decoded, one after the other, while the result is implausible."""
WINDOW_SECONDS = 30.0
"""Length of Whisper's window; fixed by the model."""
ENGLISH_VOCABULARY = 51864
"""Vocabulary of the English-only models; the others have more tokens."""
UNSPACED = frozenset({"zh", "yue", "ja", "th", "lo", "my", "bo", "km"})
"""Languages that are written without spaces between words."""

_LANGUAGES = """
en=english zh=chinese de=german es=spanish ru=russian ko=korean fr=french ja=japanese pt=portuguese tr=turkish
pl=polish ca=catalan nl=dutch ar=arabic sv=swedish it=italian id=indonesian hi=hindi fi=finnish vi=vietnamese he=hebrew
uk=ukrainian el=greek ms=malay cs=czech ro=romanian da=danish hu=hungarian ta=tamil no=norwegian th=thai ur=urdu
hr=croatian bg=bulgarian lt=lithuanian la=latin mi=maori ml=malayalam cy=welsh sk=slovak te=telugu fa=persian
lv=latvian bn=bengali sr=serbian az=azerbaijani sl=slovenian kn=kannada et=estonian mk=macedonian br=breton eu=basque
is=icelandic hy=armenian ne=nepali mn=mongolian bs=bosnian kk=kazakh sq=albanian sw=swahili gl=galician mr=marathi
pa=punjabi si=sinhala km=khmer sn=shona yo=yoruba so=somali af=afrikaans oc=occitan ka=georgian be=belarusian tg=tajik
sd=sindhi gu=gujarati am=amharic yi=yiddish lo=lao uz=uzbek fo=faroese ht=haitian ps=pashto tk=turkmen nn=nynorsk
mt=maltese sa=sanskrit lb=luxembourgish my=myanmar bo=tibetan tl=tagalog mg=malagasy as=assamese tt=tatar haw=hawaiian
ln=lingala ha=hausa ba=bashkir jw=javanese su=sundanese yue=cantonese
"""
LANGUAGES = dict(pair.split("=") for pair in _LANGUAGES.split())
"""Whisper's languages: code and name."""
_OTHER_NAMES = {"mandarin": "zh", "burmese": "my", "flemish": "nl", "castilian": "es", "jv": "jw", "nb": "no"}

LOADING = (
    Param(name="device", help=_("device: cpu, cuda, cuda:1 (default: a GPU when the worker has one)")),
    Param(
        name="dtype",
        help=_(
            "data type of the weights: auto (float32 on a CPU, float16 on a GPU), float32, float16, bfloat16; "
            "CTranslate2 folders also int8, int8_float16, ..."
        ),
        default="auto",
        aliases=("torch_dtype", "compute_type"),
    ),
    Param(
        name="attn_implementation", help=_("attention implementation in transformers: sdpa, eager, flash_attention_2")
    ),
    Param(
        name="chunk_length_s",
        help=_("length of a window in seconds, at most 30"),
        kind="float",
        default=WINDOW_SECONDS,
        aliases=("chunk_length",),
    ),
)
OPTIONS = (
    Param(name="language", help=_("spoken language, such as en or english (default: detected by the model)")),
    Param(name="task", help=_("transcribe, or translate into English"), default="transcribe", choices=TASKS),
    Param(name="prompt", help=_("text with likely words, such as names"), aliases=("initial_prompt",)),
    Param(
        name="temperature",
        help=_(
            "sampling temperature: starts at 0 and rises to 1 when a result is implausible; a JSON list gives all steps"
        ),
        kind="json",
    ),
    Param(
        name="num_beams",
        help=_("beam size of the search (default 1 in transformers, 5 with CTranslate2)"),
        kind="int",
        aliases=("beam_size",),
    ),
    Param(
        name="no_speech_threshold",
        help=_("probability of silence above which unlikely words are dropped"),
        kind="float",
        default=0.6,
    ),
    Param(
        name="logprob_threshold",
        help=_("average log probability below which a window is decoded again at the next temperature"),
        kind="float",
        default=-1.0,
        aliases=("log_prob_threshold",),
    ),
    Param(
        name="compression_ratio_threshold",
        help=_("compression ratio above which a window is decoded again at the next temperature (repetitive text)"),
        kind="float",
        default=2.4,
    ),
    Param(
        name="condition_on_previous_text",
        help=_("use the previous text as context of each window: smoother text, but errors may repeat"),
        kind="bool",
        default=False,
        aliases=("condition_on_prev_tokens",),
    ),
    Param(
        name="vad_filter",
        help=_("remove silence first (Silero VAD); otherwise the model may hallucinate words in it"),
        kind="bool",
        default=True,
    ),
    Param(
        name="word_timestamps", help=_("return the time of each word (words in the result)"), kind="bool", default=False
    ),
    Param(name="repetition_penalty", help=_("penalty for repeated tokens; 1 is off"), kind="float"),
    Param(name="no_repeat_ngram_size", help=_("no sequence of this many tokens appears twice; 0 is off"), kind="int"),
    Param(name="length_penalty", help=_("length penalty of the beam search: above 1 favors longer text"), kind="float"),
    Param(name="hotwords", help=_("words to expect in every window (CTranslate2 folders)")),
)
PARAMS = (*LOADING, *OPTIONS)

_BOUNDS = {
    "num_beams": (1, 32),
    "no_speech_threshold": (0, 1),
    "compression_ratio_threshold": (0, 100),
    "logprob_threshold": (-100, 0),
    "repetition_penalty": (0.01, 10),
    "no_repeat_ngram_size": (0, 100),
    "length_penalty": (-10, 10),
}
_IGNORED = frozenset({"model", "stream", "user", "extra_headers", "include", "chunking_strategy"})
"""Options of OpenAI's API that have no effect on the transcript here."""
_BY_NAME = {name: param for param in OPTIONS for name in (param.name, *param.aliases)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The validated settings of a request."""

    language: str | None = None
    """A code of `LANGUAGES`; None is to be found out."""
    task: str = "transcribe"
    prompt: str = ""
    temperatures: tuple[float, ...] = LADDER
    num_beams: int | None = None
    no_speech_threshold: float = 0.6
    logprob_threshold: float = -1.0
    compression_ratio_threshold: float = 2.4
    condition_on_previous_text: bool = False
    vad_filter: bool = True
    word_timestamps: bool = False
    verbose: bool = True
    """Whether segments, language and duration are returned besides the text."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Settings that go to the engine as they are."""


def asked(defaults: Mapping[str, Any], options: Mapping[str, Any], *, english_only: bool) -> Settings:
    """Return the settings of a request: its options, else the deployment's parameters.

    Raises:
        BadRequest: an option is unknown, invalid, or not supported by the model.
    """
    given = {name: value for name, value in options.items() if value is not None and name not in _IGNORED}
    given |= given.pop("extra_body", {})
    form = given.pop("response_format", FORMATS[-1])
    if form not in FORMATS:
        raise BadRequest(
            _("response_format is {form!r}, which is not supported.", form=form),
            _("Use one of: {formats}.", formats=listed(FORMATS)),
        )
    if "word" in str(given.pop("timestamp_granularities", "")):
        given["word_timestamps"] = True
    found = {param.name: defaults[param.name] for param in OPTIONS if param.name in defaults}
    for name, value in given.items():
        if name not in _BY_NAME:
            known = listed(["response_format", *(param.name for param in OPTIONS)])
            hint = suggest(name, _BY_NAME, _("Options: {known}.", known=known))
            raise BadRequest(_("Whisper has no option {name!r}.", name=name), hint)
        found[_BY_NAME[name].name] = _typed(_BY_NAME[name], value)
    return checked(found, english_only=english_only, refused=BadRequest, verbose=form == "verbose_json")


def checked(
    found: Mapping[str, Any],
    *,
    english_only: bool,
    refused: type[ByzerError] = BadParameter,
    verbose: bool = True,
) -> Settings:
    """Return values of the table `OPTIONS` as `Settings`.

    Raises:
        ByzerError: a value is invalid or not supported by the model; of the class `refused`.
    """
    for name, (low, high) in _BOUNDS.items():
        if name in found and not low <= found[name] <= high:
            raise refused(
                _(
                    "{name} is {found:g}, which is not in {low:g}..{high:g}.",
                    name=name,
                    found=found[name],
                    low=low,
                    high=high,
                ),
                "",
            )
    language = code(found["language"], refused) if found.get("language") else None
    task = found.get("task", "transcribe")
    if english_only and (language not in (None, "en") or task == "translate"):
        if task == "translate":
            raise refused(
                _("This model supports English only, so it cannot translate."),
                _("Deploy a multilingual Whisper model (without .en)."),
            )
        name = LANGUAGES[str(language)].title()
        raise refused(
            _("This model supports English only, not {language}.", language=name),
            _("Deploy a multilingual Whisper model (without .en)."),
        )
    plain = {"num_beams", "no_speech_threshold", "logprob_threshold", "compression_ratio_threshold", "vad_filter",
             "condition_on_previous_text", "prompt"}  # fmt: skip
    return Settings(
        language="en" if english_only else language,
        task=task,
        temperatures=_temperatures(found.get("temperature"), refused),
        verbose=verbose,
        word_timestamps=verbose and found.get("word_timestamps", False),
        more={name: found[name] for name in _MORE if found.get(name) is not None},
        **{name: value for name, value in found.items() if name in plain},
    )


_MORE = ("repetition_penalty", "no_repeat_ngram_size", "length_penalty", "hotwords")


def code(language: str, refused: type[ByzerError] = BadParameter) -> str:
    """Return the code of a language that is given as a code (`en`, `pt-BR`, `<|en|>`) or a name.

    Raises:
        ByzerError: Whisper does not know it; of the class `refused`.
    """
    low = str(language).strip().strip("<|>").lower()
    by_name = {name: short for short, name in LANGUAGES.items()} | _OTHER_NAMES
    for name in (low, low.replace("_", "-").partition("-")[0]):
        if name in LANGUAGES or name in by_name:
            return by_name.get(name, name)
    raise refused(
        _("Whisper does not support the language {language!r}.", language=language),
        suggest(low, by_name, _("Use a code such as en, zh or pt.")),
    )


def _temperatures(value: Any, refused: type[ByzerError]) -> tuple[float, ...]:
    steps = value if isinstance(value, list | tuple) else [value or 0]
    if not steps or not all(_is_number(step) and 0 <= step <= 1 for step in steps):
        raise refused(
            _("temperature is {value!r}, which is not in 0..1.", value=value),
            _("Use 0 for greedy decoding; a list gives several steps."),
        )
    if isinstance(value, list | tuple):
        return tuple(float(step) for step in steps)
    return (float(steps[0]), *(step for step in LADDER if step > steps[0]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _typed(param: Param, value: Any) -> Any:
    """Return an option's value as its type; any type may be given as text (`%%chat --params temperature=0.2`)."""
    kinds: dict[str, tuple[type, ...]] = {"text": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
    wanted = kinds.get(param.kind, (int, float, list, tuple))
    if isinstance(value, str) or (param.choices and not isinstance(value, str)):
        try:
            return convert(param, str(value))
        except BadParameter as err:
            raise BadRequest(err.message, err.hint or param.help) from None
    if not isinstance(value, wanted) or (isinstance(value, bool) and param.kind != "bool"):
        raise BadRequest(
            _("{name} is {value!r}, which is not valid.", name=param.name, value=value),
            _("Meaning: {help}.", help=param.help),
        )
    return value
