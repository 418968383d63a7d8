"""`byzerllm.prompt`: prompt functions that ask byzer-llm's clients."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from pydantic import BaseModel

from byzer_magic.client.model import Model
from byzer_magic.client.structured import malformed
from byzer_magic.client.typed import NotThatType, Typed
from byzer_magic.compat.llm import ByzerLLM
from byzer_magic.compat.texts import one_or_several
from byzer_magic.errors import CommandError, MalformedResponse
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.prompts.asker import Asker, Turns
from byzer_magic.prompts.function import How, PromptFunction
from byzer_magic.results import ChatResult


class ClientAsker:
    """Asks a client of byzer-llm's, or what has its two methods; options are the methods' arguments."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def ask(self, turns: Turns, options: Mapping[str, Any]) -> tuple[str, Any]:
        """Return a response, and its metadata."""
        response = self._client.chat_oai(conversations=turns, **options)[0]
        return response.output, response.metadata

    def stream(self, turns: Turns, options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the deltas of a response, and their metadata."""
        yield from self._client.stream_chat_oai(conversations=turns, **{"delta_mode": True, **options})

    def typed(
        self, turns: Turns, typed: Typed[Any], options: Mapping[str, Any], *, told: bool, prefix: str
    ) -> tuple[Any, Any]:
        """Return the value that a response has, and its metadata."""
        if isinstance(self._client, ByzerLLM):
            value, response = self._client.typed(turns, typed, told=told, prefix=prefix, **options)
            return value, response.metadata
        text, known = self.ask(turns if told else _told(turns, typed.instruction), options)
        try:
            return typed.read(prefix + text), known
        except NotThatType as err:
            name = getattr(self._client, "default_model_name", None) or type(self._client).__name__
            raise malformed(typed, ChatResult(model=name, text=text), str(err)) from None


def _told(turns: Turns, text: str) -> Turns:
    """Return a conversation with a text at the end of the prompt, which the beginning of the response may follow."""
    place = next(number for number in reversed(range(len(turns))) if turns[number]["role"] != "assistant")
    return [*turns[:place], {**turns[place], "content": f"{turns[place]['content']}\n\n{text}"}, *turns[place + 1 :]]


class ClientPrompt(PromptFunction):
    """A prompt function with byzer-llm's rules.

    Names without a value are empty; what is set on a function stays until `reset`, and what it returns is a copy, which
    other threads do not change; with marks, a stream yields pairs; a value that cannot be read from a response is None,
    with a warning.
    """

    strict = False

    def __init__(self, function: Callable[..., Any], how: How, instance: Any = None) -> None:
        super().__init__(function, how, instance)
        self._decorated: ClientPrompt = self
        """The function itself, of which this may be a copy."""

    def reset(self) -> Self:
        """Forget what was set but for the client and its options."""
        fresh = super().reset()
        self._keep(fresh.how)
        return fresh

    def _with(self, **changes: Any) -> Self:
        self._keep(replace(self._decorated.how, **changes))
        return super()._with(**changes)

    def _keep(self, how: How) -> None:
        if self.instance is None:  # methods begin anew at each use
            self._decorated.how = how

    def _as(self, how: How) -> Self:
        copy = super()._as(how)
        copy._decorated = self._decorated
        return copy

    def with_stop_suffix_list(self, suffixes: Sequence[str]) -> Self:
        """End the response before any of these texts."""
        return self.options({"llm_config": {**self.how.options.get("llm_config", {}), "gen.stop": list(suffixes)}})

    def with_meta(self, meta: Any) -> Self:
        """Keep what is known about the response in a `MetaHolder`."""
        return self._with(meta=meta if meta is None or callable(meta) else meta.keep)

    def _typed(self, asker: Asker, text: str, kind: Any) -> Any:
        try:
            return super()._typed(asker, text, kind)
        except MalformedResponse as err:
            warnings.warn(f"{self.__name__} returns None: {err.localized()}", RuntimeWarning, stacklevel=3)
            return None

    def _stream(self, asker: Asker, text: str) -> Iterator[Any]:
        return super()._stream(asker, text) if self.how.markers is None else self._streamed_turns(asker, text)

    def _type(self) -> Typed[Any]:
        return one_or_several(self.how.return_type)

    def _asker(self, llm: Any) -> Asker:
        if isinstance(llm, str):
            return ClientAsker(ByzerLLM.from_default_model(llm))
        if isinstance(llm, Model):
            return ClientAsker(ByzerLLM.from_default_model(llm.alias))
        if hasattr(llm, "chat_oai"):
            return ClientAsker(llm)
        if callable(llm):
            return self._asker(llm(self.instance) if inspect.signature(llm).parameters else llm())
        raise CommandError(
            _("{name} has no model.", name=self.__name__),
            _("Call .with_llm(llm) first, with a ByzerLLM or an alias."),
        )


def prompt(
    llm: Any = None, render: str = "jinja2", check_result: bool = False, options: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., Any]], ClientPrompt]:
    '''Make a function's docstring a prompt.

    Args:
        llm: a `ByzerLLM`, an alias, or a function of the object whose method this is; without one, calling the function
            returns its prompt.
        render: accepted; templates are Jinja's.
        check_result: accepted; a value that cannot be read gives a warning in any case.
        options: arguments of `chat_oai`, e.g. ``{"llm_config": {"max_length": 100}}``.

    Example:
        >>> @prompt()
        ... def hello(name: str) -> str:
        ...     """Hello {{ name }}"""
        >>> hello.prompt("Ann")
        'Hello Ann'
    '''
    how = How(llm=llm, options=dict(options or {}))
    return lambda function: ClientPrompt(function, how)


class MetaOutput(BaseModel):
    """What is known about a response."""

    input_tokens_count: int = 0
    generated_tokens_count: int = 0
    reasoning_content: str = ""
    finish_reason: str = ""
    first_token_time: float = 0.0
    """Seconds."""


class MetaHolder:
    """Keeps what is known about the last response of a prompt function; see `with_meta`."""

    def __init__(self, meta: Any = None) -> None:
        self.meta = meta

    def keep(self, meta: Any) -> None:
        """Keep what is known about a response."""
        self.meta = meta

    def get_meta(self) -> Any:
        """Return it as a dict; None before the first response."""
        if self.meta is None or isinstance(self.meta, dict):
            return self.meta
        return {name: getattr(self.meta, name) for name in MetaOutput.model_fields}

    def get_meta_model(self) -> MetaOutput | None:
        """Return it as an object; None before the first response."""
        found = self.get_meta()
        if found is None:
            return None
        return MetaOutput(**{name: found[name] for name in MetaOutput.model_fields if found.get(name)})
