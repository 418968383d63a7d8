"""Text to words and back, and pasted cells to commands.

Words follow the POSIX shell, with three differences that pasting needs: `${NAME}` is never expanded, `#` is an
ordinary character, and the line break after a backslash may have been lost on the way.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Iterator

from byzer_magic.commands.options import HIDDEN, LONGEST_NAME, is_secret_name
from byzer_magic.commands.spec import COMMANDS
from byzer_magic.commands.typography import INVISIBLE, SPACES
from byzer_magic.errors import CommandError, suggest
from byzer_magic.i18n import join, lazy_gettext as _, listed
from byzer_magic.log import redact

FLAG = re.compile(r"--[A-Za-z][\w-]*(?:=.*)?", re.DOTALL)
"""A word that is a flag wherever it is; a value of that form is written `--flag=--value`."""

_REFERENCE = rf"\$\{{[^}}\n]{{0,{LONGEST_NAME}}}\}}"

_PARTS = re.compile(
    rf"""
      (?P<single> '[^']*' )
    | (?P<double> "(?:[^"\\]++|\\.)*+" )
    | (?P<joint>  \\(?:[^\S\n]|[{INVISIBLE}])*[\n\x85\u2028\u2029]
                | \\\s*\Z | \\[ \t]+(?=--[A-Za-z]) | (?<=\s)[\^`][^\S\n]*\n | [{SPACES}] )
    | (?P<nothing> [{INVISIBLE}] )
    | (?P<escape> \\. )
    | (?P<reference> {_REFERENCE} )
    | (?P<open> ['"] )
    """,
    re.VERBOSE | re.DOTALL,
)
"""What `shlex` does not handle. A joint separates words: a continuation, or a web page's own kind of space."""

_PLAIN = re.compile(r"(?:[\w@%+=:,./-]|\$\{\w+\}|\*\*\*)+", re.ASCII)
"""A word that needs no quotes."""

_QUOTED = r"""'[^']*'|"(?:[^"\\]++|\\.)*+"|\\.|[^\s'"\\]"""
_RAW_WORDS = [re.compile(rf"(?:{parts})++(?!\S)", re.DOTALL) for parts in (rf"{_REFERENCE}|{_QUOTED}", _QUOTED)] + [
    re.compile(r"\S+")
]
"""One word with its quotes, the first that matches: with white space in a reference, without, with an open quote."""

_WINDOWS_JOINT = re.compile(r"\s[\^`]\s*\Z")
"""What continues a line in cmd and in PowerShell."""

_BLANK = re.compile(rf"[\s{INVISIBLE}]*")
_TRAILING = re.compile(rf"(?<=\\)\s*[{INVISIBLE}][\s{INVISIBLE}]*\Z")
"""What nobody sees behind the backslash that continues a line."""

_SIGNS = rf"[!%$>\u276f\u279c\s{INVISIBLE}]*+"
_PREFIX = re.compile(
    rf"[\s{INVISIBLE}]*+(?:PS )?(?:[A-Za-z]:\\[^>\n]*>)?{_SIGNS}(?:(?:byzerllm|byzer|(easy)-byzerllm)(?:\s{_SIGNS}|$))*"
)
"""What may precede a command in a shell, a notebook or a guide."""


def split(text: str) -> list[str]:
    """Return the words of a command line.

    Raises:
        CommandError: a quote is not closed.

    Example:
        >>> split('query --query "Why is it blue?" # ${KEY}')
        ['query', '--query', 'Why is it blue?', '#', '${KEY}']
    """
    words = shell_words(_PARTS.sub(_plain, text))
    if words is None:
        raise CommandError(
            _("A quote is not closed: {text}", text=_short(text)),
            _("Close it, or put text with an apostrophe in double quotes."),
        )
    return words


_PIECES = re.compile(
    r"""(?P<space> [ \t\r\n]+ )
      | (?P<plain> [^ \t\r\n'"\\]+ )
      | ' (?P<single> [^']*+ ) '
      | " (?P<double> (?: [^"\\]++ | \\. )*+ ) "
      | \\ (?P<escaped> . )
      | (?P<open> . )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r'\\(["\\])')


def shell_words(text: str) -> list[str] | None:
    """Return the words as `shlex.split` does, whose time grows with the square of a word; None for an open quote."""
    words: list[str] = []
    parts: list[str] = []
    for piece in _PIECES.finditer(text):
        if piece.lastgroup == "open":
            return None
        if piece.lastgroup != "space":
            part = piece[piece.lastgroup or 0]
            parts.append(_ESCAPED.sub(r"\1", part) if piece.lastgroup == "double" else part)
        elif parts:
            words.append("".join(parts))
            parts.clear()
    return [*words, "".join(parts)] if parts else words


def _plain(match: re.Match[str]) -> str:
    if match["joint"]:
        return " "
    if match["nothing"]:
        return ""
    if match["reference"]:
        return shlex.quote(match[0])
    return re.sub(r"\\\r?\n", "", match[0]) if match["double"] else match[0]


def quote(word: str) -> str:
    """Return a word so that `split` reads it back, quoted only where necessary.

    Example:
        >>> quote("gpt4o"), quote("a b")
        ('gpt4o', "'a b'")
    """
    return word if _PLAIN.fullmatch(word) else shlex.quote(word)


_GLUE = rf"(?<![{SPACES} ]) *+[{SPACES}][{SPACES} ]*+"
_GLUED = re.compile(rf"{_GLUE}(?=--[A-Za-z])")
_GLUED_VALUE = re.compile(rf"(--[A-Za-z][\w-]*){_GLUE}", re.ASCII)


def from_shell(words: list[str]) -> list[str]:
    r"""Return the words of a shell, which does not separate them at the spaces of a web page.

    Example:
        >>> from_shell(["stat\u00a0--model\u00a0gpt4o"])
        ['stat', '--model', 'gpt4o']
    """
    found: list[str] = []
    for word in words:
        for part in _GLUED.split(word):
            glued = _GLUED_VALUE.match(part)
            found += [glued[1], part[glued.end() :]] if glued else [part]
    return [part for part in found if part] if found != words else words


def bare(words: list[str]) -> list[str]:
    """Return words without a leading `byzerllm` or `!`, and with `easy` for `easy-byzerllm`.

    Example:
        >>> bare(["!easy-byzerllm", "chat", "m"])
        ['easy', 'chat', 'm']
    """
    for at, word in enumerate(words):
        first = word.lstrip("!%$>\u276f\u279c")
        if first not in ("", "byzerllm", "byzer"):
            return ["easy" if first == "easy-byzerllm" else first, *words[at + 1 :]]
    return []


def split_block(cell: str) -> list[str]:
    r"""Return the commands of a pasted cell, one text each, without `byzerllm` or `!` before them.

    Blank lines and Markdown fences end a command; lines that start with `#` are skipped. A line that starts with
    `--flag` belongs to the command above it even if the backslash between them was lost.

    Raises:
        CommandError: a line is not a command, or a quote is not closed.

    Example:
        >>> split_block("byzerllm undeploy \\\n--model a\n!byzerllm list")
        ['undeploy --model a', 'list']
    """
    commands: list[list[str]] = []
    above = False
    for line in map(_normal, _logical_lines(cell)):
        if _is_break(line):
            above = False
        elif not FLAG.match(line):
            _check_command(line, above=above)
            commands.append([line])
            above = True
        elif above:
            commands[-1].append(line)
        else:
            hint = _("Remove the blank line before it.") if commands else _("Write a command before it, e.g. deploy.")
            raise CommandError(_("This line does not belong to a command: {line}", line=_short(line)), hint)
    found = [" ".join(lines) for lines in commands]
    for command in found:
        split(command)
    return found


def _logical_lines(cell: str) -> Iterator[str]:
    """Yield lines without comments, each with its continuations: after a backslash, or inside a quote.

    Each line is searched once, from where the one before it has left a quote open.
    """
    lines = (_TRAILING.sub("", line) for line in cell.split("\n"))
    for line in lines:
        if _beginning(line) == "#":
            continue
        joined, before = [line], ""
        is_command = _begins_command(line)
        while True:
            joint, after = _joint(joined[-1], before, is_command=is_command)
            following = (
                next((each for each in lines if joint == "\n" or _beginning(each) != "#"), None) if joint else None
            )
            if following is None:
                break
            if joint == "\n":
                joined += ["\n", following]
                before = after
            elif _is_break(following):
                joined[-1] = _without_backslash(joined[-1])
            else:
                joined[-1:] = [_without_backslash(joined[-1]), f" {following.strip()}"]
                before = ""
                is_command = is_command or _begins_command("".join(joined[:9]))
        yield "".join(joined)


def _joint(line: str, quote_: str, *, is_command: bool) -> tuple[str, str]:
    """Return what joins the next line to this one, and the quote that is open between them.

    Args:
        line: the line, or a part of one.
        quote_: the quote that is open before it, or nothing.
        is_command: whether it belongs to a command, in which quotes count.
    """
    at = 0
    if quote_:
        closed = _CLOSING[quote_].match(line)
        if closed is None:
            return "\n", quote_
        at = closed.end()
    rest: list[str] = []
    opened = ""
    for found in _PARTS.finditer(line, at):
        rest += [line[at : found.start()], found[0] if found["joint"] or found["open"] else ""]
        opened = opened or found["open"] or ""
        at = found.end()
    tail = "".join([*rest, line[at:]])
    if opened and is_command:
        return "\n", opened
    if is_command and _WINDOWS_JOINT.search(tail):
        return " ", ""
    return (" " if tail.rstrip().endswith("\\") else ""), ""


_CLOSING = {"'": re.compile("[^']*'"), '"': re.compile(r'(?:[^"\\]++|\\.)*+"')}
_BEGINNING = 1000
"""Characters at the beginning of a line that tell whether it is a command."""


def _begins_command(line: str) -> bool:
    normal = _normal(line[:_BEGINNING])
    return _is_command(normal) or bool(FLAG.match(normal))


def _without_backslash(line: str) -> str:
    return line.rstrip()[:-1].rstrip()


def _beginning(line: str) -> str:
    return _BLANK.sub("", line, count=1)[:1]


def _is_break(line: str) -> bool:
    rest = _BLANK.sub("", line, count=1)
    return not rest or rest.startswith("```")


def _normal(line: str) -> str:
    match = _PREFIX.match(line)
    rest = line[match.end() :].strip() if match else line.strip()
    return f"easy {rest}" if match and match[1] else rest


def _is_command(line: str) -> bool:
    return "".join(line.split(maxsplit=1)[:1]) in (*COMMANDS, "easy")


def _check_command(line: str, *, above: bool) -> None:
    if _is_command(line):
        return
    known = (*COMMANDS, "easy")
    near = suggest(line.split(maxsplit=1)[0], known)
    lost = _("If it continues the line above, end that line with \\.") if above else ""
    every = _("Commands: {names}.", names=listed(known))
    raise CommandError(_("This line is not a command: {line}", line=_short(line)), join(near, lost, every))


def _short(text: str, length: int = 60) -> str:
    """Return the beginning of a text for a message, without secrets."""
    shown, secret = [], False
    for word in text.split():
        name, equals, _rest = word.partition("=")
        hidden = f"{name}={HIDDEN}" if equals and is_secret_name(name) else word
        shown.append(HIDDEN if secret else hidden)
        secret = not equals and name.startswith("--") and is_secret_name(name)
    text = redact(" ".join(shown))
    return text if len(text) <= length else f"{text[: length - 3]}..."


class Words:
    """The words of a command: the next one, or all that remain as one text."""

    def __init__(self, words: list[str]) -> None:
        self._words = deque(words)

    def peek(self) -> str | None:
        """Return the next word, or None at the end."""
        return self._words[0] if self._words else None

    def take(self) -> str:
        """Remove and return the next word.

        Raises:
            CommandError: a quote in it is not closed.
        """
        return self._words.popleft()

    def rest(self) -> str:
        """Return all that remains as one text, and leave nothing."""
        text = " ".join(self._words)
        self._words.clear()
        return text


class ChatLine(Words):
    """The words of a `%chat` line, read one at a time, because a prompt may have an unpaired quote."""

    def __init__(self, text: str) -> None:
        super().__init__([])
        self._text = text
        self._at = _SPACE.match(text).end()  # type: ignore[union-attr]  # it matches nothing, too
        self._ended = False
        self._verbatim = False

    def peek(self) -> str | None:
        """Return the next word, or None at the end; after `--`, everything is one word."""
        if self._ended or not (self._at < len(self._text) or self._verbatim):
            return None
        if self._verbatim:
            return self._text[self._at :]
        try:
            return self._word()
        except CommandError:
            return self._raw()

    def take(self) -> str:
        """Remove and return the next word.

        Raises:
            CommandError: a quote in it is not closed.
        """
        word = self._word()
        self._at += len(self._raw())
        self._verbatim = word == "--"
        self._at = self._at + 1 if self._verbatim else _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
        return word

    def rest(self) -> str:
        """Return all that remains, exactly as typed, and leave nothing."""
        self._ended = True
        return self._text[self._at :]

    def _word(self) -> str:
        return "".join(split(self._raw())[:1])

    def _raw(self) -> str:
        return next((found[0] for pattern in _RAW_WORDS if (found := pattern.match(self._text, self._at))), "")


_SPACE = re.compile(r"\s*")
