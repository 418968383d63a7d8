"""Splitting long texts at sentences, and joining their audio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from hypothesis import given, strategies as st

from byzer_magic.backends.http.speech import audio_of, join_wav, split, synthesized
from byzer_magic.errors import BadRequest, ProviderUnavailable
from byzer_magic.media import wav
from byzer_magic.types import AudioChunk
from tests.budgets import within

TEXTS = st.text(st.sampled_from('ab 1.,!?。，！；…\n\u2028"”)你好😀é\u0301\u200d\ufe0f')) | st.text()


def utf8(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def squeezed(text: str) -> str:
    return "".join(text.split())


# ---- split


@given(TEXTS, st.integers(1, 40))
def test_split_parts_fit_and_lose_only_spaces(text: str, limit: int) -> None:
    pieces = split(text, limit)
    assert all(len(piece) <= limit for piece in pieces)
    assert all(piece == piece.strip() != "" for piece in pieces)
    assert squeezed("".join(pieces)) == squeezed(text)


@given(TEXTS, st.integers(4, 60))
def test_split_parts_fit_by_any_size(text: str, limit: int) -> None:
    pieces = split(text, limit, utf8)
    assert all(utf8(piece) <= limit for piece in pieces)
    assert squeezed("".join(pieces)) == squeezed(text)


@given(st.lists(st.sampled_from(["One two.", "Ist das so?", "Pi is 3.14!", "a.b.c is a name."]), min_size=1))
def test_split_keeps_sentences_that_fit(sentences: list[str]) -> None:
    pieces = split(" ".join(sentences), 16)
    assert " ".join(pieces) == " ".join(sentences)
    starts = {len(" ".join(pieces[:number])) for number in range(1, len(pieces) + 1)}
    assert starts <= {len(" ".join(sentences[:number])) for number in range(1, len(sentences) + 1)}


@given(st.lists(st.sampled_from(["今天下雨。", "真的吗？！", "“好的。”", "他说……"]), min_size=1))
def test_split_keeps_sentences_without_spaces(sentences: list[str]) -> None:
    pieces = split("".join(sentences), 18, utf8)
    ends = {len("".join(sentences[:number])) for number in range(1, len(sentences) + 1)}
    assert {len("".join(pieces[:number])) for number in range(1, len(pieces) + 1)} <= ends


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("", 5, []),
        (" \n ", 5, []),
        ("abc.  def.", 4, ["abc.", "def."]),
        ("aa bb. cc.", 9, ["aa bb.", "cc."]),
        ("aaa, bbb, ccc ddd", 10, ["aaa, bbb,", "ccc ddd"]),
        ("一二三，四五六七", 6, ["一二三，", "四五六七"]),
        ("1,234,567,890", 5, ["1,234", ",567,", "890"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("first line\nsecond line", 12, ["first line", "second line"]),
        ("aaé\u0301b", 3, ["aa", "é\u0301b"]),
        ("a👩\u200d🦰", 3, ["a", "👩\u200d🦰"]),
    ],
)
def test_split_positions(text: str, limit: int, pieces: list[str]) -> None:
    assert split(text, limit) == pieces


def test_split_keeps_a_character_above_the_limit() -> None:
    assert split("你好", 2, utf8) == ["你", "好"]


@pytest.mark.parametrize("text", ["." * 200_000 + "x", " " * 200_000, "a" * 200_000, "a, " * 70_000, "啊。" * 100_000])
def test_split_is_fast_for_long_texts(text: str) -> None:
    with within(5):
        split(text, 1000, utf8)


# ---- synthesized


async def clips(pieces: list[str], mime: str, files: dict[str, list[bytes]], header: str = "") -> list[AudioChunk]:
    async def send(piece: str) -> AsyncIterator[AudioChunk]:
        for block in files[piece]:
            yield AudioChunk(block, header)

    return [clip async for clip in synthesized(pieces, mime, send)]


FRAME = b"\xff\xf3\x64\xc4" + bytes(140)
"""A silent frame of MP3."""
LONG = FRAME * 15
"""More than a frame."""


@pytest.mark.parametrize("mime", ["audio/mpeg", "audio/pcm"])
async def test_synthesized_streams_concatenable_formats(mime: str) -> None:
    start = LONG if mime == "audio/mpeg" else b"\1\2" * 2000
    files = {"a": [start[:1000], b"", start[1000:], b"2"], "b": [start[:7], start[7:]]}
    found = await clips(["a", "b"], mime, files)
    assert [chunk.data for chunk in found] == [start[:1000], start[1000:], b"2", start]
    assert {chunk.mime for chunk in found} == {mime}


async def test_synthesized_single_part_may_have_any_format() -> None:
    assert await clips(["a"], "audio/flac", {"a": [b"fLaC", b"1"]}) == [AudioChunk(b"fLaC1", "audio/flac")]
    assert await clips(["a"], "audio/x-odd", {"a": [b"\1"]}) == [AudioChunk(b"\1", "audio/x-odd")]


SAMPLES = bytes(range(1, 200)) * 20


@pytest.mark.parametrize(
    ("data", "header", "asked", "mime"),
    [
        (wav.write(SAMPLES, 8000), "audio/mpeg", "audio/mpeg", "audio/wav"),
        (LONG, "audio/wav", "audio/wav", "audio/mpeg"),
        (LONG, "application/octet-stream", "audio/pcm", "audio/mpeg"),
        (b"OggS" + SAMPLES, "", "audio/mpeg", "audio/ogg"),
        (SAMPLES, "audio/mpeg", "audio/pcm", "audio/pcm"),
        (SAMPLES, "audio/basic", "audio/pcm;rate=16000", "audio/pcm;rate=16000"),
        (SAMPLES, "audio/L16; rate=16000", "audio/pcm", "audio/pcm; rate=16000"),
        (SAMPLES, "audio/x-wav", "audio/mpeg", "audio/wav"),
        (SAMPLES, "", "audio/mpeg", "audio/mpeg"),
    ],
)
async def test_synthesized_types_are_of_the_bytes_then_the_header_then_the_request(
    data: bytes, header: str, asked: str, mime: str
) -> None:
    for blocks in ([data], [data[:1], data[1:]], [data[at : at + 1000] for at in range(0, len(data), 1000)]):
        found = await clips(["a"], asked, {"a": blocks}, header)
        assert {clip.mime for clip in found} == {mime}
        assert b"".join(clip.data for clip in found) == data


@pytest.mark.parametrize("asked", ["audio/wav", "audio/mpeg"])
async def test_synthesized_joins_wav_also_where_mp3_was_asked_for(asked: str) -> None:
    first, second = wav.write(b"\1\0" * 10, 8000), wav.write(b"\2\0" * 5, 8000)
    (clip,) = await clips(["a", "b"], asked, {"a": [first[:20], first[20:]], "b": [second]}, "audio/mpeg")
    found = wav.chunks(clip.data)
    assert found
    assert (found.data, clip.mime) == (b"\1\0" * 10 + b"\2\0" * 5, "audio/wav")


async def test_synthesized_refuses_parts_of_several_formats() -> None:
    with pytest.raises(ProviderUnavailable, match="their formats differ"):
        await clips(["a", "b"], "audio/mpeg", {"a": [LONG], "b": [wav.write(SAMPLES, 8000)]})
    with pytest.raises(BadRequest, match="audio/flac files cannot be joined"):
        await clips(["a", "b"], "audio/mpeg", {"a": [b"fLaC"], "b": [b"fLaC"]})


def blocks_of(body: bytes, cut: int) -> AsyncIterator[bytes]:
    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), cut):
            yield body[start : start + cut]

    return blocks()


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b'{"error": "no such voice"}', "audio/mpeg"),
        (b"<html><title>Sign in</title></html>", "audio/mpeg"),
        (b"The model is overloaded, try later.", "application/octet-stream"),
        (b"{}", "application/json"),
        (b"\xff\xff oops", "text/plain; charset=utf-8"),
        (b"Internal Server Error", "audio/mpeg"),
        (b'{"error": {"message": "no such voice", "trace": "' + b"x" * 100_000 + b'"}}', "audio/mpeg"),
    ],
)
@pytest.mark.parametrize("cut", [1, 7, 20, 200_000])
async def test_audio_of_refuses_a_text_whatever_its_header_says(body: bytes, header: str, cut: int) -> None:
    with pytest.raises(LookupError) as caught:
        [chunk async for chunk in audio_of(blocks_of(body, cut), header, LookupError)]
    assert caught.value.args == (body,)


@pytest.mark.parametrize("cut", [1, 20, 1000])
async def test_audio_of_a_wav_file_without_samples_is_none(cut: int) -> None:
    found = [chunk async for chunk in audio_of(blocks_of(wav.write(b"", 8000), cut), "audio/wav", LookupError)]
    assert found == []
    found = [chunk async for chunk in audio_of(blocks_of(wav.write(b"12", 8000), cut), "audio/wav", LookupError)]
    assert b"".join(chunk.data for chunk in found) == wav.write(b"12", 8000)


@pytest.mark.parametrize("header", ["application/json", "text/plain", "audio/mpeg", ""])
async def test_audio_of_believes_the_bytes_before_the_header(header: str) -> None:
    async def blocks() -> AsyncIterator[bytes]:
        yield LONG
        yield b"more"

    found = [chunk async for chunk in audio_of(blocks(), header, LookupError)]
    assert found == [AudioChunk(LONG, header), AudioChunk(b"more", header)]


async def test_synthesized_rejects_joining_other_formats() -> None:
    with pytest.raises(BadRequest, match="audio/flac files cannot be joined"):
        await clips(["a", "b"], "audio/flac", {})


async def test_synthesized_rejects_empty_text() -> None:
    with pytest.raises(BadRequest, match="text to speak is empty"):
        await clips([], "audio/mpeg", {})


async def test_synthesized_closing_closes_the_request() -> None:
    closed = []

    async def send(piece: str) -> AsyncIterator[AudioChunk]:
        try:
            yield AudioChunk(LONG, "")
            yield AudioChunk(b"2", "")
        finally:
            closed.append(piece)

    async with aclosing(synthesized(["a", "b"], "audio/mpeg", send)) as found:  # type: ignore[type-var]
        assert await anext(found) == AudioChunk(LONG, "audio/mpeg")
    assert closed == ["a"]


# ---- WAV


def test_join_wav_reports_what_cannot_be_joined() -> None:
    with pytest.raises(ProviderUnavailable, match="one of them is not a WAV file"):
        join_wav([b"ID3 this is mp3", b"x"])
