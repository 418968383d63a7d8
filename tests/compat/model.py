"""A model that does what prompts ask for: the test provider, with an answer that fits in the place of an echo.

    python tests/compat/model.py --port 8000

A JSON schema gets a value of it, a tool a call with arguments of its schema, tags and marks what is to be between them;
a response that was cut at its limit of tokens goes on in the next turn. Any key will do.
"""

from __future__ import annotations

import json
import re
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "servers"))

import openai_api
import schemas
from skeleton import serve

BODY: ContextVar[dict[str, Any]] = ContextVar("BODY")
STORY = "Once upon a time a cat sat on a warm stone and watched the river until the evening came and it slept."
GROUP = "<_group_><_question_>When is it?</_question_><_answer_>On the first of February.</_answer_></_group_>"
SCHEMA = re.compile(r"(\{.*\"properties\".*\})", re.DOTALL)
REASONS = re.compile("reason|r1")
"""In the name of a model that reasons."""
MARKS = re.compile(r"(<RESPONSE>).*(</RESPONSE>)", re.DOTALL)


def prompts(messages: list[dict[str, Any]]) -> list[str]:
    """Return what the user has said, message by message."""
    return [openai_api.last_text([message]) for message in messages if message["role"] == "user"]


def reply(messages: list[dict[str, Any]]) -> str:
    """Return the response to a conversation."""
    said = prompts(messages)
    text = said[-1]
    if found := SCHEMA.search(text):
        schema = json.loads(found[1])
        return json.dumps(schemas.value(schema))
    if "<_group_>" in text:
        return GROUP
    if "<REGEX>" in text:
        return "<REGEX>[a-z]+@[a-z]+</REGEX>"
    if "JSON" in text:
        one = {"full_name": "Zhang San", "age": 30, "occupation": "cook", "hobbies": ["chess"]}
        begun = str(messages[-1]["content"]) if messages[-1]["role"] == "assistant" else ""
        return f"{json.dumps(one)}]".removeprefix("{") if begun == "[{" else json.dumps(one)
    if marks := MARKS.search(said[0]):
        before = "".join(str(turn["content"]) for turn in messages if turn["role"] == "assistant")
        return f"{marks[1]}{STORY}{marks[2]}".removeprefix(before)
    return STORY


def answer_of(messages: list[dict[str, Any]]) -> str:
    """Return the knobs of the test provider that make this response."""
    tools = BODY.get().get("tools")
    if tools and messages[-1]["role"] == "user":
        wanted = "range" if re.search("month|月", prompts(messages)[-1]) else "now"
        names = [tool["function"]["name"] for tool in tools]
        return f"tool:{next((name for name in names if wanted in name), names[0])}"
    return f"say:{reply(messages)}"


class ReasoningAnswer(openai_api.Answer):
    """An answer with the field for reasoning in every delta, as DeepSeek has it."""

    async def send(self, delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> None:
        await super().send({"reasoning_content": None, **delta}, finish, index, **more)

    def frame(self, index: int) -> tuple[bytes, bytes]:
        before, after = super().frame(index)
        return before, after.replace(b"}", b',"reasoning_content":null}', 1)

    async def words(self) -> int | None:
        if REASONS.search(self.body["model"]):
            self.asked["think"] = "A cat would do."
        return await super().words()

    async def call_tool(self) -> int:
        """Call the tool with arguments of its schema."""
        tool = next(tool for tool in self.body["tools"] if tool["function"]["name"] == self.asked["tool"])
        parameters = tool["function"]["parameters"]
        arguments = json.dumps(schemas.value(parameters) or {})
        call = {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": self.asked["tool"], "arguments": arguments},
        }
        await self.send({"tool_calls": [call]})
        return 4


def install() -> None:
    """Put this model into the test provider."""
    check, last_text = openai_api.check, openai_api.last_text

    def checked(body: Any) -> None:
        check(body)
        BODY.set(body)

    def last(messages: list[dict[str, Any]]) -> str:
        last_text(messages)  # refuses broken images
        return answer_of(messages)

    globals()["prompts"] = lambda messages: [last_text([each]) for each in messages if each["role"] == "user"]
    openai_api.check = checked  # type: ignore[assignment]
    openai_api.last_text = last
    openai_api.Answer = ReasoningAnswer  # type: ignore[misc]


if __name__ == "__main__":
    install()
    serve(__doc__, openai_api.add_routes, models="more model names that it knows, with commas")
