"""What SenseVoice in FunASR can be told: parameters of a deployment, options of a request.

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

VAD = "vad_kwargs."
BOTH_VADS = {
    "max_single_segment_time": ("int", "longest stretch of speech that is heard at once, in ms"),
    "device": ("text", "where the detector runs (default: where the model does)"),
}
FSMN_VAD = {
    "max_end_silence_time": ("int", "silence that ends a stretch, in ms (turns dynamic_silence off)"),
    "dynamic_silence": ("bool", "end long stretches at shorter silences (default true)"),
    "silence_schedule": ("json", "for dynamic_silence: [[ms of speech until here, ms of silence], ...]"),
    "speech_noise_thres": ("float", "how much likelier than noise speech must be (fixed to 0.5 by dynamic_silence)"),
    "sil_to_speech_time_thres": ("int", "speech in the window that begins a stretch, in ms"),
    "speech_to_sil_time_thres": ("int", "speech in the window below which silence begins, in ms"),
    "window_size_ms": ("int", "the window's size"),
    "lookback_time_start_point": ("int", "what is added before a stretch, in ms"),
    "lookahead_time_end_point": ("int", "what is added after a stretch, in ms"),
    "do_extend": ("int", "1 adds that, 0 does not"),
    "decibel_thres": ("float", "below this loudness nothing is speech"),
    "snr_thres": ("float", "below this distance from the noise nothing is speech"),
    "noise_frame_num_used_for_snr": ("int", "frames that the noise is measured on"),
    "speech_2_noise_ratio": ("float", "weight of the noise's probability"),
    "fe_prior_thres": ("float", "least prior of a frame"),
    "speech_noise_thresh_low": ("float", "not used by FunASR any more"),
    "speech_noise_thresh_high": ("float", "not used by FunASR any more"),
    "max_start_silence_time": ("int", "silence at the beginning that ends a search for one stretch, in ms"),
    "detect_mode": ("int", "0: the first stretch, 1: all stretches"),
    "snr_mode": ("int", "not used by FunASR any more"),
    "do_start_point_detection": ("bool", "look for beginnings"),
    "do_end_point_detection": ("bool", "look for ends"),
    "silence_pdf_num": ("int", "outputs of the network that are silence"),
    "sil_pdf_ids": ("json", "which ones, as a list"),
    "output_frame_probs": ("bool", "keep each frame's probabilities"),
    "nn_eval_block_size": ("int", "frames at once in the network"),
    "dcd_block_size": ("int", "frames at once in the search"),
    "sample_rate": ("int", "samples per second that the network was made for"),
    "frame_in_ms": ("int", "from frame to frame, as the network was made"),
    "frame_length_ms": ("int", "length of a frame, as the network was made"),
}  # fmt: skip
SILERO_VAD = {
    "silero_threshold": ("float", "probability from which it is speech (default 0.5)"),
    "silero_min_speech_duration_ms": ("int", "shorter stretches are left out (default 250)"),
    "silero_min_silence_duration_ms": ("int", "shorter silences end no stretch (default 100)"),
    "silero_speech_pad_ms": ("int", "what is added on both sides (default 30)"),
    "silero_onnx": ("bool", "run it in onnxruntime (default false)"),
}

TAGS = ("clean", "keep", "emoji")
OPTIONS = (
    Param(name="language", help=f"language that is spoken: auto, {', '.join(LANGUAGES)}", default="auto",
          choices=("auto", *LANGUAGES)),
    Param(name="use_itn", help="write numbers as digits, and punctuation", kind="bool", default=True),
    Param(name="tags", help="clean: no tags in the text (they are in raw); keep: as the model writes them; emoji: "
          "FunASR's emojis for emotions and events", default="clean", choices=TAGS),
)  # fmt: skip
PARAMS = (
    Param(name="vad_model", help=f"what finds speech in long sounds: fsmn-vad, {SILERO}, or a folder (default: cut at "
          "the quietest moment in every 30 s)"),
    *(
        Param(name=f"{VAD}{name}", kind=kind, help=text)
        for name, (kind, text) in (BOTH_VADS | FSMN_VAD | SILERO_VAD).items()
    ),
    Param(name="hub", help="where a vad_model comes from that is not on this machine: ms is ModelScope, hf Hugging "
          "Face (default: the one that answers)", choices=("ms", "hf")),
    Param(name="device", help="where it runs: cpu, cuda:0, ... (default: a GPU when the worker has one)"),
    Param(name="ncpu", help="CPU threads (default: the worker's CPUs)", kind="int"),
    Param(name="batch_size_s", help="seconds of sound at once on a GPU", kind="int", default=300),
    Param(name="merge_vad", help="join short stretches of speech, which the model hears better", kind="bool",
          default=False),
    Param(name="merge_length_s", help="for merge_vad: longest joined stretch, in seconds", kind="float", default=15.0),
    Param(name="ban_emo_unk", help="always name an emotion", kind="bool", default=False),
    Param(name="trust_remote_code", help="run the model's own code and let FunASR pip-install what it asks for",
          kind="bool", default=False),
    Param(name="remote_code", help="for trust_remote_code: the file with that code (default: model.py in the folder)"),
    *OPTIONS,
)  # fmt: skip

_IGNORED = frozenset({"model", "stream", "user", "response_format", "include", "chunking_strategy", "extra_headers"})
"""Options of OpenAI's that say nothing of how to listen here."""
_NAMES = {"chinese": "zh", "mandarin": "zh", "english": "en", "cantonese": "yue", "japanese": "ja", "korean": "ko"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """How one sound is to be written down."""

    language: str
    use_itn: bool
    tags: str


def asked(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> Ask:
    """Return what a request asks for, where the deployment's settings stand in for what it does not say.

    Raises:
        BadRequest: an option is unknown (the nearest is named) or has a wrong value.
    """
    found = {param.name: defaults.get(param.name, param.default) for param in OPTIONS}
    by_name = {param.name: param for param in OPTIONS}
    for name, value in {**options, **(options.get("extra_body") or {})}.items():
        if value is None or name in _IGNORED or name == "extra_body":
            continue
        if name not in by_name:
            hint = suggest(name, by_name, f"It takes: {', '.join(by_name)}.")
            raise BadRequest(f"SenseVoice has no option {name!r}.", hint)
        found[name] = _typed(by_name[name], value)
    return Ask(**found)


def _typed(param: Param, value: Any) -> Any:
    text = str(value)
    if param.name == "language":
        low = text.strip().strip("<|>").lower()
        text = _NAMES.get(low, low if low in param.choices else low.replace("_", "-").partition("-")[0])
    try:
        return convert(param, text)
    except BadParameter as err:
        raise BadRequest(err.message, f"It is the {param.help}.") from err


def check(params: Mapping[str, Any]) -> None:
    """Check what `Param` cannot: settings that need each other, and numbers that cannot be.

    Raises:
        BadParameter: a setting means nothing as it stands.
    """
    vad = {name.removeprefix(VAD) for name in params if name.startswith(VAD)}
    if vad and "vad_model" not in params:
        raise BadParameter(f"{VAD}{min(vad)} means nothing without vad_model.", "Add vad_model=fsmn-vad.")
    wrong = FSMN_VAD if params.get("vad_model") in (SILERO, "silero_vad") else SILERO_VAD
    for name in sorted(vad & wrong.keys()):
        raise BadParameter(f"{VAD}{name} is not for vad_model={params['vad_model']}.", "Leave it out.")
    if params.get("merge_vad") and "vad_model" not in params:
        raise BadParameter("merge_vad means nothing without vad_model.", "Add vad_model=fsmn-vad.")
    if "remote_code" in params and not params.get("trust_remote_code"):
        raise BadParameter("remote_code means nothing without trust_remote_code.", "Add trust_remote_code=true.")
    for name in ("ncpu", "batch_size_s", "merge_length_s", f"{VAD}max_single_segment_time"):
        if params.get(name, 1) <= 0:
            raise BadParameter(f"{name} is {params[name]}, which cannot be.", "Give a number above 0.")


def vad_arguments(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the detector's settings under their own names."""
    return {name.removeprefix(VAD): value for name, value in params.items() if name.startswith(VAD)}
