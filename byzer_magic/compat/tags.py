"""Tags in texts, `<_name_>...</_name_>`, and images and audio that byzer-llm puts into prompts with them."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from byzer_magic import media

_TAG = re.compile(r"<_[^<>]*>|</_[^<>]*>")


class Tag(BaseModel):
    """A tag, with its text or the tags in it."""

    start_tag: str
    end_tag: str
    """Empty where the tag is not closed."""
    content: Any
    """A text, or a list of tags, before which there may be a text."""
    parent: Tag | None = None


class TagExtractor:
    """The tags of a text, as a tree.

    Example:
        >>> root = TagExtractor("<_q_>Who?</_q_> and <_a_>Ann</_a_>").extract()
        >>> [(tag.start_tag, tag.content) for tag in root.content]
        [('<_q_>', 'Who?'), ('<_a_>', 'Ann')]
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.root_tag = _around("ROOT")
        """Holds the outermost tags, once they have been extracted."""
        self._is_filled = False

    @property
    def is_extracted(self) -> bool:
        """Return whether the tags have been looked for."""
        return self._is_filled

    def extract(self) -> Tag:
        """Return the root, whose content is the list of the outermost tags; texts between those are left out."""
        if not self._is_filled:
            self._fill()
            self._is_filled = True
        return self.root_tag

    def _fill(self) -> None:
        current, place = self.root_tag, 0
        for found in _TAG.finditer(self.text):
            self._add_text(current, self.text[place : found.start()])
            place = found.end()
            if not found[0].startswith("</"):
                child = Tag(start_tag=found[0], end_tag="", content="", parent=current)
                if not isinstance(current.content, list):
                    current.content = [current.content] if current.content else []
                current.content.append(child)
                current = child
            elif current is not self.root_tag and current.parent is not None:
                current.end_tag = found[0]
                current = current.parent
        self._add_text(current, self.text[place:])

    def _add_text(self, tag: Tag, text: str) -> None:
        if tag is not self.root_tag and isinstance(tag.content, str) and text.strip():
            tag.content += text.lstrip()


def _around(name: str) -> Tag:
    """Return a tag that has no others in it yet."""
    return Tag(start_tag=f"<_{name}_>", end_tag=f"</_{name}_>", content=[])


class _Tagged(TagExtractor):
    """Media in a prompt: a data URL inside a tag."""

    kind: ClassVar[str]

    @classmethod
    def load(cls, path: str, *, only_content: bool = False) -> str:
        """Return a file as a data URL, inside the tag unless only the URL is wanted."""
        found = Path(path).expanduser()
        data = base64.b64encode(found.read_bytes()).decode()
        url = f"data:{cls.kind}/{found.suffix[1:].lower()};base64,{data}"
        return url if only_content else f"<_{cls.kind}_>{url}</_{cls.kind}_>"

    @classmethod
    def save(cls, data: str, path: str, *, fix_suffix: bool = False) -> str:
        """Write a data URL to a file, and return its path."""
        head, separator, body = data.partition(";base64,")
        if not separator or not head.startswith(f"data:{cls.kind}/"):
            raise ValueError(f"The data is not a data URL of the type {cls.kind}.")
        target = Path(path)
        target = target.with_suffix(f".{head.partition('/')[2]}") if fix_suffix else target
        target.write_bytes(base64.b64decode(body))
        return str(target)

    @classmethod
    def paths(cls, text: str, *names: str, to_base64: bool = False) -> list[str]:
        """Return the paths between the tags of a text."""
        tags = {f"<_{name}_>" for name in names}
        found = [
            tag.content.strip()
            for tag in TagExtractor(text).extract().content
            if tag.start_tag in tags
            and isinstance(tag.content, str)
            and not tag.content.startswith(f"data:{cls.kind}/")
        ]
        return [cls.load(path) for path in found] if to_base64 else found

    def has(self) -> bool:
        """Return whether the text has such a tag."""
        opening = f"<_{self.kind}_>"
        return any(tag.start_tag == opening and tag.end_tag for tag in self.extract().content)

    def to_content(self) -> list[dict[str, str]]:
        """Return the media and the rest of the text, each as an object."""
        text, found = separated(self.text, self.kind)
        return [*({self.kind: each} for each in found), *([{"text": text}] if text or self.kind == "image" else [])]


class Image(_Tagged):
    """Images in prompts."""

    kind = "image"

    def has_image(self) -> bool:
        """Return whether the text has an image."""
        return self.has()

    @staticmethod
    def load_image_from_path(path: str, only_content: bool = False) -> str:
        """Return an image as a data URL, inside `<_image_>` unless only the URL is wanted."""
        return Image.load(path, only_content=only_content)

    @staticmethod
    def save_image_to_path(image_data: str, output_path: str, auto_fix_suffix: bool = False) -> str:
        """Write an image's data URL to a file, and return its path."""
        return Image.save(image_data, output_path, fix_suffix=auto_fix_suffix)

    @staticmethod
    def extract_image_paths(text: str, to_base64: bool = False) -> list[str]:
        """Return the paths between the tags `<_image_>` and `<_img_>` of a text."""
        return Image.paths(text, "image", "img", to_base64=to_base64)

    @staticmethod
    def convert_image_paths_from(text: str, start_tag: str = "<img>", end_tag: str = "</img>") -> str:
        """Return a text with `<_image_>` in the place of other tags around paths."""
        first, *others = text.split(start_tag)
        pairs = [(other.partition(end_tag), other) for other in others]
        return first + "".join(
            f"<_image_>{path.strip()}</_image_>{rest}" if end else start_tag + other
            for (path, end, rest), other in pairs
        )


class Audio(_Tagged):
    """Audio in prompts."""

    kind = "audio"

    def has_audio(self) -> bool:
        """Return whether the text has audio."""
        return self.has()

    @staticmethod
    def load_audio_from_path(path: str, only_content: bool = False) -> str:
        """Return audio as a data URL, inside `<_audio_>` unless only the URL is wanted."""
        return Audio.load(path, only_content=only_content)

    @staticmethod
    def save_audio_to_path(audio_data: str, output_path: str, auto_fix_suffix: bool = False) -> str:
        """Write an audio's data URL to a file, and return its path."""
        return Audio.save(audio_data, output_path, fix_suffix=auto_fix_suffix)

    @staticmethod
    def extract_audio_paths(text: str, to_base64: bool = False) -> list[str]:
        """Return the paths between the tags `<_audio_>` of a text."""
        return Audio.paths(text, "audio", to_base64=to_base64)


def separated(text: str, kind: str) -> tuple[str, list[str]]:
    r"""Return a text without the media in it, and their URLs.

    Args:
        text: a prompt.
        kind: `image` or `audio`.

    Example:
        >>> separated("<_image_>data:image/png;base64,AA==</_image_>\nWhat is this?", "image")
        ('What is this?', ['data:image/png;base64,AA=='])
    """
    pattern = re.compile(rf"<_{kind}_>\s*(data:{kind}/[^<>\s]*|https?://[^<>\s]*)\s*</_{kind}_>")
    return pattern.sub("", text).strip(), pattern.findall(text)


def parts(text: str) -> str | list[Any]:
    """Return a prompt as the content of a message: media in tags become parts, a text without any stays as it is."""
    rest, images = separated(text, "image")
    rest, audio = separated(rest, "audio")
    if not images and not audio:
        return text
    found: list[Any] = [*map(media.image, images), *map(media.audio, audio)]
    return [*found, {"type": "text", "text": rest}] if rest else found
