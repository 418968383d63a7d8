"""DashScope's schema: conversations to it, our errors from it."""

from __future__ import annotations

import pytest

from byzer_magic import errors
from byzer_magic.backends.dashscope import schema
from byzer_magic.backends.http.errors import Endpoint
from byzer_magic.types import Media, Message


def test_audio_video_and_native_parts_are_converted() -> None:
    turn = Message(
        "user",
        [
            Media("audio/wav", b"RIFF"),
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            {"type": "video_url", "video_url": {"url": "https://host/v.mp4"}},
            {"image": "oss://bucket/a.png"},
        ],
    )
    assert schema.messages([turn], parts=True)[0]["content"] == [
        {"audio": "data:audio/wav;base64,UklGRg=="},
        {"audio": "data:audio/mp3;base64,AAAA"},
        {"video": "https://host/v.mp4"},
        {"image": "oss://bucket/a.png"},
    ]


@pytest.mark.parametrize(
    ("code", "sentence", "kind"),
    [
        ("Throttling.AllocationQuota", "Allocated quota exceeded", errors.RateLimited),
        ("Throttling", "Requests throttling triggered.", errors.RateLimited),
        ("InvalidParameter.DataInspection", "The media format is not supported", errors.BadRequest),
        ("InternalError.Algo.InvalidParameter", "Range of input length should be [1, 6000]", errors.ContextTooLong),
        ("InvalidParameter", "Model not exist.", errors.ModelNotFound),
        ("AllocationQuota.FreeTierOnly", "The free tier of the model is exhausted.", errors.AuthenticationFailed),
        ("InternalError", "An internal error has occured", errors.ProviderUnavailable),
        ("SystemError", "An system error has occured", errors.ProviderUnavailable),
    ],
)
def test_error_codes_without_status_select_the_class(code: str, sentence: str, kind: type[Exception]) -> None:
    endpoint = Endpoint("qwen-plus", "https://dashscope.aliyuncs.com/api/v1", patterns=schema.PATTERNS)
    error = schema.from_response({"code": code, "message": sentence, "request_id": "r"}, endpoint)
    assert type(error) is kind
    assert error.details["request_id"] == "r"


def test_error_event_is_read() -> None:
    endpoint = Endpoint("qwen-plus", "https://dashscope.aliyuncs.com/api/v1")
    text = 'id:1\nevent:error\n:HTTP_STATUS/429\ndata:{"code":"Throttling","message":"Slow down.","request_id":"r"}\n'
    error = schema.from_response(text, endpoint, 429, {})
    assert type(error) is errors.RateLimited
    assert error.message.endswith("(429): Slow down.")


@pytest.mark.parametrize("data", ["[" * 100_000, '{"a":' * 100_000, '{"code": ' + "1" * 5000 + "}"])
def test_error_in_an_event_is_read_whatever_it_is(data: str) -> None:
    error = schema.from_response(f"event:error\ndata:{data}", Endpoint("qwen-plus", "https://api.x.com/v1"), 400)
    assert isinstance(error, errors.BadRequest)
    assert len(error.message) < 1000
