"""What providers say about a failure, in the schemas that their documentation has; the sentences are our own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from byzer_magic.backends.http import reasons
from byzer_magic.backends.http.endpoint import Endpoint

BODIES: list[tuple[str, Any, str, str]] = [
    ("https://developers.openai.com/api/docs/guides/error-codes",
     {"error": {"message": "no such key here", "type": "invalid_request_error", "code": "invalid_api_key"}},
     "no such key here", "invalid_api_key"),
    ("https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter",
     {"error": {"message": "the prompt was filtered", "type": None, "param": "prompt", "code": "content_filter",
                "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
     "the prompt was filtered", "content_filter"),
    ("https://learn.microsoft.com/azure/api-management/api-management-error-handling-policies",
     {"statusCode": 401, "message": "the subscription key is missing"}, "the subscription key is missing", "401"),
    ("https://platform.claude.com/docs/en/api/errors",
     {"type": "error", "error": {"type": "overloaded_error", "message": "all busy"}, "request_id": "req_1"},
     "all busy", "overloaded_error"),
    ("https://github.com/google-gemini/gemini-cli/issues/12823",
     [{"error": {"code": 400, "message": "an argument is wrong", "errors": [{"message": "an argument is wrong",
      "domain": "global", "reason": "badRequest"}], "status": "INVALID_ARGUMENT"}}], "an argument is wrong", "400"),
    ("https://google.aip.dev/193",
     {"error": {"code": 403, "message": "the API is off", "status": "PERMISSION_DENIED", "details": [{
      "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]}}, "the API is off", "403"),
    ("https://github.com/lbjlaq/Antigravity-Manager/issues/1942",
     {"error": {"code": 400, "message": '{\n "error": {\n "message": "the inner argument is wrong"}}\n',
                "status": "UPSTREAM_ERROR"}}, "the inner argument is wrong", "400"),
    ("https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html",
     {"__type": "com.amazon.coral.service#ThrottlingException", "message": "too many at once"},
     "too many at once", "ThrottlingException"),
    ("https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html",
     {"Message": "the user is not allowed to"}, "the user is not allowed to", ""),
    ("https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html",
     '<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>not yours &amp; closed</Message></Error>',
     "not yours & closed", "AccessDenied"),
    ("https://www.alibabacloud.com/help/en/model-studio/error-code",
     {"code": "InvalidApiKey", "message": "that key is not valid", "request_id": "r-1"},
     "that key is not valid", "InvalidApiKey"),
    ("https://www.alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope",
     'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"InvalidParameter","message":"n is too large"}\n\n',
     "n is too large", "InvalidParameter"),
    ("https://www.alibabacloud.com/help/doc-detail/44729.htm",
     {"HostId": "", "Code": "InvalidParameter", "Message": "the format is not valid"},
     "the format is not valid", "InvalidParameter"),
    ("https://www.volcengine.com/docs/6561/79823",
     {"reqid": "1", "code": 3001, "operation": "query", "sequence": 0, "Message": "that voice is unknown"},
     "that voice is unknown", "3001"),
    ("https://www.volcengine.com/docs/6561/1598757",
     {"header": {"reqid": "1", "code": 45000000, "message": "speaker is not allowed"}},
     "speaker is not allowed", "45000000"),
    ("https://www.volcengine.com/docs/6369/68677",
     {"ResponseMetadata": {"RequestId": "1", "Error": {"Code": "InvalidAccessKey", "Message": "no such access key"}}},
     "no such access key", "InvalidAccessKey"),
    ("https://docs.bigmodel.cn/cn/api/rate-limit",
     {"error": {"code": "1302", "message": "您的并发太高"}}, "您的并发太高", "1302"),
    ("https://platform.minimax.io/docs/api-reference/errorcode",
     {"id": "0", "choices": None, "base_resp": {"status_code": 1004, "status_msg": "log in"}}, "log in", "1004"),
    ("https://support.huaweicloud.com/eu/apig_faq/apig-faq-180307001.html",
     {"error_code": "APIG.0101", "error_msg": "there is no such API", "request_id": "1"},
     "there is no such API", "APIG.0101"),
    ("https://support.huaweicloud.com/intl/en-us/api-apm/apm_04_0025.html",
     {"errorCode": "SVCSTG_AMS_4000001", "errorMessage": "a parameter is wrong"},
     "a parameter is wrong", "SVCSTG_AMS_4000001"),
    ("https://cloud.baidu.com/doc/BSC/s/gjwvy36x5",
     '{"success": false, "code": "NoSuchKey", "message": "{"global": "there is no such key"}"}', "{", ""),
    ("https://cloud.baidu.com/doc/BCC/s/Ojwvyo6nc",
     {"requestId": "1", "code": "NoSuchKey", "message": "no such thing"}, "no such thing", "NoSuchKey"),
    ("https://trtc.io/document/50107", {"Code": 2007, "Message": "there is no such project"},
     "there is no such project", "2007"),
    ("https://www.tencentcloud.com/document/api/213/30435",
     {"Response": {"Error": {"Code": "AuthFailure", "Message": "the signature is wrong"}, "RequestId": "1"}},
     "the signature is wrong", "AuthFailure"),
    ("https://docs.mistral.ai/resources/error-glossary",
     {"object": "error", "message": "that model is unknown", "type": "invalid_request_error", "code": "unknown_model"},
     "that model is unknown", "unknown_model"),
    ("https://docs.rs/crate/mistral-openapi-client/latest/source/src/models/http_validation_error.rs",
     {"object": "error", "message": {"detail": [{"loc": ["body", "temperature"], "msg": "is above 2", "type": "v"}]},
      "type": "invalid_request_error", "code": None}, "body.temperature: is above 2", "v"),
    ("https://docs.cohere.com/v1/reference/errors", {"message": "that token is wrong"}, "that token is wrong", ""),
    ("https://console.groq.com/docs/errors",
     {"error": {"message": "the tool call failed", "type": "invalid_request_error"}},
     "the tool call failed", "invalid_request_error"),
    ("https://github.com/continuedev/continue/issues/10778",
     {"code": "Client specified an invalid argument", "error": "that key is not ours"}, "that key is not ours", ""),
    ("https://openrouter.ai/docs/api/reference/errors-and-debugging",
     {"error": {"code": 429, "message": "Provider returned error", "metadata": {"provider_name": "V",
      "raw": '{"error":{"code":429,"message":"all slots are taken"}}'}}},
     "Provider returned error: all slots are taken", "429"),
    ("https://github.com/BerriAI/litellm/pull/1356",
     {"error": {"message": "AuthenticationError: Error code: 401 - {'error': {'message': 'that key is not known', "
                "'code': 'invalid_api_key'}}", "type": "None", "param": "None", "code": "401"}},
     "AuthenticationError: Error code: 401 - that key is not known", "invalid_api_key"),
    ("https://github.com/BerriAI/litellm/pull/30229",
     {"error": {"message": '{"type":"error","error":{"type":"authentication_error","message":"no such bearer"}}',
                "code": "401"}}, "no such bearer", "401"),
    ("https://github.com/BerriAI/litellm/issues/33055",
     {"result": None, "success": False, "errors": [{"code": 10000, "message": "not signed in"}], "messages": []},
     "not signed in", "10000"),
    ("https://raw.githubusercontent.com/api-evangelist/cloudflare-d1/refs/heads/main/json-schema/"
     "d1_api-response-common-failure.json",
     {"errors": [{"code": 7003, "message": "there is no route"}], "messages": [], "result": None, "success": False},
     "there is no route", "7003"),
    ("https://huggingface.co/fblgit/una-cybertron-7b-v2-bf16/discussions/10",
     {"error": "the limit is 1 token", "error_type": "validation"}, "the limit is 1 token", "validation"),
    ("https://docs.databricks.com/api/account/errors",
     {"error_code": "NOT_FOUND", "message": "there is no such endpoint", "details": [{
      "@type": "type.googleapis.com/google.rpc.RequestInfo", "request_id": "1"}]},
     "there is no such endpoint", "NOT_FOUND"),
    ("https://ibm.github.io/watsonx-ai-node-sdk/interfaces/0_1_x.WatsonXAI.ApiErrorResponse.html",
     {"errors": [{"code": "model_not_supported", "message": "that model is not offered"}],
      "trace": "1", "status_code": 404}, "that model is not offered", "model_not_supported"),
    ("https://github.com/Alishahryar1/free-claude-code/issues/1021",
     {"status": 404, "title": "Not Found", "detail": "that function is not of your account"},
     "that function is not of your account", "404"),
    ("https://www.rfc-editor.org/rfc/rfc9457",
     {"type": "https://example.com/probs/credit", "title": "Not enough credit.", "status": 403,
      "detail": "the balance is 30, but it costs 50"}, "the balance is 30, but it costs 50", "403"),
    ("https://www.rfc-editor.org/rfc/rfc6749#section-5.2",
     {"error": "invalid_client", "error_description": "there is no such client"},
     "there is no such client", "invalid_client"),
    ("https://docs.ollama.com/api/errors", {"error": "the model 'x' is not here"}, "the model 'x' is not here", ""),
    ("https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
     {"error": {"code": 503, "message": "still loading", "type": "unavailable_error"}}, "still loading", "503"),
    ("https://docs.ray.io/en/latest/serve/api/doc/ray.serve.llm.openai_api_models.ErrorResponse.html",
     {"message": "it failed (Request ID: 1)", "internal_message": "it failed", "code": 500, "type": "ServerError",
      "param": {}}, "it failed (Request ID: 1)", "500"),
    ("https://fastapi.tiangolo.com/tutorial/handling-errors/",
     {"detail": [{"type": "missing", "loc": ["body", "messages", 0], "msg": "is required", "input": {"a": "b"}}]},
     "body.messages.0: is required", "missing"),
    ("https://fastapi.tiangolo.com/reference/exceptions/", {"detail": "not for you"}, "not for you", ""),
    ("https://unstructured-io.github.io/unstructured/apis/validation_errors.html",
     {"detail": [{"loc": ["a"], "msg": "one is wrong", "type": "x"}, {"loc": ["b"], "msg": "two is odd", "type": "x"}]},
     "a: one is wrong; b: two is odd", "x"),
    ("https://docs.nestjs.com/exception-filters",
     {"statusCode": 400, "message": ["model must be text", "top_p is too large"], "error": "Bad Request"},
     "model must be text; top_p is too large", "400"),
    ("https://laravel.com/docs/12.x/validation#validation-error-response-format",
     {"errors": {"model": ["The model field is needed."]}}, "model: The model field is needed.", ""),
    ("https://docs.epay.eu/products/blocks/api-error-handling",
     {"errorCode": "VALIDATION_ERROR", "message": "the input is not valid", "errors": {"amount": ["is missing"]}},
     "the input is not valid", "VALIDATION_ERROR"),
    ("https://spec.graphql.org/October2021/#sec-Errors",
     {"data": None, "errors": [{"message": "there is no such field", "path": ["a"], "locations": [{"line": 1}]}]},
     "there is no such field", ""),
    ("https://docs.apigee.com/api-platform/fundamentals/fault-handling",
     {"fault": {"faultstring": "the quota is used up", "detail": {"errorcode": "policies.ratelimit.QuotaViolation"}}},
     "the quota is used up", ""),
    ("https://techdocs.akamai.com/identity-cloud-config/reference/api-errors",
     {"errors": "there is no such flow"}, "there is no such flow", ""),
    ("https://docs.sibill.com/en/basics/errors",
     {"errors": [{"code": "unauthorized", "detail": "who are you?", "title": "Unauthorized"}]},
     "who are you?", "unauthorized"),
    ("https://yandex.com/dev/distribution/doc/dg-v2/en/concepts/errors",
     {"result": "error", "data": "the form is not filled in"}, "the form is not filled in", ""),
    ("https://help.elevenlabs.io/hc/en-us/articles/19571824571921-API-Error-Code-429",
     {"detail": {"status": "system_busy", "message": "the system is busy"}}, "the system is busy", "system_busy"),
    ("https://docs.caiyunapp.com/en/weather-api/v2/v2.6/tables/errors.html",
     {"status": "failed", "error": "that token is unknown", "api_version": "2.6"}, "that token is unknown", ""),
    ("https://docs.spring.io/spring-boot/reference/web/servlet.html#web.servlet.spring-mvc.error-handling",
     {"timestamp": "2026-01-01", "status": 404, "error": "Not Found", "path": "/v1/chat"}, "Not Found", "404"),
    ("https://nginx.org/en/docs/http/ngx_http_core_module.html#error_page",
     "<html>\r\n<head><title>504 Gateway Time-out</title></head>\r\n<body></body></html>", "504 Gateway Time-out", ""),
    ("https://developers.cloudflare.com/support/troubleshooting/http-status-codes/",
     "error code: 1015", "error code: 1015", ""),
    ("https://www.envoyproxy.io/docs/envoy/latest/faq/debugging/why_is_envoy_sending_internal_responses",
     "upstream connect error or disconnect/reset before headers", "upstream connect error", ""),
    ("https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
     {"error": {"code": "invalid_parameter_error", "message": "<400> InternalError.Algo: the range is 1 to 8192"}},
     "<400> InternalError.Algo: the range is 1 to 8192", "invalid_parameter_error"),
    ("https://json-schema.org/draft/2020-12/json-schema-validation#name-minitems",
     {"error": {"message": "[] is too short - 'messages'"}}, "[] is too short - 'messages'", ""),
]  # fmt: skip
"""Where the schema is documented or quoted, a body of it, and what it says: sentence, and code or type."""


@pytest.mark.parametrize(
    ("body", "sentence", "code"), [row[1:] for row in BODIES], ids=[row[0].partition("//")[2][:50] for row in BODIES]
)
def test_of_finds_sentence_and_code(body: Any, sentence: str, code: str) -> None:
    found = reasons.of(body)
    assert sentence in found.sentence
    assert not code or code in (found.code, found.kind)
    assert "{'" not in found.sentence
    text = body if isinstance(body, str) else json.dumps(body)
    assert reasons.of(text.encode()) == reasons.of(text), "bytes and text are read alike"
    if not isinstance(body, str):
        assert reasons.of(text) == found


SENTENCES = [
    "<|im_end|> is not allowed here",
    "<nil> is no model",
    "<think> must be closed",
    "max_tokens must be < 4096 and > 1",
    '"messages" is a required field of the request',
    '"a" is not one of "b" and "c"',
    'Invalid schema: {"type":"object","description":"A city"} has no properties',
    'Invalid turn: {"role": "user", "content": "Hi", "title": "an own title"} comes twice',
    "{} is not of type 'array'",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_of_leaves_sentences_whole(sentence: str) -> None:
    for body in (sentence, {"error": {"message": sentence}}, {"detail": [{"msg": sentence}]}):
        assert reasons.of(body).sentence == sentence


SAID = [
    ("<html><script>a = '<title>code</title>'</script><title>Be back soon</title></html>", "Be back soon"),
    ("<html><body>Under <b>maintenance</b></body></html>", "Under maintenance"),
    ("<html></html>", "an HTML page"),
    ({"err": "it is full"}, "it is full"),
    ({"error": {"code": "full", "message": {"en": "It is full."}}}, "It is full."),
    ({"error": {"message": [{"text": "It is full."}]}}, "It is full."),
]


@pytest.mark.parametrize(("body", "sentence"), SAID)
def test_of_finds_the_sentence_of_unusual_bodies(body: Any, sentence: str) -> None:
    assert reasons.of(body).sentence == sentence


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error": {"code": "insufficient_quota", "message": ""}}, "insufficient_quota"),
        ({"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        ([{"error": {"code": "full"}}], "full"),
        ({"code": "ModelPaused"}, "ModelPaused"),
        ({"error": 42}, "42"),
        ({"error": {"message": 42}}, "42"),
    ],
)
def test_of_finds_the_code_without_a_sentence(body: Any, code: str) -> None:
    found = reasons.of(body)
    assert (found.sentence, found.code or found.kind) == ("", code)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, json.dumps(dict.fromkeys(map(str, range(200_000)), "x"))]
)
def test_of_shows_no_raw_json(text: str) -> None:
    assert reasons.of(text).sentence == ""


def test_table_has_many_sources() -> None:
    assert len({source for source, *_ in BODIES}) >= 50


@pytest.mark.parametrize(
    "body", [None, "", b"", {}, [], [None], "null", {"error": None}, {"error": {}}, {"choices": []}, {"message": ""}]
)
def test_of_nothing_is_empty(body: Any) -> None:
    assert reasons.of(body).sentence == ""


@pytest.mark.parametrize(
    "error", [None, False, "", {}, [], 0, {"code": 0, "message": ""}, {"code": None}, "null", "OK"]
)
def test_failed_is_false_for_what_answers_have(error: Any) -> None:
    assert not reasons.failed(error)
    assert not reasons.is_failure({"error": error, "data": []})


@pytest.mark.parametrize(
    "body",
    [
        {"type": "ping"},
        {"id": "x", "object": "chat.completion.chunk", "choices": [], "prompt_filter_results": [{"index": 0}]},
        {"code": 0, "msg": "success"},
        {"code": "Success", "message": "ok"},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"message": {"role": "assistant", "content": ""}},
        {"status": "processing", "message": "in the queue"},
    ],
)
def test_is_failure_is_false_for_what_streams_have(body: Any) -> None:
    assert not reasons.is_failure(body)


NAMES = ["error", "errors", "message", "msg", "detail", "code", "type", "status", "base_resp", "data", "loc"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=5),
    max_leaves=25,
)
NAMES = [
    "error",
    "errors",
    "message",
    "msg",
    "detail",
    "code",
    "type",
    "status",
    "base_resp",
    "data",
    "loc",
    "metadata",
]


@given(json_values)
def test_of_any_json_is_a_bounded_text(value: Any) -> None:
    found = reasons.of(value)
    assert len(found.sentence) <= reasons.MAX_CHARS
    assert "\n" not in found.sentence
    reasons.is_failure(value)


@given(st.binary(max_size=300) | st.text(alphabet='{}[]":,<>/ \\\n\ud83dtitle message', max_size=300))
def test_of_any_bytes_and_text_is_a_text(value: bytes | str) -> None:
    Endpoint("m", "https://h").redacted(reasons.of(value).sentence).encode()


PIECES = [
    "a", "{", "[", '"', "<", "<title", "<title>", "{'", "[{", "}", "***", "a*", "sk-", "data:", "data:x\n", '{"a":',
    "\\", '"message"', '"message":"', "&amp;", " ", "\ud83d",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_long_bodies_are_read_in_linear_time(piece: str) -> None:
    endpoint = Endpoint("m", "https://h", ("sk-" + "k" * 60,))
    text = piece * (1_000_000 // len(piece))  # a quadratic pattern takes minutes, more than a test may
    endpoint.redacted(reasons.of(text).sentence)
    endpoint.redacted(text)
    endpoint.redacted(reasons.of({"detail": [{"msg": text, "input": text}]}).sentence)


@settings(max_examples=50)
@given(st.integers(0, 5000), st.integers(0, 60))
def test_keys_do_not_survive_where_a_body_is_cut(before: int, spaces: int) -> None:
    key = "Zx9Qw8rTyUi0PaSdFgHjKl7mNbVcXz1AsDfGhJk2"
    text = "a" * before + " " * spaces + key + " end"
    shown = Endpoint("m", "https://h", (key,)).redacted(reasons.of({"error": text}).sentence)
    assert not any(key[i : i + 8] in shown for i in range(len(key) - 7))
