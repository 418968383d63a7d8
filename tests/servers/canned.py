"""A provider for the screenshots: OpenAI's chat completions, with prepared answers for one question.

    python tests/servers/canned.py --port 8000

What a model answers depends on its name and on the language of the question. No key is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
from typing import Any

from aiohttp import web

TOKEN = re.compile(r"\s*\w{1,8}|\s*[^\w\s]|\s+", re.ASCII)
SECONDS_PER_TOKEN = {"gpt-4o": 0.012, "deepseek-chat": 0.02, "qwen-max": 0.016}
ANSWERS = {
    "en": {
        "gpt-4o": (
            "Air molecules scatter **short wavelengths** far more than long ones: the strength grows with "
            "$1/\\lambda^4$ (*Rayleigh scattering*). So blue light reaches your eyes from every direction, while red "
            "passes almost straight through."
        ),
        "deepseek-chat": (
            "Sunlight contains all colors. As it crosses the atmosphere, gas molecules redirect mostly the blue part, "
            "so the whole sky glows blue.\n\n- **Noon:** short path, blue sky\n- **Sunset:** long path, red sky"
        ),
        "qwen-max": (
            "Because of **Rayleigh scattering**: nitrogen and oxygen scatter blue light (about 450 nm) some four times "
            "as much as red light (about 650 nm). Violet is scattered even more, but our eyes are less sensitive to it."
        ),
        "judge": (
            "All three describe Rayleigh scattering correctly. **{qwen-max}** is the most complete: it gives the ratio "
            "and explains why the sky is not violet. **{deepseek-chat}** is the easiest to read. Best: **{qwen-max}**."
        ),
    },
    "zh": {
        "gpt-4o": (
            "空气分子对**短波长**的光散射得多得多，强度与 $1/\\lambda^4$ 成正比（*瑞利散射*）。"
            "所以蓝光从四面八方进入眼睛，红光则几乎直接穿过。"
        ),
        "deepseek-chat": (
            "阳光里有各种颜色。穿过大气时，气体分子主要改变蓝光的方向，于是整个天空呈蓝色。\n\n"
            "- **正午：** 路径短，天空蓝\n- **日落：** 路径长，只剩红光"
        ),
        "qwen-max": (
            "因为**瑞利散射**：氮和氧对蓝光（约 450 nm）的散射大约是红光（约 650 nm）的四倍。"
            "紫光散射得更多，但人眼对它不敏感。"
        ),
        "judge": (
            "三个回答都正确说明了瑞利散射。**{qwen-max}** 最完整：给出了比例，还解释了天空为什么不是紫色。"
            "**{deepseek-chat}** 最好读。最佳：**{qwen-max}**。"
        ),
    },
}


def answer(model: str, messages: list[dict[str, Any]]) -> str:
    """Return the prepared answer."""
    question = str(messages[-1]["content"])
    known = ANSWERS["zh" if re.search(r"[\u4e00-\u9fff]", question) else "en"]
    letters = dict(re.findall(r'<answer id="(\w)">\n(.{12})', question))
    if not letters:
        return known[model]
    names = {name: letter for letter, begin in letters.items() for name in known if known[name].startswith(begin)}
    return known["judge"].format_map(names)


async def chat(request: web.Request) -> web.StreamResponse:
    """Stream an answer, token by token."""
    body = await request.json()
    tokens = TOKEN.findall(answer(body["model"], body["messages"]))
    usage = {"prompt_tokens": 16, "completion_tokens": len(tokens), "total_tokens": 16 + len(tokens)}
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    pause = SECONDS_PER_TOKEN.get(body["model"], 0.02)
    await asyncio.sleep(pause * 12)
    for token in tokens:
        await _send(response, head | {"choices": [{"index": 0, "delta": {"content": token}, "finish_reason": None}]})
        await asyncio.sleep(pause * random.uniform(0.6, 1.4))
    await _send(response, head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    await _send(response, head | {"choices": [], "usage": usage})
    await response.write(b"data: [DONE]\n\n")
    return response


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n".encode())


async def health(_: web.Request) -> web.Response:
    """Report that the server is up."""
    return web.json_response({"ok": True})


def main() -> None:
    """Serve on loopback until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/health", health)
    web.run_app(app, host="127.0.0.1", port=parser.parse_args().port, print=None)


if __name__ == "__main__":
    main()
