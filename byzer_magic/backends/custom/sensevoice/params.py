"""Parameters of a SenseVoice deployment and options of a request.

Names are FunASR's: https://github.com/modelscope/FunASR/blob/main/funasr/auto/auto_model.py and
https://github.com/modelscope/FunASR/blob/main/funasr/models/fsmn_vad_streaming/model.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from byzer_magic.backends.base import Param, convert
from byzer_magic.backends.custom.sensevoice.files import SILERO
from byzer_magic.backends.custom.sensevoice.tags import LANGUAGES
from byzer_magic.errors import BadParameter, BadRequest, suggest
from byzer_magic.i18n import lazy_gettext as _, listed

VAD = "vad_kwargs."
BOTH_VADS = {
    "max_single_segment_time": ("int", _("maximum length of a speech segment, in ms")),
    "device": ("text", _("device of the detector (default: that of the model)")),
}
FSMN_VAD = {
    "max_end_silence_time": ("int", _("silence that ends a segment, in ms (turns dynamic_silence off)")),
    "dynamic_silence": ("bool", _("end long segments at shorter silences (default true)")),
    "silence_schedule": ("json", _("for dynamic_silence: [[ms of speech so far, ms of silence], ...]")),
    "speech_noise_thres": ("float", _("threshold of speech against noise (fixed to 0.5 by dynamic_silence)")),
    "sil_to_speech_time_thres": ("int", _("speech in the window that starts a segment, in ms")),
    "speech_to_sil_time_thres": ("int", _("speech in the window below which silence starts, in ms")),
    "window_size_ms": ("int", _("size of the window, in ms")),
    "lookback_time_start_point": ("int", _("padding before a segment, in ms")),
    "lookahead_time_end_point": ("int", _("padding after a segment, in ms")),
    "do_extend": ("int", _("1 adds the padding, 0 does not")),
    "decibel_thres": ("float", _("loudness below which nothing counts as speech, in dB")),
    "snr_thres": ("float", _("signal-to-noise ratio below which nothing counts as speech, in dB")),
    "noise_frame_num_used_for_snr": ("int", _("frames used to measure the noise")),
    "speech_2_noise_ratio": ("float", _("weight of the noise probability")),
    "fe_prior_thres": ("float", _("minimum prior of a frame")),
    "speech_noise_thresh_low": ("float", _("no longer used by FunASR")),
    "speech_noise_thresh_high": ("float", _("no longer used by FunASR")),
    "max_start_silence_time": ("int", _("initial silence that ends the search for a single segment, in ms")),
    "detect_mode": ("int", _("0: the first segment, 1: all segments")),
    "snr_mode": ("int", _("no longer used by FunASR")),
    "do_start_point_detection": ("bool", _("detect start points")),
    "do_end_point_detection": ("bool", _("detect end points")),
    "silence_pdf_num": ("int", _("number of network outputs that are silence")),
    "sil_pdf_ids": ("json", _("indexes of the network outputs that are silence, as a list")),
    "output_frame_probs": ("bool", _("keep the probabilities of each frame")),
    "nn_eval_block_size": ("int", _("frames per batch in the network")),
    "dcd_block_size": ("int", _("frames per batch in the search")),
    "sample_rate": ("int", _("sample rate of the network, in Hz")),
    "frame_in_ms": ("int", _("frame shift of the network, in ms")),
    "frame_length_ms": ("int", _("frame length of the network, in ms")),
}  # fmt: skip
SILERO_VAD = {
    "silero_threshold": ("float", _("probability threshold of speech (default 0.5)")),
    "silero_min_speech_duration_ms": ("int", _("minimum length of a segment, in ms (default 250)")),
    "silero_min_silence_duration_ms": ("int", _("minimum silence that ends a segment, in ms (default 100)")),
    "silero_speech_pad_ms": ("int", _("padding on both sides of a segment, in ms (default 30)")),
    "silero_onnx": ("bool", _("run with onnxruntime (default false)")),
}

TAGS = ("clean", "keep", "emoji")
OPTIONS = (
    Param(name="language", help=_("spoken language: auto, {languages}", languages=', '.join(LANGUAGES)), default="auto",
          choices=("auto", *LANGUAGES)),
    Param(name="use_itn", help=_("inverse text normalization: digits and punctuation"), kind="bool", default=True),
    Param(name="tags", help=_("clean: no tags in the text (they are in raw); keep: tags as the model returns "
                              "them; emoji: FunASR's emojis for emotions and events"), default="clean", choices=TAGS),
)  # fmt: skip
PARAMS = (
    Param(name="vad_model", help=_("voice activity detector for long audio: fsmn-vad, {silero}, or a folder "
                                   "(default: split at the quietest moment of every 30 s)", silero=SILERO)),
    *(
        Param(name=f"{VAD}{name}", kind=kind, help=text)
        for name, (kind, text) in (BOTH_VADS | FSMN_VAD | SILERO_VAD).items()
    ),
    Param(name="hub", help=_("hub of a vad_model that is not on this machine: ms is ModelScope, hf is Hugging "
                             "Face (default: the first that responds)"), choices=("ms", "hf")),
    Param(name="device", help=_("device: cpu, cuda:0, ... (default: a GPU when the worker has one)")),
    Param(name="ncpu", help=_("CPU threads (default: the worker's CPUs)"), kind="int"),
    Param(name="batch_size_s", help=_("seconds of audio per batch on a GPU"), kind="int", default=300),
    Param(name="merge_vad", help=_("merge short speech segments, for better transcripts"), kind="bool",
          default=False),
    Param(name="merge_length_s", help=_("for merge_vad: maximum length of a merged segment, in "
                                        "seconds"), kind="float", default=15.0),
    Param(name="ban_emo_unk", help=_("always return an emotion"), kind="bool", default=False),
    Param(name="trust_remote_code", help=_("run the model's own code, and let FunASR pip-install its requirements"),
          kind="bool", default=False),
    Param(name="remote_code", help=_("for trust_remote_code: the file with that code (default: model.py in the "
                                     "folder)")),
    *OPTIONS,
)  # fmt: skip

_IGNORED = frozenset({"model", "stream", "user", "response_format", "include", "chunking_strategy", "extra_headers"})
"""Options of OpenAI's API that have no effect on the transcript here."""
_NAMES = {"chinese": "zh", "mandarin": "zh", "english": "en", "cantonese": "yue", "japanese": "ja", "korean": "ko"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of one request."""

    language: str
    use_itn: bool
    tags: str


def asked(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> Settings:
    """Return the settings of a request: its options, else the deployment's parameters.

    Raises:
        BadRequest: an option is unknown (the nearest is named) or has a wrong value.
    """
    found = {param.name: defaults.get(param.name, param.default) for param in OPTIONS}
    by_name = {param.name: param for param in OPTIONS}
    for name, value in {**options, **(options.get("extra_body") or {})}.items():
        if value is None or name in _IGNORED or name == "extra_body":
            continue
        if name not in by_name:
            hint = suggest(name, by_name, _("Options: {known}.", known=listed(by_name)))
            raise BadRequest(_("SenseVoice has no option {name!r}.", name=name), hint)
        found[name] = _typed(by_name[name], value)
    return Settings(**found)


def _typed(param: Param, value: Any) -> Any:
    text = str(value)
    if param.name == "language":
        low = text.strip().strip("<|>").lower()
        text = _NAMES.get(low, low if low in param.choices else low.replace("_", "-").partition("-")[0])
    try:
        return convert(param, text)
    except BadParameter as err:
        raise BadRequest(err.message, _("Meaning: {help}.", help=param.help)) from err


def check(params: Mapping[str, Any]) -> None:
    """Check what `Param` cannot: parameters that need each other, and the range of numbers.

    Raises:
        BadParameter: a setting has no effect, or is out of range.
    """
    vad = {name.removeprefix(VAD) for name in params if name.startswith(VAD)}
    if vad and "vad_model" not in params:
        raise BadParameter(
            _("{vad}{vad2} has no effect without vad_model.", vad=VAD, vad2=min(vad)), _("Add vad_model=fsmn-vad.")
        )
    wrong = FSMN_VAD if params.get("vad_model") in (SILERO, "silero_vad") else SILERO_VAD
    for name in sorted(vad & wrong.keys()):
        raise BadParameter(
            _(
                "{vad}{name} does not apply to vad_model={vad_model}.",
                vad=VAD,
                name=name,
                vad_model=params["vad_model"],
            ),
            _("Leave it out."),
        )
    if params.get("merge_vad") and "vad_model" not in params:
        raise BadParameter(_("merge_vad has no effect without vad_model."), _("Add vad_model=fsmn-vad."))
    if "remote_code" in params and not params.get("trust_remote_code"):
        raise BadParameter(_("remote_code has no effect without trust_remote_code."), _("Add trust_remote_code=true."))
    for name in ("ncpu", "batch_size_s", "merge_length_s", f"{VAD}max_single_segment_time"):
        if params.get(name, 1) <= 0:
            raise BadParameter(
                _("{name} is {params}, which is not positive.", name=name, params=params[name]),
                _("Use a number above 0."),
            )


def vad_arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the detector's settings under their own names."""
    return {name.removeprefix(VAD): value for name, value in params.items() if name.startswith(VAD)}
