"""llama-cpp-python, one answer at a time: https://llama-cpp-python.readthedocs.io."""

from __future__ import annotations

import codecs
import ctypes
import importlib.util
import inspect
import json
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from byzer_magic.backends.engine import loading
from byzer_magic.backends.engine.threads import Emit
from byzer_magic.backends.local.llama_cpp.driver import Driver, Load, prompt_too_long, text_too_long
from byzer_magic.errors import BadParameter, BadRequest, EngineFailed, suggest
from byzer_magic.i18n import lazy_gettext as _, listed

_REFUSALS = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError, ctypes.ArgumentError)
_NO_MEANING = ("stream", "stream_options", "user", "n", "parallel_tool_calls")
"""Fields of a request that are left out: they concern the transport, or request the default."""


_ERROR = 4
"""The level of errors in llama.cpp's log."""


class _Stopped(Exception):
    """Leaves `Llama.eval` between two batches of a prompt."""


def has_vision() -> bool:
    """Return whether the installed package was compiled with libmtmd, which images need."""
    found = importlib.util.find_spec("llama_cpp")
    folders = (found and found.submodule_search_locations) or []
    return any(any(Path(folder, "lib").glob("*mtmd*")) for folder in folders)


class LlamaCppPython(Driver):
    """A `Llama`.

    Its streams carry no usage, so tokens are counted where they are made: `Llama.sample` runs once for each
    generated token (the end token included, as llama.cpp's own server counts), and when it runs first,
    `n_tokens` is the length of the prompt.
    """

    def __init__(self, load: Load) -> None:
        import llama_cpp

        self._module: Any = llama_cpp
        _check_format(load.settings.get("chat_format"))
        vision = _vision_handler(load.mmproj) if load.mmproj else None
        self._llama: Any = _loaded(llama_cpp, load, vision)
        self._known = frozenset(inspect.signature(llama_cpp.Llama.create_chat_completion).parameters)
        self._longest = min(self._llama.n_batch, load.longest or self._llama.n_batch)
        own_template = vision is not None or str(self._llama.chat_format).startswith("chat_template")
        self.shows_tools = load.tools and own_template
        self._eval = self._llama.eval
        self._sample = self._llama.sample
        self._detokenize = self._llama.detokenize
        self._stopped = threading.Event()
        self._made = self._prompt = 0
        self._llama.eval = self._eval_by_batches
        self._llama.sample = self._counted_sample
        self._llama.detokenize = self._repaired

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

    def _repaired(self, tokens: Sequence[int], *args: Any, **kwargs: Any) -> bytes:
        """Return the bytes of tokens, with U+FFFD for bytes that are not valid UTF-8, as in any provider's answer.

        The package sends nothing until what it has not sent yet is UTF-8. After bytes that never are, that would be the
        end of the answer, and each token would take longer than the one before: half a minute for 500 of them.
        """
        data: bytes = self._detokenize(tokens, *args, **kwargs)
        return repaired(data) if len(tokens) > 1 else data  # one token may be part of a character

    def generate(self, body: dict[str, Any], emit: Emit, stopped: threading.Event) -> None:
        """Generate; between two tokens, and between two batches of the prompt, it checks whether to stop."""
        self._stopped = stopped
        self._made = self._prompt = 0
        try:
            for chunk in self._chunks(self._arguments(body)):
                if stopped.is_set():
                    return
                emit(chunk)
        except _Stopped:
            return
        except _REFUSALS as err:
            raise self._refusal(err) from err
        emit({"choices": [], "usage": {"prompt_tokens": self._prompt, "completion_tokens": self._made}})

    def _chunks(self, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
        answer = self._llama.create_chat_completion(**arguments, stream=True)
        try:
            yield from answer
        finally:
            answer.close()  # ends the generation inside, so that the model is ready for the next one

    def _arguments(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a body as arguments of `create_chat_completion`; fields without an effect here are left out."""
        found = {name: value for name, value in body.items() if name not in _NO_MEANING}
        grammar = self._grammar(found.pop("grammar", None), found.pop("schema", None))
        for name in found:
            if name not in self._known:
                hint = suggest(name, self._known, _("Leave it out, or deploy with driver=xllamacpp."))
                raise BadRequest(_("llama-cpp-python has no option {name!r}.", name=name), hint)
        return found | ({"grammar": grammar} if grammar else {})

    def _grammar(self, text: str | None, schema: dict[str, Any] | None) -> Any:
        """Return the grammar of a request: llama.cpp has to know it, as sampling with one that it refused crashes.

        Raises:
            BadRequest: it cannot be parsed.
        """
        if schema is not None:
            text = self._grammar_of(schema)
        if not text:
            return None
        grammar = self._module.LlamaGrammar.from_string(text, verbose=False)
        vocabulary = self._module.llama_model_get_vocab(self._llama.model)
        with loading.captured_output() as output:
            sampler = self._module.llama_sampler_init_grammar(vocabulary, text.encode(), b"root")
            reason = re.search(r"error parsing grammar: (.+)", output())
        if not sampler:
            why = reason[1] if reason else "-"
            raise BadRequest(
                _("The grammar cannot be parsed: {reason}.", reason=why), _("Use GBNF with a rule named root.")
            )
        self._module.llama_sampler_free(sampler)
        return grammar

    def _grammar_of(self, schema: dict[str, Any]) -> str:
        from llama_cpp import llama_grammar

        try:
            text: str = llama_grammar.json_schema_to_gbnf(json.dumps(schema)) if schema else llama_grammar.JSON_GBNF
        except _REFUSALS as err:
            raise BadRequest(
                _("The JSON schema cannot be used: {err}", err=err), _("Change the schema accordingly, or simplify it.")
            ) from err
        return text

    def _refusal(self, err: Exception) -> BadRequest:
        numbers = re.search(r"Requested tokens \((\d+)\) exceed context window of (\d+)", str(err))
        numbers = numbers or re.search(r"Prompt exceeds n_ctx: (\d+) > (\d+)", str(err))
        if numbers:
            return prompt_too_long(int(numbers[1]), int(numbers[2]))
        return BadRequest(
            _("llama-cpp-python rejected the request: {err}", err=err), _("Change the request accordingly.")
        )

    def embeddings(self, texts: Sequence[str]) -> tuple[list[Any], int]:
        """Return the embedding of each text; none is truncated, as the package would do."""
        for text in texts:
            count = len(self._llama.tokenize(text.encode()))
            if count > self._longest:
                raise text_too_long(count, self._longest)
        rows, tokens = self._llama.embed(list(texts), truncate=False, return_count=True)
        return rows, tokens

    def close(self) -> None:
        """Free model and context."""
        del self._llama.eval, self._llama.sample, self._llama.detokenize
        self._llama.close()


def repaired(data: bytes) -> bytes:
    r"""Return bytes with U+FFFD for what is not valid UTF-8; a character at their end may be incomplete.

    Example:
        >>> repaired(b"a\xffb\xe4\xbd")
        b'a\xef\xbf\xbdb\xe4\xbd'
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return decoder.decode(data).encode() + decoder.getstate()[0]


def _check_format(name: str | None) -> None:
    """Check the name of a chat format; a model's own templates are named in its file.

    Raises:
        BadParameter: it is unknown.
    """
    from llama_cpp import llama_chat_format as formats

    if name is None or name.startswith("chat_template"):
        return
    try:
        formats.get_chat_completion_handler(name)
    except formats.LlamaChatCompletionHandlerNotFoundException as err:
        known = re.findall(r"'([\w-]+)'", str(err))
        raise BadParameter(
            _("llama-cpp-python has no chat_format {name!r}.", name=name),
            suggest(name, known, _("Available: {known}.", known=listed(known))),
        ) from err


def _loaded(module: Any, load: Load, vision: Any) -> Any:
    """Return the model.

    Raises:
        EngineFailed: it cannot be loaded; the message has the line of llama.cpp's log with the reason.
    """
    lines: list[str] = []

    def listen(level: int, text: bytes, data: Any) -> None:
        if level == _ERROR:
            lines.append(text.decode(errors="replace"))
        module._logger.llama_log_callback(level, text, data)

    listener = module.llama_log_callback(listen)  # must outlive every call by llama.cpp
    module.llama_log_set(listener, ctypes.c_void_p(0))
    try:
        llama = module.Llama(str(load.path), chat_handler=vision, **load.settings)
        if load.settings.get("lora_path") and not llama._lora_adapter:  # the package takes no notice, and crashes later
            raise RuntimeError("the LoRA adapter does not fit the model")
        if vision is not None:
            vision._init_mtmd_context(llama)  # else it is loaded, and found wanting, at the first request
    except (ValueError, RuntimeError, OSError, AssertionError) as err:
        raise EngineFailed("".join(lines) or str(err)) from err
    finally:
        module.llama_log_set(module._logger.llama_log_callback, ctypes.c_void_p(0))
    return llama


def _vision_handler(mmproj: Path) -> Any:
    """Return the chat handler for images.

    Raises:
        BadParameter: the package was compiled without libmtmd.
    """
    if not has_vision():
        raise no_vision()
    from llama_cpp.llama_chat_format import MTMDChatHandler

    class VisionHandler(MTMDChatHandler):  # type: ignore[misc]  # llama_cpp is not followed
        def load_image(self, image_url: str) -> bytes:
            """Return the bytes of an image; the package would open any URL, also of local files."""
            if not image_url.startswith(("data:", "http://", "https://")):
                raise BadRequest(_("The image URL is neither a data: nor an http URL."), _("Send the image itself."))
            data: bytes = super().load_image(image_url)
            return data

        def _get_template_messages(self, messages: Any, media_marker: str) -> list[Any]:
            """Return messages of one text each, as every template expects, with markers for images."""
            marked = super()._get_template_messages(messages, media_marker)
            return [{**message, "content": _joined(message.get("content"))} for message in marked]

    return VisionHandler(clip_model_path=str(mmproj), verbose=False)


def _joined(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return "\n".join(part.get("text", "") for part in content)


def no_vision() -> BadParameter:
    """Return the error for images with a package that was compiled without libmtmd."""
    return BadParameter(
        _("The installed llama-cpp-python was compiled without libmtmd, which clip_model_path needs."),
        _("Add driver=xllamacpp."),
    )
