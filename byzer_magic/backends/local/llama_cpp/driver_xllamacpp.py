"""xllamacpp, llama.cpp's server inside the process: https://github.com/xorbitsai/xllamacpp."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import secrets
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from byzer_magic.backends.engine import loading
from byzer_magic.backends.engine.threads import Emit
from byzer_magic.backends.local.llama_cpp.driver import Driver, Load, prompt_too_long, text_too_long
from byzer_magic.errors import BadParameter, BadRequest, ByzerError, EngineFailed, ProviderError, suggest
from byzer_magic.i18n import lazy_gettext as _


class XLlamaCpp(Driver):
    """A `Server`; `parallel` answers are decoded together.

    The server also listens on a loopback port, which cannot be disabled: a random key, known to no client,
    protects it.
    """

    def __init__(self, load: Load) -> None:
        import xllamacpp

        self.parallel = load.parallel
        self.finds_calls = self.shows_tools = load.tools
        params = xllamacpp.CommonParams()
        params.model.path = str(load.path)
        params.api_keys = [secrets.token_hex(16)]
        params.n_parallel = load.parallel
        params.use_jinja = True
        params.warmup = False
        params.fit_params = False  # the settings are the user's: never adjust them
        params.ui = False
        params.cache_ram_mib = 0  # its prompt cache may take 8 GiB otherwise
        params.verbosity = 3 if load.settings.get("verbose") else 1  # errors only
        if load.mmproj:
            params.mmproj.path = str(load.mmproj)
        apply(xllamacpp, params, load.settings)
        params.n_ctx *= load.parallel  # the server divides its context among the slots
        params.endpoint_metrics = True
        with _captured_stderr() as output:
            try:
                self._server: Any = xllamacpp.Server(params)
            except (ValueError, RuntimeError) as err:
                raise EngineFailed(_log_of_failed_start(output) or str(err)) from err
        self._server.handle_metrics()  # answered by its loop: one that is stopped before it runs never ends

    def generate(self, body: dict[str, Any], emit: Emit, stopped: threading.Event) -> None:
        """Generate; the callback's return value stops it, at the next token or the next batch of the prompt."""

        def take(chunk: dict[str, Any]) -> bool:
            if not stopped.is_set():
                emit(chunk)
            return stopped.is_set()

        try:
            self._server.handle_chat_completions({**_request(body), **_STREAM}, take)
        except (ValueError, RuntimeError) as err:
            raise BadRequest(
                _("llama.cpp rejected the request: {err}", err=err), _("Change the request accordingly.")
            ) from err

    def embeddings(self, texts: Sequence[str]) -> tuple[list[Any], int]:
        """Return the embedding of each text."""
        import numpy as np

        body = {"input": list(texts), "embd_normalize": -1, "encoding_format": "base64"}
        answer = _checked(self._server.handle_embeddings(body))
        rows = [np.frombuffer(base64.b64decode(row["embedding"]), dtype="<f4") for row in answer["data"]]
        return rows, answer["usage"]["prompt_tokens"]

    def scores(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """Return the score of each document."""
        answer = _checked(self._server.handle_rerank({"query": query, "documents": list(documents)}))
        scores = {row["index"]: row["relevance_score"] for row in answer["results"]}
        return [scores[index] for index in range(len(documents))], answer["usage"]["prompt_tokens"]

    def close(self) -> None:
        """Stop the server and free the model (both happen when the object is deleted)."""
        self._server = None


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Return a function that returns what was written to stderr: redirected to a file, unless it is one already."""
    if stat.S_ISREG(os.fstat(2).st_mode):
        with loading.captured_output() as output:
            yield output
        return
    with tempfile.TemporaryFile() as file:

        def written() -> str:
            return os.pread(file.fileno(), MOST_LOG_BYTES, 0).decode(errors="replace")

        before = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield written
        finally:
            os.dup2(before, 2)
            os.close(before)
            sys.stderr.write(written())


def _log_of_failed_start(output: Callable[[], str]) -> str:
    """Return llama.cpp's log of a failed start; a separate thread writes it a little later."""
    for _look in range(LOG_LOOKS):
        if "exiting due to" in output():
            break
        time.sleep(LOG_SECONDS)
    return output()


LOG_LOOKS, LOG_SECONDS = 20, 0.02
MOST_LOG_BYTES = 100_000
_STREAM = {"stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
"""Progress comes with each batch of the prompt: the only points where prompt processing can be stopped."""
_NAMES = {"mirostat_mode": "mirostat"}
_OPTIONS = (
    "messages tools tool_choice parallel_tool_calls temperature top_p top_k min_p typical_p top_n_sigma max_tokens "
    "n_predict n_keep stop seed logprobs top_logprobs logit_bias frequency_penalty presence_penalty repeat_penalty "
    "repeat_last_n dry_multiplier dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers "
    "xtc_probability xtc_threshold dynatemp_range dynatemp_exponent mirostat mirostat_tau mirostat_eta samplers "
    "min_keep n_probs ignore_eos cache_prompt timings_per_token n user grammar schema lora chat_template_kwargs "
    "add_generation_prompt continue_final_message reasoning_effort reasoning_format reasoning_budget_tokens "
    "thinking_budget_tokens adaptive_target adaptive_decay n_indent t_max_predict_ms return_tokens "
    "post_sampling_probs stream stream_options"
)
OPTIONS = frozenset(_OPTIONS.split())
"""Fields of llama.cpp's chat completion requests; its server ignores others.

https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""


def _request(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body with the server's names.

    Raises:
        BadRequest: an option is unknown.
    """
    found = {_NAMES.get(name, name): value for name, value in body.items()}
    for name in found:
        if name not in OPTIONS:
            raise BadRequest(
                _("llama.cpp has no option {name!r}.", name=name), suggest(name, OPTIONS, _("Leave it out."))
            )
    if "schema" in found:
        schema = found.pop("schema")
        found["response_format"] = {"type": "json_object", **({"schema": schema} if schema else {})}
    return found


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer, or raise it as our error.

    Raises:
        ContextTooLong: a text does not fit.
        ProviderError: llama.cpp failed.
    """
    if "error" in answer:
        raise refusal(answer["error"])
    return answer


def refusal(error: Mapping[str, Any]) -> ByzerError:
    """Return the server's error as ours."""
    if error.get("type") == "exceed_context_size_error":
        return prompt_too_long(error["n_prompt_tokens"], error["n_ctx"])
    text = str(error.get("message", error))
    numbers = re.search(r"input \((\d+) tokens\) is too large.{0,200}batch size: (\d+)", text)
    if numbers:
        return text_too_long(int(numbers[1]), int(numbers[2]))
    if "parse grammar" in text:
        return BadRequest(_("The grammar cannot be parsed."), _("Use GBNF with a rule named root; see %byzer logs."))
    kind = BadRequest if error.get("code") == 400 else ProviderError
    return kind(_("{engine} failed: {text}", engine="llama.cpp", text=text), _("Change the request accordingly."))


_SAME = (
    *("n_ctx", "n_batch", "n_ubatch", "n_gpu_layers", "main_gpu", "embedding", "swa_full", "no_perf"),
    *("rope_freq_base", "rope_freq_scale"),
    *("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_orig_ctx"),
)
"""Settings with the same name in xllamacpp."""
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
SETTINGS = frozenset((*_SAME, *_ENUMS, *_REVERSED, *_OTHERS))
"""The parameters of `llama_cpp.Llama` that xllamacpp supports."""


def apply(module: Any, params: Any, settings: Mapping[str, Any]) -> None:
    """Set llama-cpp-python's settings on xllamacpp's parameters.

    Raises:
        BadParameter: xllamacpp has no such parameter.
    """
    for name, value in settings.items():
        try:
            _apply_one(module, params, name, value)
        except (ValueError, TypeError, OverflowError) as err:
            raise BadParameter(
                _(
                    "{name} is {dumps}, which xllamacpp does not accept: {err}",
                    name=name,
                    dumps=json.dumps(value),
                    err=err,
                )
            ) from err
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
        raise missing(name)


def missing(name: str) -> BadParameter:
    """Return the error for a parameter that only llama-cpp-python has."""
    return BadParameter(
        _("xllamacpp has no parameter {name}.", name=name), _("Add driver=llama-cpp-python, or leave it out.")
    )


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
