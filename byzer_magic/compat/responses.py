"""The values of byzer-llm's API: requests, responses and what is known about them."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel


@dataclass
class LLMRequest:
    """Texts to embed or to answer; the other fields are for answers, and those that are changed are sent."""

    instruction: str | list[str]
    embedding: bool = False
    max_length: int = 4096
    top_p: float = 0.95
    temperature: float = 0.1

    def settings(self) -> dict[str, Any]:
        """Return the settings of the request that differ from byzer-llm's defaults, which were never sent."""
        names = ("max_length", "top_p", "temperature")
        return {name: getattr(self, name) for name in names if getattr(self, name) != getattr(LLMRequest, name)}


@dataclass
class LLMHistoryItem:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass
class LLMResponse:
    """One response."""

    output: Any
    """The text; of other capabilities what byzer-llm returns: base64 media, JSON, an embedding."""
    input: Any
    """The last message as `instruction`, those before as `history`."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """`input_tokens_count`, `generated_tokens_count`, `finish_reason`, `reasoning_content`, ..."""


class LLMFunctionCallResponse(BaseModel):
    """The response of a model that may call functions, and what they returned."""

    response: LLMResponse
    values: list[Any]
    metadata: dict[str, Any]


class LLMClassResponse(BaseModel):
    """A response as a value of a type; None where it is not one, and `metadata["reason"]` says why."""

    response: LLMResponse
    value: Any
    metadata: dict[str, Any]


@dataclass
class LLMMetadata:
    """What is known about a model."""

    context_window: int = 8192
    """Tokens."""
    num_output: int = 256
    """Tokens of one response."""
    is_chat_model: bool = False
    is_function_calling_model: bool = False
    model_name: str = "unknown"


@dataclass
class SingleOutputMeta:
    """What is known about a response, or about a piece of one."""

    input_tokens_count: int = 0
    generated_tokens_count: int = 0
    reasoning_content: str = ""
    finish_reason: str = ""
    first_token_time: float = 0.0
    """Seconds."""
    extra_info: dict[str, Any] = field(default_factory=dict)


@dataclass
class SingleOutput:
    """One text with its metadata."""

    text: Any
    metadata: SingleOutputMeta = field(default_factory=SingleOutputMeta)


@dataclass
class StreamOutputs:
    """Outputs of a stream."""

    outputs: list[SingleOutput]


class Role:
    """The roles of messages."""

    User = "user"
    Assistant = "assistant"
    System = "system"


class InferBackend:
    """Values of `setup_infer_backend`."""

    Transformers = transformers = "transformers"  # documents have both
    VLLM = "ray/vllm"
    LLAMA_CPP = "llama_cpp"
    DeepSpeed = "ray/deepspeed"


class EventName(enum.Enum):
    """Moments at which a client calls what `add_event_callback` has added."""

    BEFORE_CALL_MODEL = "before_call_model"
    AFTER_CALL_MODEL = "after_call_model"


EventCallbackResult = tuple[bool, Any | None]
"""Whether to go on, and what to return otherwise."""
EventCallback = Callable[..., EventCallbackResult]


@dataclass(frozen=True)
class Template:
    """A chat template by name; it has no effect, since engines use the template in the model's files."""

    name: str = ""


class Templates:
    """Chat templates of byzer-llm, for `setup_template`, which accepts and ignores them."""


for _name in (
    "qwen", "llama", "yi", "default", "empty", "deepseek_code_chat", "deepseek_code_insertion",
    "deepseek_code_completion",
):  # fmt: skip
    setattr(Templates, _name, functools.partial(Template, _name))
