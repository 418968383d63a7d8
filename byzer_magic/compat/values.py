"""The types of `byzerllm.types`: single values as models, and paths of media that are put into prompts."""

from __future__ import annotations

from pydantic import BaseModel

from byzer_magic.compat.tags import Audio, Image


class Bool(BaseModel):
    """True or false."""

    value: bool


class Int(BaseModel):
    """A whole number."""

    value: int


class Float(BaseModel):
    """A number."""

    value: float


class ImagePath(BaseModel):
    """The path of an image; in a template, it stands for the image."""

    value: str

    def __str__(self) -> str:
        """Return the image inside its tag."""
        return Image.load_image_from_path(self.value)


class AudioPath(BaseModel):
    """The path of audio; in a template, it stands for the audio."""

    value: str

    def __str__(self) -> str:
        """Return the audio inside its tag."""
        return Audio.load_audio_from_path(self.value)
