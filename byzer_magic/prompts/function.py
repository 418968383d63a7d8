"""A prompt function: its docstring is the prompt, its call a request."""

from __future__ import annotations

import collections.abc
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin

from byzer_magic.client import current
from byzer_magic.client.model import Model
from byzer_magic.client.signatures import hints_of
from byzer_magic.client.typed import Typed
from byzer_magic.errors import CommandError
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.prompts.asker import Asker, ModelAsker, Turns
from byzer_magic.prompts.markers import DEFAULT, TURNS, Markers, go_on
from byzer_magic.prompts.template import render

_STREAMS = (collections.abc.Generator, collections.abc.Iterator, collections.abc.Iterable)


@dataclass(frozen=True, slots=True)
class How:
    """How a prompt function asks."""

    llm: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)
    conversation: tuple[Mapping[str, Any], ...] = ()
    prefix: str = ""
    markers: Markers | None = None
    keep_markers: bool = False
    continue_text: str = ""
    max_turns: int = TURNS
    extractor: Callable[[str], Any] | None = None
    return_type: Any = None
    meta: Callable[[Any], object] | None = None
    """Receives what is known about each response."""


class PromptFunction:
    """A function whose docstring is a prompt; every `with_...` returns a changed copy, so that threads can share it."""

    strict: ClassVar[bool] = True
    """Whether a name in the template without a value is an error, or empty."""
    __name__: str

    def __init__(self, function: Callable[..., Any], how: How, instance: Any = None) -> None:
        if inspect.iscoroutinefunction(function):
            raise CommandError(
                _("{name} is a coroutine function, which cannot be a prompt.", name=function.__name__),
                _(
                    "Write def in place of async def; a coroutine asks by await asyncio.to_thread({name}, ...).",
                    name=function.__name__,
                ),
            )
        functools.update_wrapper(self, function)
        self.function = function
        self.how = how
        self.instance = instance

    def __repr__(self) -> str:
        return f"<prompt {getattr(self.function, '__qualname__', self.function)}>"

    def __get__(self, instance: Any, _owner: type | None = None) -> Self:
        """Return the prompt of one object, when it is used as a method."""
        return self if instance is None else type(self)(self.function, self.how, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the response; without a model, return the prompt."""
        return self.prompt(*args, **kwargs) if self.how.llm is None else self.run(*args, **kwargs)

    # ---- what it sends

    def prompt(self, *args: Any, **kwargs: Any) -> str:
        """Return the prompt for these arguments.

        Raises:
            CommandError: the docstring is not a template, or a value is missing.
        """
        owner = () if self.instance is None else (self.instance,)
        bound = inspect.signature(self.function).bind(*owner, *args, **kwargs)
        bound.apply_defaults()
        values = dict(bound.arguments)
        found = self.function(*bound.args, **bound.kwargs)
        if found and not isinstance(found, Mapping):
            raise TypeError(
                f"{self.__name__} returned a {type(found).__name__}: return a dict with values for its prompt"
            )
        if self.instance is not None:
            values.pop(next(iter(bound.arguments)), None)
        return render(self.function, values | dict(found or {}), strict=self.strict)

    # ---- how it asks

    def with_llm(self, llm: Any) -> Self:
        """Ask this model: an alias, a `Model`, or a function of the object that returns one."""
        return self._with(llm=llm)

    def options(self, options: Mapping[str, Any] | None = None, /, **more: Any) -> Self:
        """Send these options with the request, in addition to those before."""
        return self._with(options={**self.how.options, **(options or {}), **more})

    def with_conversation(self, conversation: Sequence[Mapping[str, Any]]) -> Self:
        """Put messages before the prompt."""
        return self._with(conversation=tuple(conversation))

    def with_return_prefix(self, prefix: str) -> Self:
        """Begin the response with this text, which the model continues."""
        return self._with(prefix=prefix)

    def with_stop_suffix_list(self, suffixes: Sequence[str]) -> Self:
        """End the response before any of these texts."""
        return self.options(stop=list(suffixes))

    def with_return_type(self, kind: Any) -> Self:
        """Return a value of this type, which pydantic validates; one that is not valid is asked for once more."""
        return self._with(return_type=kind)

    def with_extractor(self, extractor: Callable[[str], Any]) -> Self:
        """Return what this function makes of the response's text."""
        return self._with(extractor=extractor)

    def with_response_markers(
        self, response_markers: Sequence[str] | None = None, response_markers_template: str | None = None
    ) -> Self:
        """Let a long response continue over several turns, until its end mark.

        Args:
            response_markers: the start and the end mark.
            response_markers_template: what the model is told, a Jinja template with RESPONSE_START and RESPONSE_END.

        Raises:
            ValueError: there are not two marks.
        """
        if response_markers is not None and (isinstance(response_markers, str) or len(response_markers) != 2):
            raise ValueError("response_markers are two texts: the mark at the start, and that at the end")
        start, end = response_markers or DEFAULT
        return self._with(markers=Markers(start, end, response_markers_template or ""))

    def with_auto_remove_response_markers(self, flag: bool) -> Self:  # noqa: FBT001 - byzer-llm's signature
        """Say whether the marks are removed from the response."""
        return self._with(keep_markers=not flag)

    def with_max_turns(self, max_turns: int) -> Self:
        """Bound the turns of a response with marks."""
        return self._with(max_turns=max_turns)

    def with_continue_prompt(self, prompt: str) -> Self:
        """Ask for each further turn with this text."""
        return self._with(continue_text=prompt)

    def with_meta(self, meta: Callable[[Any], object]) -> Self:
        """Hand what is known about each response to this function: a `ChatResult`, or the chunks of a stream."""
        return self._with(meta=meta)

    def reset(self) -> Self:
        """Return the function with its model and options only."""
        return self._as(How(llm=self.how.llm, options=self.how.options))

    def _with(self, **changes: Any) -> Self:
        return self._as(replace(self.how, **changes))

    def _as(self, how: How) -> Self:
        return type(self)(self.function, how, self.instance)

    # ---- asking

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """Ask the model; return a text, a value of the return type, or an iterator of texts.

        Raises:
            CommandError: there is no model, or the prompt lacks a value.
            NotDeployed: nothing is deployed as its alias.
            MalformedResponse: the response is not of the return type, and neither is the second one.
            RequestError: the response is incomplete.
        """
        text = self.prompt(*args, **kwargs)
        asker = self._asker(self.how.llm)
        if "schema" in self.how.options:
            raise CommandError(
                _(
                    "{name} has the option schema; a prompt function returns the type in its annotation.",
                    name=self.__name__,
                ),
                _("Write def {name}(...) -> TYPE, or call .with_return_type(TYPE).", name=self.__name__),
            )
        if self.how.markers:
            text = f"{text}\n\n{self.how.markers.instruction(text)}"
        kind = self._returns()
        if get_origin(kind) in _STREAMS and get_args(kind)[:1] == (str,):
            return self._stream(asker, text)
        if kind is not str:
            return self._typed(asker, text, kind)
        return self._text(asker, text)

    def _text(self, asker: Asker, text: str) -> Any:
        how = self.how
        if how.markers is None and how.return_type is not None and how.extractor is None:
            return self._noted(asker.typed(self._turns(text), self._type(), how.options, told=True, prefix=how.prefix))
        if how.markers:
            found = "".join(self._all_turns(asker, text))
            found = found if how.keep_markers else how.markers.without(found)
        else:
            found = self._noted(asker.ask(self._turns(text), how.options))
        if how.extractor is None and how.return_type is None:
            return found
        value = how.prefix + found
        value = how.extractor(value) if how.extractor else value
        return self._type().read(str(value)) if how.return_type is not None else value

    def _typed(self, asker: Asker, text: str, kind: Any) -> Any:
        pair = asker.typed(self._turns(text), Typed(kind), self.how.options, told=False, prefix=self.how.prefix)
        return self._noted(pair)

    def _stream(self, asker: Asker, text: str) -> Iterator[Any]:
        """Yield the response as it arrives."""
        how = self.how
        if how.markers is None:
            for piece, known in asker.stream(self._turns(text), how.options):
                self._note(known)
                yield piece
            return
        pieces = (piece for piece, _known in self._streamed_turns(asker, text))
        yield from pieces if how.keep_markers else how.markers.pieces(pieces)

    def _all_turns(self, asker: Asker, text: str) -> Iterator[str]:
        """Yield the texts of the turns of a response with marks."""
        for turns in self._until_end(text):
            found = self._noted(asker.ask(turns, self.how.options))
            turns.append({"role": "assistant", "content": found})
            yield found

    def _streamed_turns(self, asker: Asker, text: str) -> Iterator[tuple[str, Any]]:
        """Yield the deltas of the turns of a response with marks."""
        for turns in self._until_end(text):
            found = []
            for piece, known in asker.stream(turns, self.how.options):
                self._note(known)
                found.append(piece)
                yield piece, known
            turns.append({"role": "assistant", "content": "".join(found)})

    def _until_end(self, text: str) -> Iterator[Turns]:
        """Yield the conversation of each turn; whoever asks adds the response to it."""
        end = self.how.markers.end if self.how.markers else ""
        turns = self._turns(text)
        begun = len(turns)
        for _turn in range(self.how.max_turns):
            yield turns
            said = "".join(turn["content"] for turn in turns[begun:] if turn["role"] == "assistant")
            if end in said or not str(turns[-1]["content"]).strip():
                return
            turns = [*turns, {"role": "user", "content": self.how.continue_text or go_on(text)}]

    def _turns(self, text: str) -> Turns:
        prefix = [{"role": "assistant", "content": self.how.prefix}] if self.how.prefix else []
        return [*map(dict, self.how.conversation), {"role": "user", "content": text}, *prefix]

    def _noted(self, pair: tuple[Any, Any]) -> Any:
        value, known = pair
        self._note(known)
        return value

    def _note(self, known: Any) -> None:
        if self.how.meta is not None and known is not None:
            self.how.meta(known)

    # ---- types and models

    def _returns(self) -> Any:
        """Return the type in the annotation; a text where there is none.

        Raises:
            CommandError: the annotation names a type that cannot be found.
        """
        kind = hints_of(self.function, "return").get("return", str)
        bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        return str if bare in (str, type(None)) else kind

    def _type(self) -> Typed[Any]:
        return Typed(self.how.return_type)

    def _asker(self, llm: Any) -> Asker:
        """Return what asks a model.

        Raises:
            CommandError: it is not a model.
        """
        if isinstance(llm, str):
            return ModelAsker(current.model(llm))
        if isinstance(llm, Model):
            return ModelAsker(llm)
        if callable(llm):
            return self._asker(llm(self.instance) if inspect.signature(llm).parameters else llm())
        if llm is None:
            hint = _('Write @bz.prompt("ALIAS"), or call .with_llm("ALIAS") first.')
            raise CommandError(_("{name} has no model.", name=self.__name__), hint)
        raise CommandError(
            _("The model of {name} is a {type}.", name=self.__name__, type=type(llm).__name__),
            _('Pass an alias, bz.model("ALIAS"), or a function of the object that returns one.'),
        )
