"""The conversation of a chat window: prompts, each with its answer. Data only; nothing is rendered or sent."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from byzer_magic.errors import ByzerError
from byzer_magic.i18n import gettext as _, localized
from byzer_magic.rendering.answer.safe import safe
from byzer_magic.results import Result, turns as session_turns
from byzer_magic.types import Media, Message

NUMBERS = itertools.count(1)


@dataclass
class Turn:
    """One prompt and its answer."""

    prompt: Message
    alias: str = ""
    """The model that answers; empty where another cell asked."""
    replies: list[Message] = field(default_factory=list)
    """Messages of the session after the prompt, up to the next one."""
    result: Result | None = None
    error: ByzerError | None = None
    running: bool = False
    number: int = field(default_factory=lambda: next(NUMBERS))
    part: Sequence[str] = field(default_factory=list)
    """While it is running: the blocks of HTML so far."""
    entry: dict[str, Any] | None = None
    """Its entry for the page, once it no longer changes."""

    def take(self, result: Result) -> None:
        """Store the answer, and what of it is context of the next prompt."""
        self.result = result
        self.replies = session_turns.replies(result)

    @property
    def text(self) -> str:
        """Return the text of the answer, also of one that another cell asked for."""
        if self.result is not None:
            return str(self.result)
        return "\n\n".join(filter(None, map(text_of, self.replies)))


class Conversation:
    """The turns of one session; `messages` are those that `%%chat --session` continues."""

    def __init__(self, messages: Sequence[Message] = (), system: str | None = None) -> None:
        self.turns: list[Turn] = []
        self.system = ""
        self.read(messages)
        self.system = system if system is not None else self.system

    def read(self, messages: Sequence[Message]) -> None:
        """Take the current messages of a session; turns that have not changed keep their results."""
        first = messages[0] if messages and messages[0].role == "system" else None
        self.system = text_of(first) if first is not None else self.system
        found = list(_turns(messages[1:] if first is not None else messages))
        kept: list[Turn] = []
        for turn in self.turns:
            if not turn.replies:  # it failed, or the model has no chat capability: no session has it
                kept.append(turn)
            elif found and (turn.prompt, turn.replies) == (found[0].prompt, found[0].replies):
                kept.append(turn)
                found.pop(0)
            else:
                break
        self.turns = [*kept, *found]

    def messages(self) -> list[Message]:
        """Return the messages of the session: prompts that have an answer."""
        system = [Message("system", self.system)] if self.system else []
        return [*system, *(part for turn in self.turns if turn.replies for part in (turn.prompt, *turn.replies))]

    def asking(self, prompt: Message) -> list[Message]:
        """Return the messages of the next request."""
        return [*self.messages(), prompt]

    def turn(self, number: int) -> Turn | None:
        """Return the turn of that number."""
        return next((turn for turn in self.turns if turn.number == number), None)

    def truncate(self, number: int) -> Turn | None:
        """Drop a turn and all that follow; return it."""
        found = self.turn(number)
        if found is not None:
            self.turns = self.turns[: self.turns.index(found)]
        return found


def _turns(messages: Iterable[Message]) -> Iterable[Turn]:
    turn: Turn | None = None
    for message in messages:
        if message.role == "user" or turn is None:
            if turn is not None:
                yield turn
            begins = message.role == "user"
            turn = Turn(message if begins else Message("user", ""), replies=[] if begins else [message])
        else:
            turn.replies.append(message)
    if turn is not None:
        yield turn


def text_of(message: Message) -> str:
    """Return the text in a message."""
    if not isinstance(message.content, list):
        return message.content or ""
    return "\n".join(str(part.get("text") or "") for part in message.content if isinstance(part, dict)).strip()


def media_of(message: Message) -> list[Media]:
    """Return the images and audio in a message."""
    parts: list[Any] = message.content if isinstance(message.content, list) else []
    return [part for part in parts if isinstance(part, Media)]


def as_cells(turns: Sequence[Turn], system: str, alias: str, session: str) -> list[str]:
    """Return the prompts as `%%chat` cells, which repeat the conversation without its attachments."""
    cells = []
    for number, turn in enumerate(turns):
        line = f"%%chat {turn.alias or alias} --session {_word(session)}"
        if number == 0:
            line += " --reset" + (f" --system {_word(system)}" if system else "")
        text = text_of(turn.prompt).replace("{{", "\\{{")
        cells.append(f"{line}\n{text}")
    return cells


def _word(text: str) -> str:
    return shlex.quote(text.replace("\n", " "))


def as_markdown(turns: Sequence[Turn], system: str, alias: str) -> str:
    """Return the conversation as Markdown; it may become a cell, so that no answer has HTML or scripts in it."""
    system_title, you = _("System prompt"), _("You")
    parts = [f"**{system_title}**\n\n{safe(system)}"] if system else []
    for turn in turns:
        media = [f"*({item.mime})*" for item in media_of(turn.prompt)]
        parts.append("\n\n".join([f"**{you}**", *media, safe(text_of(turn.prompt))]))
        failure = f"*{safe(localized(turn.error.message))}*" if turn.error else ""
        parts.append("\n\n".join(filter(None, [f"**{turn.alias or alias}**", safe(turn.text), failure])))
    return "\n\n---\n\n".join(parts)


def free_name(sessions: Mapping[str, Any]) -> str:
    """Return a name that no session has."""
    return next(name for number in range(1, len(sessions) + 2) if (name := f"chat-{number}") not in sessions)
