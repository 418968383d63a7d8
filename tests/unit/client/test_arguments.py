"""What callers pass to a model: converted where its meaning is plain, else an error that names the argument."""

from __future__ import annotations

import asyncio
import collections
import datetime
import decimal
import enum
import fractions
import json
import pathlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from byzer_magic import types
from byzer_magic.capabilities import Capability
from byzer_magic.client.manager import Manager
from byzer_magic.client.model import Model
from byzer_magic.errors import ByzerError, CommandError
from byzer_magic.runtime.transport import attachments, protocol
from byzer_magic.types import Message
from tests.answering import Answering


class Colour(enum.Enum):
    RED = "red"


class Voice(enum.StrEnum):
    NOVA = "nova"


class Tool(pydantic.BaseModel):
    name: str
    strict: bool = True


class Sent(Manager):
    """A manager whose deployment keeps each request as it arrives: encoded as on the socket, and decoded."""

    def __init__(self, capability: Capability = Capability.CHAT) -> None:
        super().__init__()
        self._can = frozenset({capability})
        self.requests: list[Any] = []

    @property
    def connected(self) -> bool:
        return True

    def reach(self, alias: str, address: str = "auto") -> None:
        """Every deployment can be reached."""

    async def capabilities(self, _alias: str) -> frozenset[Capability]:
        return self._can

    async def ask(self, _alias: str, request: types.Request) -> AsyncIterator[Any]:
        light, _media = attachments.detach(request)
        arrived = msgspec.msgpack.decode(protocol.pack(light), type=type(request))
        json.dumps(arrived.options, allow_nan=False).encode()
        self.requests.append(arrived)
        if isinstance(request, types.EmbedRequest):
            rows = np.zeros((len(request.texts), 1), dtype="<f4")
            yield types.EmbeddingBatch(0, 1, rows.tobytes())
        elif isinstance(request, types.ChatRequest):
            yield types.ChatChunk("hi", finish="stop")


def asked(method: str, *given: Any, **more: Any) -> Any:
    """Return the request that a call of a method sends."""
    manager = Sent()
    getattr(Model("m", manager), method)(*given, **more)
    return manager.requests[-1]


def prompt(value: Any) -> Any:
    return asked("chat", value).messages[-1].content


# ---- prompts


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.array(["x"])[0], "x"),
        (np.array("x"), "x"),
        (pd.Series(["x"])[0], "x"),
        (7, "7"),
        (np.int64(7), "7"),
        (np.float64(0.5), "0.5"),
        (decimal.Decimal("0.50"), "0.50"),
        (Voice.NOVA, "nova"),
        ("a cut emoji \ud83d", "a cut emoji \ufffd"),
        ("a whole one \ud83d\ude00", "a whole one \U0001f600"),
        ("a byte of a file's name \udc80", "a byte of a file's name \ufffd"),
        ({"role": "user", "content": "x"}, "x"),
        (Message("user", "x"), "x"),
        (({"role": "user", "content": text} for text in "yx"), "x"),
        (pd.Series([{"role": "user", "content": "x"}]), "x"),
        ([{"role": np.str_("user"), "content": np.str_("x")}], "x"),
        ([{"role": "user", "content": 5}], "5"),
    ],
)
def test_chat_takes_what_is_plainly_a_prompt(value: Any, sent: str) -> None:
    assert prompt(value) == sent


@pytest.mark.parametrize(
    "missing",
    [None, float("nan"), np.nan, np.float32("nan"), pd.NA, pd.NaT, decimal.Decimal("nan"), np.datetime64("NaT")],
)
def test_chat_refuses_a_missing_value_and_names_its_place(missing: Any) -> None:
    for value, name in (
        (missing, "prompt is a missing value"),
        (
            [{"role": "user", "content": "x"}, {"role": "user", "content": missing}],
            r"messages\[1\]\.content is a missing value",
        ),
        ([{"role": "user", "content": [missing]}], r"messages\[0\]\.content\[0\] is a missing value"),
    ):
        with pytest.raises(CommandError, match=name):
            prompt(value)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"x", "prompt is b'x', a bytes, not a string"),
        (True, "prompt is True, a bool"),
        (pathlib.Path("x"), "prompt is .*, a PosixPath"),
        (datetime.date(2024, 1, 1), "prompt is .*, a date"),
        (object(), "prompt is .*, a object"),
        (len, "prompt is "),
        (["x"], r"messages\[0\] is 'x', which is not a message"),
        (pd.Series(["x"]), r"messages\[0\] is 'x', which is not a message"),
        (["the role of x"], r"messages\[0\] is 'the role of x', which is not a message"),
        ([{"role": "user", "content": "x"}, None], r"messages\[1\] is None, which is not a message"),
        (pd.DataFrame({"a": [1]}), "prompt is a DataFrame with several columns"),
        ([], "has no messages"),
        ([{"content": "x"}], "has no role"),
        ([{"role": "assistant", "tool_calls": "f()"}], r"messages\[0\]\.tool_calls is not a list"),
        ([{"role": "assistant", "tool_calls": [{"n": float("nan")}]}], r"messages\[0\]\.tool_calls\[0\]\.n is nan"),
    ],
)
def test_chat_refuses_what_is_not_a_prompt_and_names_it(value: Any, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        prompt(value)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_chat_takes_a_conversation_kept_in_a_frame_in_which_every_row_has_all_columns(missing: Any) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    frame = pd.DataFrame(
        [
            {"role": "user", "content": "a", "name": "Ann"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "content": "b", "tool_call_id": "c1"},
        ],
        dtype=object,
    )
    rows = frame.astype(object).where(frame.notna(), missing).to_dict("records")
    assert asked("chat", rows).messages == [
        Message("user", "a", name="Ann"),
        Message("assistant", tool_calls=[call]),
        Message("tool", "b", tool_call_id="c1"),
    ]
    if missing is not None:
        with pytest.raises(CommandError, match=r"messages\[0\]\.content is a missing value"):
            asked("chat", [{"role": "assistant", "content": missing, "tool_calls": missing}])


def test_chat_takes_answers_of_an_sdk_as_turns() -> None:
    class Answer(pydantic.BaseModel):
        role: str = "assistant"
        content: str | None = None
        refusal: str | None = None

    sent = asked("chat", [{"role": "user", "content": "a"}, Answer(content="b"), Message("user", "c")])
    assert [turn.content for turn in sent.messages] == ["a", "b", "c"]


@pytest.mark.parametrize("system", [float("nan"), b"x", ["x"], pd.NA])
def test_chat_refuses_a_system_prompt_that_is_not_a_text(system: Any) -> None:
    with pytest.raises(CommandError, match="system"):
        asked("chat", "x", system=system)


# ---- options


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.linspace(0, 1, 3)[1], 0.5),
        (np.int64(5), 5),
        (np.bool_(True), True),
        (np.str_("x"), "x"),
        (np.array(3), 3),
        (np.longdouble(0.5), 0.5),
        (np.array(["a", "b"]), ["a", "b"]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Index(["a"]), ["a"]),
        (("a", "b"), ["a", "b"]),
        ({"b", "a"}, ["a", "b"]),
        (collections.deque([1]), [1]),
        ({"a": 1}.values(), [1]),
        (decimal.Decimal("0.5"), 0.5),
        (fractions.Fraction(1, 2), 0.5),
        (Colour.RED, "red"),
        (Voice.NOVA, "nova"),
        (Tool(name="f"), {"name": "f", "strict": True}),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (np.datetime64("2024-01-02"), "2024-01-02"),
        (pd.Timestamp("2024-01-02"), "2024-01-02T00:00:00"),
        (uuid.UUID(int=0), "00000000-0000-0000-0000-000000000000"),
        (pathlib.Path("a/b"), "a/b"),
        (collections.OrderedDict(a=(1,)), {"a": [1]}),
        ({50256: -100}, {"50256": -100}),
        ("\ud83d", "\ufffd"),
    ],
)
def test_options_become_what_json_has_at_any_depth(value: Any, sent: Any) -> None:
    for given_, wanted in ((value, sent), ({"in": [value]}, {"in": [sent]})):
        found = asked("chat", "x", metadata=given_).options["metadata"]
        assert found == wanted
        assert json.loads(json.dumps(found, allow_nan=False)) is not None


def test_options_that_are_none_are_not_given_and_null_inside_them_is_kept() -> None:
    assert asked("chat", "x", seed=None, extra_body={"a": None}).options == {"extra_body": {"a": None}}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (float("nan"), r"tools\[0\]\.x is nan"),
        (np.float32("inf"), r"tools\[0\]\.x is inf"),
        (decimal.Decimal("-Infinity"), r"tools\[0\]\.x is -Infinity"),
        (10**30, r"tools\[0\]\.x is .*does not fit in 64 bits"),
        (b"x", r"tools\[0\]\.x is a bytes"),
        (pd.NaT, r"tools\[0\]\.x is a NaTType"),
        (pd.NA, r"tools\[0\]\.x is a NAType"),
        (1j, r"tools\[0\]\.x is a complex"),
        (print, r"tools\[0\]\.x is a builtin"),
        (Tool, r"tools\[0\]\.x is a ModelMetaclass"),
        (object(), r"tools\[0\]\.x is a object"),
        ({None: 1}, r"tools\[0\]\.x has the key None"),
        (np.array([1, np.nan]), r"tools\[0\]\.x\[1\] is nan"),
    ],
)
def test_options_that_json_does_not_have_are_named_by_their_place(value: Any, error: str) -> None:
    with pytest.raises(CommandError, match=error):
        asked("chat", "x", tools=[{"x": value}])


def test_options_that_contain_themselves_are_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(CommandError, match="nested too deeply"):
        asked("chat", "x", stop=loop)


# ---- timeouts


@pytest.mark.parametrize(
    ("value", "sent"),
    [(np.float64(30), 30.0), ("30", 30.0), (np.int64(3), 3.0), (float("inf"), None), (None, None),
     (datetime.timedelta(minutes=1), 60.0), (np.timedelta64(30, "s"), 30.0), (np.timedelta64(1500, "ms"), 1.5),
     (np.timedelta64(2_000_000_000, "ns"), 2.0), (pd.Timedelta("30s"), 30.0), (np.array(3), 3.0)],
)  # fmt: skip
def test_timeout_is_a_number_of_seconds(value: Any, sent: float | None) -> None:
    assert asked("chat", "x", timeout=value).timeout == sent


@pytest.mark.parametrize(
    "value",
    [0, -1, float("nan"), "soon", "", [], True, pd.NaT, pd.NA, 1j, b"x", b"20", np.bool_(True), np.timedelta64("NaT"),
     np.datetime64("NaT"), np.timedelta64(-1, "s")],
)  # fmt: skip
def test_timeout_that_is_not_a_number_above_zero_is_refused(value: Any) -> None:
    for method in ("chat", "embed", "speak", "image"):
        with pytest.raises(CommandError, match="timeout is "):
            asked(method, "x", timeout=value)


# ---- the other capabilities


@pytest.mark.parametrize(
    "texts", [pd.Series(["a", "b"]), pd.Index(["a", "b"]), np.array(["a", "b"]), ("a", "b"), iter("ab")]
)
def test_embed_takes_any_sequence_of_texts(texts: Any) -> None:
    assert asked("embed", texts).texts == ["a", "b"]


def test_rerank_takes_any_sequence_of_documents() -> None:
    assert asked("rerank", np.str_("q"), pd.Series(["a", "b"], index=[5, 9]), top_n=np.int64(1)).options == {"top_n": 1}


@pytest.mark.parametrize("bad", [None, float("nan"), pd.NA, 3, b"b", ["b"]])
def test_texts_name_the_index_of_what_is_not_a_text(bad: Any) -> None:
    for call in (lambda: asked("embed", ["a", bad]), lambda: asked("rerank", "q", ["a", bad])):
        with pytest.raises(CommandError, match=r"Text 1 of 2 is .*, a "):
            call()


@pytest.mark.parametrize("bad", [None, float("nan"), {"a": "b"}, b"b", pd.DataFrame({"a": ["x"]}), object()])
def test_texts_that_are_no_sequence_are_refused_by_name(bad: Any) -> None:
    with pytest.raises(CommandError, match=r"^texts (is|has)"):
        asked("embed", bad)
    with pytest.raises(CommandError, match=r"^documents (is|has)"):
        asked("rerank", "q", bad)


@pytest.mark.parametrize("bad", [None, float("nan"), pd.NA, b"x", ["x"]])
def test_speak_image_and_rerank_name_the_text_that_is_none(bad: Any) -> None:
    for name, call in (
        ("text", lambda: asked("speak", bad)),
        ("prompt", lambda: asked("image", bad)),
        ("query", lambda: asked("rerank", bad, ["a"])),
    ):
        with pytest.raises(CommandError, match=f"^{name} "):
            call()


@pytest.mark.parametrize("bad", ["hello", None, {"messages": []}, types.ChatRequest])
def test_ask_refuses_what_is_not_a_request(bad: Any) -> None:
    with pytest.raises(CommandError, match="not a request type of byzer_magic"):
        asked("ask", bad)


def test_ask_checks_a_request_made_by_hand() -> None:
    made = types.ChatRequest(messages="x", options={"stop": ("a",), "temperature": np.float32(0.5)}, timeout="3")  # type: ignore[arg-type]
    sent = asked("ask", made)
    assert (sent.messages, sent.timeout) == ([Message("user", "x")], 3.0)
    assert sent.options == {"stop": ["a"], "temperature": 0.5}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: asked("chat", "x", image=[None]), r"^image\[0\] is a missing value"),
        (lambda: asked("chat", "x", image=float("nan")), r"^image is a missing value"),
        (
            lambda: asked("image", "x", images=pd.Series(["a.png", None], dtype=object)),
            r"^(Cannot read a.png|image\[1\] is a missing value)",
        ),
        (lambda: asked("chat", "x", extra_headers=[1]), r"^extra_headers is \[1\], which is not a mapping"),
        (lambda: asked("chat", "x", extra_body="x"), r"^extra_body is 'x', which is not a mapping"),
        (lambda: asked("chat", "x", extra_headers={"X-Team": "\u7ec4"}), r"^extra_headers \(X-Team\) has a character"),
        (lambda: asked("embed", {"a", "b"}), r"^texts is .*, a set(.|\n)*sorted"),
        (
            lambda: prompt([{"role": "user", "content": [{"type": "text", "text": None}]}]),
            r"content\[0\]\.text is a missing",
        ),
    ],
)
def test_other_arguments_are_named_too(call: Callable[[], object], error: str) -> None:
    with pytest.raises(CommandError, match=error):
        call()


# ---- anything, to every method

scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(), max_size=5),
    st.sampled_from(["\ud83d", "x\udc80", "", " ", "role", "3", "data:image/png;base64,x"]),
    st.binary(max_size=5),
    st.decimals(),
    st.complex_numbers(),
    st.dates(),
    st.timedeltas(),
    st.floats(width=32).map(np.float32),
    st.integers(-9, 9).map(np.int64),
    st.booleans().map(np.bool_),
    st.text(max_size=3).map(np.str_),
    st.sampled_from(
        [pd.NA, pd.NaT, np.datetime64("NaT"), Colour.RED, Voice.NOVA, Tool(name="x"), Tool, pathlib.Path("x")]
    ),
    st.sampled_from(
        [object(), len, Message("user", "x"), Message("user", float("nan")), types.Media("image/png", b"x")]
    ),
    st.sampled_from([pd.DataFrame({"role": ["user"], "content": [1.0]}), pd.Series([1.0, None]), np.zeros((2, 2))]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.lists(inner, max_size=3).map(iter),
        st.lists(inner, max_size=3).map(lambda items: pd.Series(items, dtype=object)),
        st.dictionaries(st.sampled_from(["role", "content", "type", "text", "image_url", 5]), inner, max_size=4),
        st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "x"]), "content": inner}),
    ),
    max_leaves=6,
)


async def _all(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


CALLS: dict[str, Callable[[Model, Any, dict[str, Any]], object]] = {
    "chat": lambda model, value, more: model.chat(value, **more),
    "chat with a system prompt": lambda model, value, more: model.chat("x", system=value, **more),
    "chat with an image": lambda model, value, more: model.chat("x", image=value, **more),
    "chat with audio": lambda model, value, more: model.chat("x", audio=value, **more),
    "stream": lambda model, value, more: list(model.stream(value, **more)),
    "achat": lambda model, value, more: asyncio.run(model.achat(value, **more)),
    "astream": lambda model, value, more: asyncio.run(_all(model.astream(value, **more))),
    "embed": lambda model, value, more: model.embed(value, **more),
    "aembed": lambda model, value, more: asyncio.run(model.aembed(value, **more)),
    "rerank a query": lambda model, value, more: model.rerank(value, ["a"], **more),
    "rerank documents": lambda model, value, more: model.rerank("q", value, **more),
    "speak": lambda model, value, more: model.speak(value, **more),
    "image": lambda model, value, more: model.image(value, **more),
    "image to edit": lambda model, value, more: model.image("x", images=value, **more),
    "transcribe": lambda model, value, more: model.transcribe(value, **more),
    "ask": lambda model, value, more: model.ask(value),
    "ask by hand": lambda model, value, more: model.ask(
        types.ChatRequest(messages=value, options=value, timeout=value)
    ),
}


@pytest.fixture(scope="module", autouse=True)
def _elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))  # texts are paths, too
        yield


@pytest.mark.parametrize("call", CALLS)
@given(value=anything, option=anything, timeout=st.none() | scalars)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_value_is_sent_or_refused_by_an_error_of_the_package(
    call: str, value: Any, option: Any, timeout: Any
) -> None:
    try:
        CALLS[call](Model("m", Sent()), value, {"option": option, "timeout": timeout})
    except ByzerError as err:
        str(err).encode()


def test_what_belongs_elsewhere_is_told_where() -> None:
    model = Model("m", Answering("hello"))

    def weather(city: str) -> str:
        return city

    with pytest.raises(CommandError) as caught:
        list(model.stream("hi", schema=Colour))
    assert "achat" in caught.value.hint
    with pytest.raises(CommandError) as caught:
        model.chat("hi", tools=weather)
    assert "tools=[" in caught.value.hint
