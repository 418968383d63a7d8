"""The pages as texts: links resolve, commands can be parsed, the Chinese pages have the same content."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from babel.messages.pofile import read_po

from byzer_magic import config
from byzer_magic.commands import spec
from byzer_magic.commands.help import HelpRequested
from byzer_magic.commands.parser import parse, parse_chat, split
from byzer_magic.i18n import language_of
from byzer_magic.i18n.__main__ import po_file
from tests.docs.exceptions import DRY_RUN, NOT_RUN
from tests.docs.pages import COMMANDS, DOCS, ENGLISH, INLINE, ROOT, Block, Page, same_code, shell_commands, words

PAGES = [Page(path) for path in ENGLISH]
CHINESE = [page.chinese for page in PAGES]
ALL = [*PAGES, *CHINESE]
COMMANDS_OF_BYZER = tuple(spec.COMMANDS)
TROUBLESHOOTING = {"en": "## Troubleshooting", "zh": "## 常见问题"}
MAGICS = ("%byzer", "%%chat", "%chat")


def named(pages: list[Page]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", pages, ids=lambda page: page.name)


def check(command: str) -> None:
    """Parse a command of ours, as a cell or a shell would."""
    first, _, rest = command.partition(" ")
    if rest in COMMANDS_OF_BYZER:  # the name of a command, in a sentence
        return
    if first in ("%%chat", "%chat"):
        parse_chat(rest)
        return
    if first == "%%byzer":
        return
    found = words(command) if first.endswith("byzerllm") else split(command)
    try:
        parse(["easy", *found[1:]] if first == "easy-byzerllm" else found[1:], read_file=lambda _: "model: m\n")
    except HelpRequested:
        assert "help" in command


def commands_of(block: Block) -> Iterator[str]:
    """Yield the commands of ours in a block."""
    if block.language == "bash":
        yield from (text for text in shell_commands(block) if text.split()[0] in COMMANDS)
    elif block.language == "python" and block.text.startswith(MAGICS):
        text = block.text.replace("\\\n", " ")
        lines = text.splitlines()[:1] if text.startswith("%%") else text.splitlines()
        yield from (line for line in lines if line.startswith(MAGICS))


@named(ALL)
def test_commands_in_sentences_and_tables_can_be_parsed(page: Page) -> None:
    for command in page.inline:
        if not re.search(r"\.\.\.|…", command):
            check(command)


@named(ALL)
def test_commands_in_blocks_can_be_parsed(page: Page) -> None:
    for block in page.blocks:
        for command in commands_of(block):
            check(command)


@named([*ALL, Page(ROOT / "CONTRIBUTING.md"), *map(Page, sorted((DOCS / "decisions").glob("*.md")))])
def test_links_lead_to_a_file_and_a_heading(page: Page) -> None:
    for link in page.links:
        if re.match(r"https?://", link):
            continue
        target, _, fragment = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), f"{page.name}: {link}"
        if fragment:
            assert fragment in Page(path).anchors, f"{page.name}: {link}"


@named(PAGES)
def test_chinese_page_has_the_same_code(page: Page) -> None:
    other = page.chinese
    assert other.path.is_file()
    assert [block.language for block in other.blocks] == [block.language for block in page.blocks]
    for block, translated in zip(page.blocks, other.blocks, strict=True):
        if block.language != "text":
            assert same_code(block, translated), f"{block}\n{translated}"


@named(PAGES)
def test_chinese_page_has_the_same_sections(page: Page) -> None:
    level = re.compile(r"^#+(?= )", re.MULTILINE)
    assert level.findall(page.chinese.prose) == level.findall(page.prose)


def test_chinese_pages_have_an_english_page() -> None:
    assert {path.name for path in (DOCS / "zh").glob("*.md")} - {"commands.md"} == {
        page.path.name for page in PAGES[1:]
    }


@named(ALL)
def test_pages_are_in_an_index(page: Page) -> None:
    index = Page(page.path.parent / "README.md")
    if page.path != index.path and page.path.parent != ROOT:
        assert page.path.name in index.links


@named(ALL)
def test_make_targets_exist(page: Page) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


@named(ALL)
def test_extras_exist(page: Page) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for names in re.findall(r"'\.\[([\w,-]+)\]'", page.text):
        assert set(names.split(",")) <= set(extras), f"{page.name}: {names}"


@named(ALL)
def test_images_are_small(page: Page) -> None:
    for link in page.links:
        if link.endswith(".png"):
            assert (page.path.parent / link).stat().st_size < 150_000, link


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_readme_is_short(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) < 250
    third = [number for number, line in enumerate(lines) if line == "```"][3]
    assert third < 60, "the first screen goes to the end of the first cells"


def test_exceptions_are_needed() -> None:
    blocks = [block for page in PAGES for block in page.blocks if block.language in ("bash", "python")]
    commands = [
        text for block in blocks for text in (shell_commands(block) if block.language == "bash" else [block.text])
    ]
    for start in NOT_RUN:
        assert any(command.startswith(start) for command in commands), start
    for part in DRY_RUN:
        assert any(part in command for command in commands), part


def test_notebooks_say_nothing_that_cannot_be_parsed() -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                for command in commands_of(Block(path.name, 0, "python", cell.source)):
                    check(command)


def test_settings_file_of_the_page_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [block.text for block in Page(DOCS / "settings.md").blocks if block.language == "toml"]
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.toml"
        path.write_text(text)
        monkeypatch.setenv("BYZER_CONFIG", str(path))
        assert config.load() != config.Settings()
    assert texts


@pytest.mark.parametrize("language", ["en", "zh"])
def test_troubleshooting_quotes_messages_that_exist(language: str) -> None:
    page = Page(DOCS / "errors.md") if language == "en" else Page(DOCS / "zh" / "errors.md")
    table = page.text.partition(TROUBLESHOOTING[language])[2]
    quoted = [span for row in re.findall(r"^\| (.*?) \| ", table, re.MULTILINE) for span in INLINE.findall(row)]
    assert len(quoted) > 15
    known = list(messages(language))
    for message in quoted:
        pattern = ".*?".join(re.escape(part.strip()) for part in message.split("..."))
        assert any(re.search(pattern, text, re.DOTALL) for text in known), f"no such message: {message}"


def messages(language: str) -> Iterator[str]:
    """Yield every text of the product in a language, its fields left out."""
    with po_file(language_of("zh")).open("rb") as file:
        catalog = read_po(file)
    for message in catalog:
        forms = message.id if language == "en" else message.string
        for text in [forms] if isinstance(forms, str) else forms:
            yield re.sub(r"\{[^{}]*\}", "\0", text)


def test_decisions_are_in_the_index() -> None:
    pages = {path.name for path in (DOCS / "decisions").glob("*.md")} - {"README.md"}
    assert pages == {link for link in Page(DOCS / "decisions" / "README.md").links if not link.startswith("..")}
