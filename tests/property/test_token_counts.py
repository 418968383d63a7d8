"""Lower bounds of token counts against real tokenizers: a prompt that was read is never taken for a truncated one."""

from __future__ import annotations

import base64
import functools
import json
import random
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mistral_common
import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.routing import token_counts
from byzer_magic.types import ChatRequest, Media, Message

Count = Callable[[str], int]

ROOT = Path(__file__).parents[2]
CLIENTS = Path(sys.prefix) / "clients"
"""What `make clients` installs: LiteLLM has tokenizers of OpenAI in its package."""
LANGUAGES = {
    "English": "The harbour was quiet that morning, and only the gulls knew that a storm would come by noon. ",
    "German": "Die Geschwindigkeitsbegrenzung auf der Autobahn wurde gestern überraschenderweise wieder aufgehoben. ",
    "French": "Les élèves de l'école voisine ont planté une centaine d'arbres le long de la rivière cet automne. ",
    "Spanish": "Mi abuela guardaba las recetas en una caja de madera que nadie se atrevía a abrir sin su permiso. ",
    "Polish": "Wczoraj wieczorem znaleźliśmy w piwnicy starą skrzynię pełną listów z początku ubiegłego wieku. ",
    "Finnish": "Kesäisin järvenrannan mökillä luetaan vanhoja seikkailukirjoja ja paistetaan muurinpohjalettuja. ",
    "Turkish": "Köyün öbür ucundaki değirmende çalışanlar bu yılki hasadın geçen yıldan iyi olacağını söylüyorlar. ",
    "Vietnamese": "Sáng nay trời mưa to nên cả nhà tôi ở lại trong bếp, vừa uống trà vừa kể chuyện ngày xưa. ",
    "Russian": "На прошлой неделе в городской библиотеке открылась выставка старинных географических карт. ",
    "Greek": "Το καράβι έφυγε νωρίς το πρωί και κανείς στο νησί δεν ήξερε πότε θα ξαναγυρίσει στο λιμάνι. ",
    "Arabic": "وصل القطار متأخرا بسبب الأمطار الغزيرة التي هطلت طوال الليل على المدينة القديمة. ",
    "Hebrew": "בערב שבת התכנסו כל בני המשפחה סביב השולחן וסיפרו על המסע הארוך שעשו בקיץ האחרון. ",
    "Hindi": "गाँव के बाहर एक पुराना कुआँ है जिसका पानी गर्मियों में भी कभी नहीं सूखता। ",
    "Thai": "เมื่อวานนี้ฝนตกหนักมากจนน้ำท่วมถนนหน้าบ้านของเราและรถทุกคันต้องหยุดรอ ",
    "Chinese": "昨天傍晚，我们沿着江边走了很久，直到对岸的灯一盏一盏亮起来，才想起还没有吃晚饭。",
    "Taiwanese": "圖書館的閉館時間改到晚上九點，借書證請在櫃檯辦理，逾期的書籍每天收取滯納金。",
    "Japanese": "駅前の古い喫茶店は来月で閉まるそうなので、週末にもう一度コーヒーを飲みに行くつもりです。",
    "Korean": "어제 산에서 내려오는 길에 비를 만나서 작은 절의 처마 밑에서 한 시간쯤 기다렸습니다. ",
}
SENTENCES = [*LANGUAGES.values()]
FOLDERS = {"byzer_magic/runtime": "*.py", "byzer_magic/widgets/static": "*.js", "docs": "*.md", "docs/zh": "*.md"}
FILES = [
    path.read_text(encoding="utf-8")
    for folder, pattern in FOLDERS.items()
    for path in sorted((ROOT / folder).glob(pattern))[:12]
]
EMOJI = [*"😀😂🔥🎉👍🙏🚀🐍🍎", "❤️", "👩‍💻", "🏳️‍🌈", "👍🏽"]
SPACES = [" ", "\n", "\t", "\r\n", "\n\n    ", "\u3000", "\u00a0"]
Rng = random.Random


def of_file(rng: Rng) -> str:
    text = rng.choice(FILES)
    start = rng.randrange(max(1, len(text) - 800))
    return text[start : start + 800]


def as_json(rng: Rng) -> str:
    return json.dumps({"id": rng.randrange(999), "n": [rng.random()], "ok": True, "t": None})


def any_characters(rng: Rng) -> str:
    return chr(rng.choice([rng.randrange(32, 0x3000), rng.randrange(0x10000, 0x20000)]))


PIECES: dict[str, Callable[[Rng], str]] = {
    "languages": lambda rng: rng.choice(SENTENCES),
    "file": of_file,
    "capitals": lambda rng: rng.choice(SENTENCES).upper(),
    "base64": lambda rng: base64.b64encode(rng.randbytes(600)).decode(),
    "lines of base64": lambda rng: base64.encodebytes(rng.randbytes(600)).decode(),
    "hex": lambda rng: rng.randbytes(200).hex(),
    "uuids": lambda rng: f"{uuid.UUID(int=rng.getrandbits(128))}\n",
    "integers": lambda rng: f"{rng.randrange(10 ** rng.randrange(1, 20))}, ",
    "table": lambda rng: f"{rng.random():.4f},{rng.gauss(0, 9):.2f},{rng.randrange(9)}\n",
    "JSON": as_json,
    "emoji": lambda rng: rng.choice(EMOJI),
    "whitespace": lambda rng: rng.choice(SPACES),
    "indented": lambda rng: " " * rng.randrange(40) + rng.choice("xy1{;") + "\n",
    "rules": lambda rng: rng.choice("=-─━*~│") * rng.randrange(3, 90) + "\n",
    "any characters": any_characters,
}
"""Makes the next piece of a text."""
REPEATED = {
    "language": SENTENCES,
    "character": [*"a A0=-_.#*~ \n\t哈啊的あー가ㅋ한ะ😂─●é"],
    "word": ["ha", "the ", "No! ", "</div>", "好的", "はい", "()[]"],
}
"""Of which one is all of a text."""


def made(kind: str, seed: int, size: int) -> str:
    """Return a text of so many characters."""
    rng = random.Random(seed)
    piece = PIECES.get(kind) or functools.partial(lambda one, _rng: one, rng.choice(REPEATED.get(kind, [""])))
    found = ""
    while len(found) < size:
        found += piece(rng)
    return found[:size]


@functools.cache
def tokenizers() -> dict[str, Count]:
    """Return the number of tokens of a text, by models: those of GPT-4o, Mistral Nemo and Llama 2."""
    assert CLIENTS.exists(), "the clients are not installed; run: make clients"
    [folder] = CLIENTS.glob("lib/python*/site-packages/litellm/litellm_core_utils/tokenizers")
    import sentencepiece
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    of_mistral = Path(mistral_common.__file__).parent / "data"
    tekken = Tekkenizer.from_file(of_mistral / "tekken_240911.json")
    llama: Any = sentencepiece.SentencePieceProcessor(model_file=str(of_mistral / "tokenizer.model.v1"))
    return {
        "o200k_base": _tiktoken("o200k_base", folder),
        "tekken": lambda text: len(tekken.encode(text, bos=False, eos=False)),
        "llama": lambda text: len(llama.encode(text)),
    }


def _tiktoken(name: str, folder: Path) -> Count:
    import tiktoken

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
        encoding = tiktoken.get_encoding(name)
    return lambda text: len(encoding.encode(text, disallowed_special=()))


parts = st.tuples(st.sampled_from([*PIECES, *REPEATED]), st.integers(0, 2**32), st.integers(150, 900))


def conversation(texts: list[str]) -> ChatRequest:
    """A conversation with media and tools, of which the tokens are unknown, and thoughts that no model gets again."""
    tool = {"type": "function", "function": {"name": "f", "parameters": {"description": "word " * 2000}}}
    turns = []
    for number, text in enumerate(texts):
        if number % 3 == 1:
            turns.append(Message("assistant", f"<think>{'So I thought. ' * 1000}</think>{text}"))
        else:
            image = Media("image/png", b"x" * 50_000)
            url = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 50_000}}
            turns.append(Message("user", [{"type": "text", "text": text}, image, url]))
    return ChatRequest(messages=turns, options={"tools": [tool]})


@settings(max_examples=500)
@given(st.lists(parts.map(lambda part: made(*part)), min_size=2, max_size=6))
def test_prompt_that_was_read_is_not_taken_for_a_truncated_one(texts: list[str]) -> None:
    request, least = conversation(texts), token_counts.at_least("\n".join(texts))
    for name, count in tokenizers().items():
        tokens = sum(map(count, texts))
        assert token_counts.truncated_from(request, tokens) == 0, name
        assert tokens >= least * 0.75, name  # the alarm is for fewer


USUAL = {kind: made(kind, 0, 4000) for kind in ("file", "base64", "JSON", "table")} | {
    language: LANGUAGES[language]
    for language in ("English", "French", "Spanish", "Chinese", "Japanese", "Korean", "Russian")
}


@pytest.mark.parametrize("kind", USUAL)
def test_prompt_of_which_a_quarter_was_read_is_truncated(kind: str) -> None:
    for name in ("o200k_base", "tekken"):  # earlier ones need more tokens for most languages
        tokens = tokenizers()[name](USUAL[kind])
        request = ChatRequest(messages=[Message("user", USUAL[kind] * (7_900 // tokens + 1))])
        assert token_counts.truncated_from(request, 2_050), name


def test_long_prompt_is_looked_at_in_parts() -> None:
    text = "".join(FILES)
    assert len(text) > 5 * token_counts.PIECE * token_counts.MOST_PIECES
    parts = [text[start : start + 10_000] for start in range(0, len(text), 10_000)]
    assert token_counts.at_least(text) == pytest.approx(sum(map(token_counts.at_least, parts)), rel=0.1)
    assert token_counts.at_least("") == 0
