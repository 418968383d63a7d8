"""Names of byzer-llm's commands, types and parameters that are others here, or gone: which they are now, or why.

Pasted commands have them. One that means the same is taken under its new name; the others get the truth in place of the
name that happens to be nearest.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from byzer_magic.i18n import Text, lazy_gettext as _

ENGINES = {"ray/vllm": "vllm", "ray/deepspeed": "deepspeed"}
"""Values of --infer_backend."""

TYPES = {
    **dict.fromkeys(
        (
            "custom/alpha_moss", "custom/baichuan", "custom/baichuan2", "custom/chatglm2", "custom/falcon",
            "custom/llama", "custom/llama2", "custom/qwen", "custom/starcode", "custom/zephyr",
        ),
        "custom/auto",  # one engine loads all families of language models
    ),
    "custom/m3e": "custom/bge",  # m3e is a sentence-transformers model
    "saas/chatglm": "saas/zhipu",
}  # fmt: skip
"""Values of --pretrained_model_type that have another name here."""

_Answer = tuple[Text, Text]
"""What happened, and the next step."""

GONE_COMMANDS: dict[str, _Answer] = {
    "storage": (
        _("The command storage is left out: it is Byzer Storage, a search engine in Java."),
        _("Keep vectors in a library such as LanceDB, Chroma or FAISS; a model with the capability embed makes them."),
    ),
}
_VISION = _("Deploy a current vision model with --infer_backend vllm, or an API such as saas/qianwen_vl.")
GONE_TYPES: dict[str, _Answer] = {
    "custom/qwen_vl_chat": (
        _("custom/qwen_vl_chat loads Qwen-VL-Chat with code of its own, which is left out."),
        _VISION,
    ),
    "custom/visualglm": (_("custom/visualglm loads VisualGLM with code of its own, which is left out."), _VISION),
    "custom/qwen_voice": (
        _("custom/qwen_voice loads Qwen2-Audio with code of its own, which is left out."),
        _("Transcribe with custom/whisper or custom/sensevoice, or deploy an API whose model takes audio."),
    ),
    "custom/stable_diffusion": (
        _("custom/stable_diffusion is left out: no engine here generates images."),
        _("Use an API that does, such as saas/openai with gpt-image-1."),
    ),
    "custom/tokenizer": (
        _("custom/tokenizer is left out: a deployment does not hand out tokens."),
        _("Load the tokenizer where you need it: transformers.AutoTokenizer.from_pretrained(FOLDER)."),
    ),
    "saas/filelogger": (
        _("saas/filelogger is byzer-llm's stand-in for a model, which writes prompts into a file."),
        _("Deploy a small local model instead, such as --model_path model.gguf."),
    ),
    "saas/pangu": (
        _("saas/pangu signs requests in a way of Huawei Cloud's own, which is left out."),
        _("Where Huawei Cloud offers your model by the OpenAI API, use saas/openai with its saas.base_url."),
    ),
}
"""Values of --pretrained_model_type that are left out."""

IGNORED = frozenset({"saas.is_reasoning", "saas.debug"})
"""Parameters of APIs that are taken and change nothing: reasoning is recognised where it arrives."""

_OLD_API = _("Leave it out: only the provider's old API needed it. {key} alone identifies you.", key="saas.api_key")
GONE_PARAMETERS: tuple[tuple[str, str, Text], ...] = (
    ("saas/qianfan", "saas.secret_key", _OLD_API),
    ("saas/qianfan", "saas.access_token", _OLD_API),
    ("saas/minimax", "saas.group_id", _OLD_API),
    ("saas/sparkdesk", "saas.appid", _OLD_API),
    ("saas/sparkdesk", "saas.app_id", _OLD_API),
    ("saas/sparkdesk", "saas.api_secret", _OLD_API),
    ("saas/sparkdesk", "saas.gpt_url", _("Leave it out: only the provider's old API needed it.")),
    (
        "saas/sparkdesk",
        "saas.domain",
        _("Leave it out: only the provider's old API needed it; saas.model names the model."),
    ),
    ("saas/baichuan", "saas.baichuan_api_url", _("Leave it out, or set saas.base_url.")),
    ("saas/minimax", "saas.api_url", _("Leave it out, or set saas.base_url.")),
    ("saas/*", "saas.api_type", _("Leave it out; for Azure, use --pretrained_model_type saas/azure_openai.")),
    ("saas/*", "saas.api_version", _("Leave it out; for Azure, use --pretrained_model_type saas/azure_openai.")),
    ("saas/*", "saas.azure_*", _("For Azure, use --pretrained_model_type saas/azure_openai.")),
    (
        "saas/*",
        "saas.local_address",
        _("Leave it out: the system chooses the address that requests come from. A proxy is set with saas.proxy."),
    ),
)
"""Types, by a shell pattern; a parameter that they do not have; what to do instead; the first row that fits counts."""


def parameter(kind: str, name: str) -> Text | None:
    """Return what to do instead of a parameter that a type does not have; None where nothing is known about it.

    Example:
        >>> str(parameter("saas/minimax", "saas.group_id"))
        "Leave it out: only the provider's old API needed it. saas.api_key alone identifies you."
    """
    rows = (hint for types, gone, hint in GONE_PARAMETERS if fnmatchcase(kind, types) and fnmatchcase(name, gone))
    return next(rows, None)
