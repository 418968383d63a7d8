"""Two ways to llama.cpp, behind one face: llama-cpp-python (a `Llama`) and xllamacpp (a `Server`).

Both block while they work, with the GIL released, so the backend runs them in threads; both emit the chunks of
OpenAI's chat completion stream as dicts.
"""

from __future__ import annotations

import ctypes
import difflib
import inspect
import json
import re
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byzer_magic.backends.weights.blocking import Emit
from byzer_magic.errors import BadParameter, BadRequest, ContextTooLong


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a driver loads."""

    path: Path
    settings: Mapping[str, Any]
    """Constructor parameters by llama-cpp-python's names, only those that are set."""
    parallel: int


class Driver(ABC):
    """A loaded model."""

    parallel: int = 1
    """Answers that it can make at the same time."""

    @abstractmethod
    def generate(self, body: dict[str, Any], emit: Emit, stopped: threading.Event) -> None:
        """Answer an OpenAI request body chunk by chunk; return soon after `stopped` is set.

        Raises:
            BadRequest: the request cannot be answered.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model's memory."""


def context_too_long(prompt: int, context: int) -> ContextTooLong:
    """Return the error for a prompt that does not fit."""
    return ContextTooLong(
        f"The prompt has {prompt} tokens, but the context holds {context}.",
        "Shorten the conversation, or deploy with a larger n_ctx.",
        prompt_tokens=prompt,
        n_ctx=context,
    )


class _Stopped(Exception):
    """Leaves `Llama.eval` between two batches of a prompt."""


class LlamaCppPython(Driver):
    """llama-cpp-python: one answer at a time.

    Its streams carry no usage, so tokens are counted where they are made: `Llama.sample` runs once for each
    generated token (the end token included, as llama.cpp's own server counts), and when it runs first,
    `n_tokens` is the length of the prompt.
    """

    def __init__(self, load: Load) -> None:
        import llama_cpp

        self._llama: Any = llama_cpp.Llama(str(load.path), **load.settings)
        self._grammar = llama_cpp.LlamaGrammar
        self._known = frozenset(inspect.signature(llama_cpp.Llama.create_chat_completion).parameters)
        self._eval = self._llama.eval
        self._sample = self._llama.sample
        self._stopped = threading.Event()
        self._made = self._prompt = 0
        self._llama.eval = self._eval_by_batches
        self._llama.sample = self._counted_sample

    def _eval_by_batches(self, tokens: Any) -> None:
        tokens = list(tokens)
        for start in range(0, len(tokens), self._llama.n_batch):
            if self._stopped.is_set():
                raise _Stopped
            self._eval(tokens[start : start + self._llama.n_batch])

    def _counted_sample(self, *args: Any, **kwargs: Any) -> Any:
        self._prompt = self._prompt or self._llama.n_tokens
        self._made += 1
        return self._sample(*args, **kwargs)

    def generate(self, body: dict[str, Any], emit: Emit, stopped: threading.Event) -> None:
        """Answer; between two tokens, and between two batches of the prompt, it looks whether to stop."""
        self._stopped = stopped
        self._made = self._prompt = 0
        try:
            for chunk in self._chunks(self._arguments(body)):
                if stopped.is_set():
                    return
                emit(chunk)
        except _Stopped:
            return
        except (ValueError, TypeError, LookupError, AttributeError, ctypes.ArgumentError) as err:
            raise self._refusal(err) from err
        emit({"choices": [], "usage": {"prompt_tokens": self._prompt, "completion_tokens": self._made}})

    def _chunks(self, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
        answer = self._llama.create_chat_completion(**arguments, stream=True)
        try:
            yield from answer
        finally:
            answer.close()  # ends the generation inside, so that the model is ready for the next one

    def _arguments(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a body as arguments of `create_chat_completion`; fields without a meaning here are left out."""
        found = {name: value for name, value in body.items() if name not in ("stream", "stream_options", "user", "n")}
        for name in found:
            if name not in self._known:
                near = difflib.get_close_matches(name, self._known, n=1)
                hint = f"Did you mean {near[0]}?" if near else "Leave it out, or deploy with driver=xllamacpp."
                raise BadRequest(f"llama-cpp-python has no option {name!r}.", hint)
        if isinstance(found.get("grammar"), str):
            found["grammar"] = self._grammar.from_string(found["grammar"], verbose=False)
        return found

    def _refusal(self, err: Exception) -> BadRequest:
        numbers = re.search(r"Requested tokens \((\d+)\) exceed context window of (\d+)", str(err))
        if numbers:
            return context_too_long(int(numbers[1]), int(numbers[2]))
        return BadRequest(f"llama-cpp-python did not accept the request: {err}", "Change what the message names.")

    def close(self) -> None:
        """Free model and context."""
        del self._llama.eval, self._llama.sample
        self._llama.close()


class XLlamaCpp(Driver):
    """xllamacpp: llama.cpp's server inside the process; `parallel` answers are decoded together.

    The server also listens on a loopback port, which cannot be switched off: a random key that nobody is told
    locks it.
    """

    def __init__(self, load: Load) -> None:
        import xllamacpp

        self.parallel = load.parallel
        params = xllamacpp.CommonParams()
        params.model.path = str(load.path)
        params.api_keys = [secrets.token_hex(16)]
        params.n_parallel = load.parallel
        params.use_jinja = True
        params.warmup = False
        params.fit_params = False  # the settings are the user's: never adjusted in silence
        params.ui = False
        params.cache_ram_mib = 0  # its prompt cache may take 8 GiB otherwise
        params.verbosity = 3 if load.settings.get("verbose") else -1
        apply(xllamacpp, params, load.settings)
        params.n_ctx *= load.parallel  # the server divides its context among the slots
        self._server: Any = xllamacpp.Server(params)

    def generate(self, body: dict[str, Any], emit: Emit, stopped: threading.Event) -> None:
        """Answer; the callback's return value stops it, at the next token or the next batch of the prompt."""

        def take(chunk: dict[str, Any]) -> bool:
            if not stopped.is_set():
                emit(chunk)
            return stopped.is_set()

        renamed = {_XLLAMACPP_NAMES.get(name, name): value for name, value in body.items()}
        try:
            self._server.handle_chat_completions({**renamed, **_STREAM}, take)
        except (ValueError, RuntimeError) as err:
            raise BadRequest(f"llama.cpp did not accept the request: {err}", "Change what the message names.") from err

    def close(self) -> None:
        """Stop the server and free the model (both happen when the object goes)."""
        self._server = None


_STREAM = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
"""Progress comes with each batch of the prompt: the only moments at which reading it can be stopped."""
_XLLAMACPP_NAMES = {"mirostat_mode": "mirostat"}
_SAME = (
    *("n_ctx", "n_batch", "n_ubatch", "n_gpu_layers", "main_gpu", "embedding", "swa_full", "no_perf"),
    *("rope_freq_base", "rope_freq_scale"),
    *("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_orig_ctx"),
)
"""Settings that xllamacpp has under the same name."""
_ENUMS = {
    "split_mode": ("split_mode", "llama_split_mode"),
    "rope_scaling_type": ("rope_scaling_type", "llama_rope_scaling_type"),
    "pooling_type": ("pooling_type", "llama_pooling_type"),
    "attention_type": ("attention_type", "llama_attention_type"),
    "type_k": ("cache_type_k", "ggml_type"),
    "type_v": ("cache_type_v", "ggml_type"),
    "flash_attn": ("flash_attn_type", "llama_flash_attn_type"),
    "numa": ("numa", "ggml_numa_strategy"),
}
"""Settings that are numbers in llama-cpp-python and enums in xllamacpp."""
_REVERSED = {"offload_kqv": "no_kv_offload", "op_offload": "no_op_offload"}
_OTHERS = (
    *("seed", "n_threads", "n_threads_batch", "tensor_split", "use_mmap", "use_mlock"),
    *("lora_path", "lora_scale", "last_n_tokens_size", "verbose"),
)
XLLAMACPP_SETTINGS = frozenset((*_SAME, *_ENUMS, *_REVERSED, *_OTHERS))


def apply(module: Any, params: Any, settings: Mapping[str, Any]) -> None:
    """Set llama-cpp-python's settings on xllamacpp's parameters.

    Raises:
        BadParameter: xllamacpp has nothing of the kind.
    """
    for name, value in settings.items():
        try:
            _apply_one(module, params, name, value)
        except (ValueError, TypeError, OverflowError) as err:
            raise BadParameter(f"{name} is {json.dumps(value)}, which xllamacpp does not accept: {err}") from err
    _apply_loading(module, params, settings)
    if "lora_path" in settings:
        params.lora_adapters = [_lora(module, settings)]


def _apply_one(module: Any, params: Any, name: str, value: Any) -> None:
    if name in _SAME:
        setattr(params, name, value)
    elif name in _ENUMS:
        field, enum = _ENUMS[name]
        setattr(params, field, getattr(module, enum)(int(value)))
    elif name in _REVERSED:
        setattr(params, _REVERSED[name], not value)
    elif name == "seed":
        params.sampling.seed = value
    elif name == "n_threads":
        params.cpuparams.n_threads = value
    elif name == "n_threads_batch":
        params.cpuparams_batch.n_threads = value
    elif name == "last_n_tokens_size":
        params.sampling.penalty_last_n = value
    elif name == "tensor_split":
        params.tensor_split = [*value, *([0.0] * (len(params.tensor_split) - len(value)))]
    elif name not in _OTHERS:
        raise BadParameter(f"xllamacpp has no {name}.", "Add driver=llama-cpp-python, or leave it out.")


def _apply_loading(module: Any, params: Any, settings: Mapping[str, Any]) -> None:
    """Set how the file is read; llama-cpp-python's two switches are one here (mmap 1, mlock 2)."""
    if "use_mmap" in settings or "use_mlock" in settings:
        mode = int(settings.get("use_mmap", True)) + 2 * int(settings.get("use_mlock", False))
        params.load_mode = module.llama_load_mode(mode)


def _lora(module: Any, settings: Mapping[str, Any]) -> Any:
    adapter = module.CommonAdapterLoraInfo()
    adapter.path = settings["lora_path"]
    adapter.scale = settings.get("lora_scale", 1.0)
    return adapter
