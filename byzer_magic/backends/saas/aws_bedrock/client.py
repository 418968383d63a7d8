"""boto3 as our client: how it is made, what it raises, and how a request that waits in a thread is aborted.

Settings: https://boto3.amazonaws.com/v1/documentation/api/latest/reference/services/bedrock-runtime.html.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from byzer_magic.backends.base import Setup
from byzer_magic.backends.http.errors import Endpoint, from_exception, from_response
from byzer_magic.backends.http.params import CONNECT_SECONDS, reveal
from byzer_magic.backends.saas.aws_bedrock.received import CURRENT, Response, bound
from byzer_magic.commands.secrets import Secret
from byzer_magic.errors import ByzerError
from byzer_magic.i18n import lazy_gettext as _

THREADS = (64, 512)
"""Requests that may run at once: at least, and at most."""

CODES = {
    "AccessDeniedException": 403,
    "UnrecognizedClientException": 401,
    "InvalidSignatureException": 401,
    "SignatureDoesNotMatch": 401,
    "InvalidClientTokenId": 401,
    "IncompleteSignature": 401,
    "MissingAuthenticationTokenException": 401,
    "ExpiredTokenException": 401,
    "ResourceNotFoundException": 404,
    "ValidationException": 400,
    "ThrottlingException": 429,
    "ServiceQuotaExceededException": 429,
    "ModelNotReadyException": 429,
    "ModelTimeoutException": 408,
    "InternalServerException": 500,
    "ModelErrorException": 424,
    "ModelStreamErrorException": 500,
    "ServiceUnavailableException": 503,
}
"""Statuses of Bedrock's errors: inside a stream they come without one, and wrong keys are a 403 over HTTP."""
HINTS = {
    401: _("Check saas.aws_access_key, saas.aws_secret_key and the session token."),
    403: _("Check that the account has access to this model in this region."),
    404: _("Check saas.model and saas.region_name."),
}


def from_boto3(err: Exception, endpoint: Endpoint) -> ByzerError:
    """Return our error for an exception of botocore, which has the error's code in its `response`."""
    response = getattr(err, "response", None)
    if not isinstance(response, Mapping):
        known = _TRANSPORT.get(type(err).__name__)
        return _without_context(from_exception(known(err) if known else err, endpoint))
    error = response.get("Error", {})
    code, about = str(error.get("Code", "")), response.get("ResponseMetadata", {})
    status = CODES.get(code) or about.get("HTTPStatusCode") or CODES.get(code[:1].upper() + code[1:]) or 500
    if code.isdigit() or not code:
        status = about.get("HTTPStatusCode", status)
    headers = {**about.get("HTTPHeaders", {}), "x-amzn-requestid": about.get("RequestId", "")}
    return _without_context(
        from_response({"code": code, "message": error.get("Message", "")}, endpoint, status, headers)
    )


def _without_context(err: ByzerError) -> ByzerError:
    """Return an error without the chain of exceptions behind it, which may quote keys."""
    err.__suppress_context__ = True
    err.__context__ = None
    return err


_TRANSPORT: dict[str, Callable[[Exception], Exception]] = {
    "ReadTimeoutError": lambda _err: TimeoutError(),
    "ConnectTimeoutError": lambda err: ConnectionRefusedError(str(err)),
    "EndpointConnectionError": lambda err: ConnectionRefusedError(str(err)),
    "ConnectionClosedError": lambda err: ConnectionResetError(str(err)),
    "ResponseStreamingError": lambda err: ConnectionResetError(str(err)),
    "ProtocolError": lambda err: ConnectionResetError(str(err)),
}
"""botocore's exceptions of the transport, as the standard library's."""


def threads(setup: Setup) -> int:
    """Return how many requests a deployment may have in flight."""
    return min(THREADS[1], max(THREADS[0], setup.concurrency))


def connect(setup: Setup) -> Any:
    """Import boto3 (240 ms) and make its client; nothing is sent yet."""
    import boto3  # SDKs are imported by the deployments that use them
    from botocore.config import Config

    params = setup.params
    proxy = setup.network.proxy(params.get("saas.endpoint_url") or "https://")
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=params["saas.timeout"],
        retries={"total_max_attempts": 1},  # `retry` does that for all backends
        max_pool_connections=threads(setup),
        proxies={"http": proxy, "https": proxy} if proxy else None,
        signature_version=_signature(params),
    )
    verify = None if setup.network.verify is True else setup.network.verify  # None: boto3's own authorities
    session = boto3.Session(
        botocore_session=_session(params.get("saas.api_key"), params.get("saas.aws_profile")),
        aws_access_key_id=reveal(params.get("saas.aws_access_key")),
        aws_secret_access_key=reveal(params.get("saas.aws_secret_key")),
        aws_session_token=reveal(params.get("saas.aws_session_token")),
        region_name=params["saas.region_name"],
    )
    client = session.client(
        "bedrock-runtime", endpoint_url=params.get("saas.endpoint_url"), verify=verify, config=config
    )
    _watch_connections(client)
    client.meta.events.register("before-parse.bedrock-runtime", bound)
    return client


def _signature(params: Mapping[str, Any]) -> str | None:
    """Return how requests are signed, where the settings decide it: a token in the environment would win otherwise."""
    if "saas.api_key" in params:
        return "bearer"
    return "v4" if "saas.aws_access_key" in params else None


class _Token(NamedTuple):
    """A bearer token as botocore takes it."""

    token: str
    expiration: None = None

    def get_frozen_token(self) -> _Token:
        """Return the token for one signature."""
        return self

    def __repr__(self) -> str:
        return "***"


class _TokenProvider:
    """Gives botocore the deployment's own key; by itself it looks into the environment, which all code here shares."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def load_token(self, **_options: Any) -> _Token:
        """Return the key, for whichever service it is wanted."""
        return _Token(self._key.reveal())


def _session(key: Secret | None, profile: str | None) -> Any:
    from botocore.loaders import create_loader
    from botocore.session import get_session

    session = get_session()
    if profile is not None:
        session.set_config_variable("profile", profile)
    loader = create_loader(session.get_config_variable("data_path"))
    loader.file_loader = _data_files()
    session.register_component("data_loader", loader)
    if key is not None:
        session.register_component("token_provider", _TokenProvider(key))
    return session


@functools.cache
def _data_files() -> Any:
    """Return what reads botocore's descriptions of services and regions: once, rather than for each client (90 ms)."""
    from botocore.loaders import JSONFileLoader

    files = JSONFileLoader()
    files.load_file = functools.cache(files.load_file)
    return files


def _watch_connections(client: Any) -> None:
    """Give each thread's handle its connection: boto3 itself cannot abort a request that is waiting."""
    session = getattr(getattr(client, "_endpoint", None), "http_session", None)
    pools = getattr(session, "_pool_classes_by_scheme", {})  # of direct connections, and of those through a proxy
    for scheme, pool in list(pools.items()):
        pools[scheme] = _watched(pool)


def _watched(pool: Any) -> Any:
    class Connection(pool.ConnectionCls):  # type: ignore[misc]  # a class that is found at run time
        response_class = Response

        def request(self, *args: Any, **kwargs: Any) -> Any:
            handle = getattr(CURRENT, "handle", None)
            if handle is None:
                return super().request(*args, **kwargs)
            handle.hold(self)
            sent = super().request(*args, **kwargs)
            handle.hold(self)  # by now it has a socket
            return sent

    def put(self: Any, connection: Any) -> None:
        if (handle := getattr(CURRENT, "handle", None)) is not None:
            handle.release()
        pool._put_conn(self, connection)

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection, "_put_conn": put})
