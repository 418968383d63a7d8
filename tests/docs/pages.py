"""Markdown pages as data: headings, links, fenced blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ENGLISH = (ROOT / "README.md", *sorted(path for path in DOCS.glob("*.md") if path.name != "commands.md"))
"""commands.md is generated; tests/shape checks that it is up to date."""
COMMANDS = ("byzerllm", "easy-byzerllm", "%byzer", "%chat", "%%chat", "%%byzer")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}\n{self.text}"


@dataclass(frozen=True)
class Page:
    """A Markdown page of the repository."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The page without its fenced blocks."""
        return FENCE.sub("", self.text)

    @property
    def chinese(self) -> Page:
        """The same page in Chinese."""
        return Page(ROOT / "README.zh.md" if self.path.parent == ROOT else self.path.parent / "zh" / self.path.name)

    @cached_property
    def blocks(self) -> list[Block]:
        """All fenced blocks, in order."""
        return [
            Block(self.name, self.text.count("\n", 0, match.start()) + 1, match[1], match[2].rstrip("\n"))
            for match in FENCE.finditer(self.text)
        ]

    @cached_property
    def inline(self) -> list[str]:
        """The commands that are written inside sentences and tables."""
        found = [match[1].replace(r"\|", "|") for match in INLINE.finditer(self.prose)]
        return [text for text in found if " " in text and text.split()[0] in COMMANDS]

    @cached_property
    def anchors(self) -> set[str]:
        """The fragments that GitHub gives the headings."""
        slugs = [slug(match[1]) for match in HEADING.finditer(self.prose)]
        seen = [slugs[:number].count(each) for number, each in enumerate(slugs)]
        return {f"{each}-{times}" if times else each for each, times in zip(slugs, seen, strict=True)}

    @cached_property
    def links(self) -> list[str]:
        """The targets of links and images."""
        return [match[1] for match in LINK.finditer(INLINE.sub("", self.prose))] + [
            match[1] for match in re.finditer(r'(?:src|href)="([^"]+)"', self.prose)
        ]


def slug(heading: str) -> str:
    """Return the fragment of a heading, as GitHub makes it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def shell_commands(block: Block) -> Iterator[str]:
    """Yield the commands of a ```bash block, each with its continuation lines; comments are left out."""
    command = ""
    for line in block.text.splitlines():
        if not command and (not line.strip() or line.startswith("#")):
            continue
        command += line + "\n"
        if not line.endswith("\\"):
            yield command.rstrip("\n")
            command = ""
    assert not command, f"ends with a backslash: {block}"


QUOTED = re.compile(r"""("[^"\n]*"|'[^'\n]*')""")


def same_code(block: Block, translated: Block) -> bool:
    """Return whether two blocks are the same but for what a translation changes: comments, prompts, Chinese texts."""
    theirs, ours = QUOTED.split(_code(translated)), QUOTED.split(_code(block))
    return len(theirs) == len(ours) and all(
        one == other or (QUOTED.fullmatch(one) and not one.isascii()) for one, other in zip(theirs, ours, strict=True)
    )


def _code(block: Block) -> str:
    if block.language == "python" and block.text.startswith("%%chat"):
        return block.text.splitlines()[0]
    lines = [re.sub(r"\s+# .*$|^# .*$", "", line) for line in block.text.splitlines()]
    text = "\n".join(line for line in lines if line.strip())
    return re.sub(r"^(easy-byzerllm chat \S+) .*$", r"\1", text, flags=re.MULTILINE)


def words(command: str) -> list[str]:
    """Return the words of a shell command."""
    return shlex.split(command.replace("\\\n", " "), comments=True)
