"""The setters of `ByzerLLM`: settings of the next deployment, and of requests; those without meaning do nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from byzer_magic.compat.responses import EventCallback, EventName

IGNORED = (
    "setup_template", "setup_role_mapping", "setup_max_model_length", "setup_max_input_length",
    "setup_base_system_messages", "setup_function_calling_format_func", "setup_response_class_format_func",
    "setup_response_class_format_after_chat_func", "setup_impl_func_format_func",
    "setup_sys_function_calling_format_func", "setup_sys_response_class_format_func",
    "setup_sys_response_class_format_after_chat_func", "setup_sys_impl_func_format_func",
    "setup_pin_model_worker_mapping",
)  # fmt: skip
"""Setters that are accepted and do nothing: engines use the template of the model's files, and typed responses and
tools are asked for through the provider's own fields."""


class Setters:
    """Keeps what the setters are given; each returns the client, so that calls can be chained."""

    def __init__(self) -> None:
        self.default_model_name: str | None = None
        self.default_emb_model_name: str | None = None
        self.default_rerank_model_name: str | None = None
        self.sys_conf: dict[str, Any] = {}
        """Settings of the next deployment, under byzer-llm's names; what is not in it has byzer-magic's default."""
        self.sub_clients: dict[str, Any] = {}
        self.event_callbacks: dict[EventName, list[EventCallback]] = {}
        self._options: dict[str, dict[str, Any]] = {}
        """Settings of requests, by alias."""

    def __getattr__(self, name: str) -> Callable[..., Self]:
        """Return a setter that does nothing, for those without meaning here.

        Raises:
            LeftOutName: byzer-llm has such a method, which is left out.
            AttributeError: it has none.
        """
        from byzer_magic.compat import names

        if name in IGNORED:
            return lambda *_args, **_kwargs: self
        if name in names.METHODS:
            raise names.because(f"ByzerLLM.{name}", *names.METHODS[name], names.LeftOutName)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ---- which models

    def setup_default_model_name(self, model_name: str) -> Self:
        """Ask this alias where a call names none."""
        self.default_model_name = model_name
        return self

    def setup_default_emb_model_name(self, model_name: str) -> Self:
        """Embed with this alias where a call names none."""
        self.default_emb_model_name = model_name
        return self

    def setup_default_re_rank_model_name(self, model_name: str) -> Self:
        """Rank with this alias where a call names none."""
        self.default_rerank_model_name = model_name
        return self

    # ---- the next deployment

    def setup(self, name: str, value: Any) -> Self:
        """Keep a setting of the next deployment, by byzer-llm's name for it."""
        self.sys_conf[name] = value
        return self

    def setup_reset(self) -> Self:
        """Forget the settings of the next deployment."""
        self.sys_conf.clear()
        return self

    def setup_num_workers(self, num_workers: int) -> Self:
        """Set the number of workers."""
        return self.setup("maxConcurrency", num_workers)

    def setup_worker_concurrency(self, num: int) -> Self:
        """Set the requests that one worker runs at once."""
        return self.setup("workerMaxConcurrency", num)

    def setup_gpus_per_worker(self, num_gpus: float) -> Self:
        """Set the GPUs of each worker."""
        return self.setup("num_gpus", num_gpus)

    def setup_cpus_per_worker(self, num_cpus: float) -> Self:
        """Set the CPUs of each worker."""
        return self.setup("num_cpus", num_cpus)

    def setup_infer_backend(self, backend: str) -> Self:
        """Set the engine of local models, such as `InferBackend.VLLM`."""
        return self.setup("infer_backend", backend)

    def setup_load_balance_way(self, load_balance_way: str) -> Self:
        """Set the load balancing policy."""
        return self.setup("load_balance", load_balance_way.lower())

    # ---- requests

    def setup_max_output_length(self, model: str, max_output_length: int) -> Self:
        """Bound the tokens of responses of an alias."""
        return self.setup_extra_generation_params(model, {"max_length": max_output_length})

    def setup_extra_generation_params(self, model: str, extra_generation_params: Mapping[str, Any]) -> Self:
        """Send these settings with each request to an alias."""
        self._options.setdefault(model, {}).update(extra_generation_params)
        return self

    # ---- clients of other models, and callbacks

    def setup_sub_client(self, client_name: str, client: Any = None) -> Self:
        """Keep another client, or a list of clients, under a name."""
        self.sub_clients[client_name] = client
        return self

    def get_sub_client(self, client_name: str) -> Any:
        """Return what was kept under a name; None where nothing was."""
        return self.sub_clients.get(client_name)

    def remove_sub_client(self, client_name: str) -> Self:
        """Forget what was kept under a name."""
        self.sub_clients.pop(client_name, None)
        return self

    def add_event_callback(self, event_name: EventName, callback: EventCallback) -> None:
        """Call a function before or after each request; what it returns decides whether the request goes on."""
        self.event_callbacks.setdefault(event_name, []).append(callback)

    def trigger(self, event_name: EventName, *args: Any) -> Any:
        """Call the callbacks of a moment; return what the first one says that ends the request, else None."""
        for callback in self.event_callbacks.get(event_name, []):
            goes_on, value = callback(*args)
            if not goes_on:
                return value
        return None
