"""Which names `byzerllm` and its modules have here, and why the others are left out: data."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from byzer_magic.errors import ByzerError
from byzer_magic.i18n import Text, lazy_gettext as _

_HERE = "byzer_magic.compat."
_LLM = {"ByzerLLM": "llm:ByzerLLM", "SimpleByzerLLM": "llm:SimpleByzerLLM"}
_RESPONSES = {
    name: f"responses:{name}"
    for name in (
        "EventCallback", "EventCallbackResult", "EventName", "InferBackend", "LLMClassResponse",
        "LLMFunctionCallResponse", "LLMHistoryItem", "LLMMetadata", "LLMRequest", "LLMResponse", "Role", "Template",
        "Templates",
    )
}  # fmt: skip
_TAGS = {name: f"tags:{name}" for name in ("Audio", "Image", "Tag", "TagExtractor")}
_META = {name: f"responses:{name}" for name in ("SingleOutput", "SingleOutputMeta", "StreamOutputs")}
_CODE = {name: f"texts:{name}" for name in ("extract_code", "get_target_codes", "get_value_from_llm_str", "infer_lang")}
_JINJA = {"format_prompt_jinja2": "texts:format_prompt_jinja2", "format_str_jinja2": "texts:format_str_jinja2"}
_PAIRS = {"QAPair": "qa_pairs:QAPair", "to_qa_pairs": "qa_pairs:to_qa_pairs"}

MODULES: dict[str, dict[str, str]] = {
    "byzerllm": {
        **_LLM,
        "Image": "tags:Image",
        "MetaHolder": "prompts:MetaHolder",
        "MetaOutput": "prompts:MetaOutput",
        "connect_cluster": "functions:connect_cluster",
        "get_llm_names": "functions:get_llm_names",
        "get_model_info": "functions:get_model_info",
        "get_single_llm": "functions:get_single_llm",
        "prompt": "prompts:prompt",
        **_JINJA,
    },
    "byzerllm.types": {
        "Audio": "tags:Audio",
        "Image": "tags:Image",
        **{name: f"values:{name}" for name in ("AudioPath", "Bool", "Float", "ImagePath", "Int")},
    },
    "byzerllm.version": {"__version__": "functions:VERSION"},
    "byzerllm.log": {"init_logger": "functions:init_logger"},
    "byzerllm.utils": {
        **_JINJA,
        **_META,
        "random_uuid": "texts:random_uuid",
        "serialize_function_to_json": "texts:serialize_function_to_json",
    },
    "byzerllm.utils.types": _META,
    "byzerllm.utils.nontext": _TAGS,
    "byzerllm.utils.str2model": {"to_model": "texts:to_model"},
    "byzerllm.utils.langutil": {"asyncfy_with_semaphore": "functions:asyncfy_with_semaphore"},
    "byzerllm.utils.connect_ray": {"connect_cluster": "functions:connect_cluster"},
    "byzerllm.utils.llms": {"get_llm_names": "functions:get_llm_names", "get_single_llm": "functions:get_single_llm"},
    "byzerllm.utils.client": {**_LLM, **_RESPONSES},
    "byzerllm.utils.client.types": _RESPONSES,
    "byzerllm.utils.client.code_utils": _CODE,
    "byzerllm.utils.client.byzerllm_client": _LLM,
    "byzerllm.utils.client.simple_byzerllm_client": _LLM,
    "byzerllm.apps.utils": _TAGS,
    "byzerllm.apps.byzer_storage.generate_sft_data": _PAIRS,
    "byzerllm.apps.byzer_storage.train_sft": _PAIRS,
    "byzerllm.apps.byzer_storage.memory_model_based": {
        "MemoryManager": "qa_pairs:MemoryManager",
        "Tag": "tags:Tag",
        "TagExtractor": "tags:TagExtractor",
    },
}
"""The names of each module, and where they are in `byzer_magic.compat`."""

PACKAGES = {name.rpartition(".")[0] for name in MODULES if "." in name} | {
    "byzerllm.apps", "byzerllm.apps.byzer_storage",
}  # fmt: skip
"""Modules with modules in them."""

_STORAGE = _("is Byzer Storage, a search engine in Java")
_STORAGE_HINT = _(
    'Keep vectors in a library such as LanceDB, Chroma or FAISS; bz.model("ALIAS").embed(texts) makes them.'
)
_TRAINING = _("trains models, and byzer-magic only runs them")
_TRAINING_HINT = _("Train with LLaMA-Factory, TRL or ms-swift, and deploy the result with --model_path.")
_AGENTS = _("is byzer-llm's agent framework, which its documents no longer use")
_AGENTS_HINT = _(
    "Pass Python functions to bz.model(ALIAS).chat(..., tools=[...]), or point an agent framework at the command serve."
)
_SERVER = _("is the inside of byzer-llm's HTTP server")
_SERVER_HINT = _("Use the command serve.")
_SDK = _("is byzer-llm's own wrapper of a provider's SDK")
_SDK_HINT = _("Deploy the provider: saas/gemini or saas/claude.")

LEFT_OUT: tuple[tuple[str, Text, Text], ...] = (
    ("byzerllm.ByzerRetrieval", _STORAGE, _STORAGE_HINT),
    ("byzerllm.utils.retrieval", _STORAGE, _STORAGE_HINT),
    ("byzerllm.records", _STORAGE, _STORAGE_HINT),
    ("byzerllm.apps.llama_index", _STORAGE, _STORAGE_HINT),
    ("byzerllm.apps.byzer_storage.train", _TRAINING, _TRAINING_HINT),
    ("byzerllm.utils.sft", _TRAINING, _TRAINING_HINT),
    ("byzerllm.utils.fulltune", _TRAINING, _TRAINING_HINT),
    ("byzerllm.apps.byzer_storage", _STORAGE, _STORAGE_HINT),
    ("byzerllm.agent_reply", _AGENTS, _AGENTS_HINT),
    ("byzerllm.apps.agent", _AGENTS, _AGENTS_HINT),
    ("byzerllm.utils.client.entrypoints", _SERVER, _SERVER_HINT),
    ("byzerllm.utils.client.message_utils", _AGENTS, _AGENTS_HINT),
    ("byzerllm.utils.client.mgenerai", _SDK, _SDK_HINT),
    ("byzerllm.utils.client.manthropicai", _SDK, _SDK_HINT),
)
"""What is left out, by the beginning of its name: why, and what to use instead. The first row that fits is taken."""

METHODS: dict[str, tuple[Text, Text]] = {
    **dict.fromkeys(
        ("sft", "pretrain", "merge_lora", "raw_sft", "raw_pretrain", "raw_merge_lora", "raw_deepspeed_to_huggingface"),
        (_TRAINING, _TRAINING_HINT),
    ),
    **dict.fromkeys(
        ("tokenize", "apply_chat_template", "get_tokenizer"),
        (
            _("needs the tokenizer, which only the workers have"),
            _("Load it with transformers: AutoTokenizer.from_pretrained(FOLDER). Results have the counts of tokens."),
        ),
    ),
    **dict.fromkeys(
        ("get_max_model_length", "get_max_input_length", "get_max_output_length"),
        (
            _("returns a limit that is not kept here: engines and providers check it themselves"),
            _("See the model's documentation; a prompt that is too long raises ContextTooLong."),
        ),
    ),
    "abort": (
        _("ends a request by an id, which requests here do not have"),
        _("Leave the loop over the stream, or pass timeout=."),
    ),
    "apply_sql_func": (
        _("runs SQL functions of Byzer's engine"),
        _('Call bz.model("ALIAS").chat(...) for each row, or %%chat in a notebook.'),
    ),
}
"""Methods of `ByzerLLM` that are left out."""


class LeftOut(ByzerError, ModuleNotFoundError):
    """A module of byzer-llm, or another part, that has no equivalent here."""


class LeftOutName(ByzerError, AttributeError):
    """A name in a module or a class of byzer-llm that has no equivalent here; `hasattr` is False for it."""


Kind = type[LeftOut] | type[LeftOutName]


def left_out(name: str, kind: Kind = LeftOut) -> LeftOut | LeftOutName:
    """Return the error for a name that is left out.

    Example:
        >>> print(left_out("byzerllm.utils.retrieval"))
        byzerllm.utils.retrieval is left out: it is Byzer Storage, a search engine in Java.
        Keep vectors in a library such as LanceDB, Chroma or FAISS; bz.model("ALIAS").embed(texts) makes them.
    """
    if (found := reason(name)) is not None:
        return because(name, *found, kind)
    return kind(
        _("{name} is left out: byzer-magic has no equivalent of it.", name=name),
        _("docs/byzer-llm.md lists what there is. To use byzer-llm itself: pip install byzerllm"),
    )


def reason(name: str) -> tuple[Text, Text] | None:
    """Return why a name is left out, and what to use instead; None where nothing is known about it."""
    return next(((why, instead) for begin, why, instead in LEFT_OUT if name.startswith(begin)), None)


class Missing:
    """Stands for a name that is left out: it can be imported and passed on, and whatever uses it gets the reason."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"<{self._name}, which is left out>"

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Refuse to be called.

        Raises:
            LeftOut: always.
        """
        raise left_out(self._name)

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[type, ...]:
        raise left_out(self._name)

    def __getattr__(self, name: str) -> Any:
        """Refuse to be looked into.

        Raises:
            LeftOutName: for any name that is not Python's own.
        """
        if name.startswith("_"):
            raise AttributeError(name)
        raise left_out(self._name, LeftOutName)

    def __or__(self, _other: Any) -> Any:
        """Stand for a union in an annotation; this name is then all of it."""
        return self

    __ror__ = __or__

    def __getitem__(self, _item: Any) -> Any:
        """Stand for a generic type in an annotation."""
        return self

    def __instancecheck__(self, _instance: Any) -> bool:
        """Return False: nothing is of a type that is not there."""
        return False

    def __subclasscheck__(self, _subclass: type) -> bool:
        """Return False, as for objects."""
        return False


def because(name: str, why: Text, instead: Text, kind: Kind = LeftOut) -> LeftOut | LeftOutName:
    """Return the error for a name that is left out for a reason."""
    return kind(_("{name} is left out: it {why}.", name=name, why=why), instead)


def find(module: str, name: str) -> Any:
    """Return what a name of a module stands for.

    Raises:
        LeftOutName: there is no such name, and nothing is known about it.
        AttributeError: it is a private name.
    """
    if f"{module}.{name}" in MODULES or f"{module}.{name}" in PACKAGES:
        return importlib.import_module(f"{module}.{name}")
    place = MODULES.get(module, {}).get(name)
    if place is None:
        if name.startswith("_"):
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        if reason(f"{module}.{name}") is None:
            raise left_out(f"{module}.{name}", LeftOutName)
        return Missing(f"{module}.{name}")
    return pkgutil.resolve_name(_HERE + place)
