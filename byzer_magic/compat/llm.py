"""`ByzerLLM`: byzer-llm's client, on the deployments of this cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from byzer_magic.capabilities import Capability, Trait
from byzer_magic.client import current, fetching
from byzer_magic.client.converse import Exchange, converse
from byzer_magic.client.typed import Typed
from byzer_magic.commands.spec import UndeploySpec
from byzer_magic.compat import calls, deploying, streams
from byzer_magic.compat.embeddings import Embeddings
from byzer_magic.compat.requests import options_of, turns_of
from byzer_magic.compat.responses import LLMMetadata, LLMRequest, LLMResponse, SingleOutputMeta
from byzer_magic.errors import CommandError, NotDeployed
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.runtime.loop import LOOP


class ByzerLLM(Embeddings):
    """byzer-llm's client: deploys, asks and removes models by their aliases, which it calls UDF names.

    Args:
        url: accepted, and without meaning here, like all `kwargs`.

    Example:
        >>> llm = ByzerLLM.from_default_model("gpt4o_chat")
        >>> llm.chat_oai(conversations=[{"role": "user", "content": "Why is the sky blue?"}])[0].output
        '...sky...'
    """

    def __init__(self, url: str | None = None, **kwargs: Any) -> None:
        super().__init__()
        self.url = url
        self.verbose: bool = kwargs.get("verbose", False)
        self.skip_nontext_check = False
        """Whether media in tags of a prompt stay text."""

    @classmethod
    def from_default_model(cls, model: str, auto_connect_cluster: bool = True) -> Self:
        """Return a client that asks an alias; it connects at the first call."""
        return cls().setup_default_model_name(model)

    # ---- deployments

    def deploy(
        self, model_path: str, pretrained_model_type: str, udf_name: str, infer_params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Deploy a model as `udf_name`, in the place of an older one; return what `get_meta` says.

        Raises:
            ByzerError: a parameter is wrong, or the deployment failed.
        """
        spec = deploying.spec_of(udf_name, pretrained_model_type, model_path, infer_params, self.sys_conf)
        fetching.deploy(current.current_manager(), spec)
        return self.get_meta(udf_name)

    def undeploy(self, udf_name: str, force: bool = False) -> None:
        """Remove a deployment; one that does not exist is none."""
        manager = current.current_manager()
        manager.ensure()
        try:
            manager.run(manager.undeploy(UndeploySpec(model=udf_name, force=force)))
        except NotDeployed:
            return

    def is_model_exist(self, udf_name: str) -> bool:
        """Return whether something is deployed as `udf_name`."""
        return current.current_manager().runs(udf_name)

    def get_meta(self, model: str | None = None, llm_config: Any = None) -> dict[str, Any]:
        """Return what is known about a deployment, under byzer-llm's names.

        Raises:
            NotDeployed: nothing is deployed as this alias.
        """
        stat = self._model(model).stat()
        return {
            "model_name": stat.title or stat.model,
            "model_deploy_type": "proprietary" if Trait.ENGINE in stat.traits else "saas",
            "backend": stat.kind,
            "support_stream": Capability.CHAT in stat.capabilities,
            "message_format": True,
            "support_chat_template": True,
            "embedding_mode": Capability.EMBED in stat.capabilities and Capability.CHAT not in stat.capabilities,
        }

    @property
    def metadata(self) -> LLMMetadata:
        """Return what is known about the default model."""
        meta = self.get_meta()
        return LLMMetadata(
            is_chat_model=not meta["embedding_mode"], is_function_calling_model=True, model_name=meta["model_name"]
        )

    def require_template(self, model: str) -> bool:
        """Return False: no model needs a template from its caller."""
        return False

    # ---- chat

    def chat_oai(
        self,
        conversations: Any,
        tools: Sequence[Any] = (),
        tool_choice: Any = None,
        execute_tool: bool = False,
        impl_func: Callable[..., Any] | None = None,
        execute_impl_func: bool = False,
        impl_func_params: Mapping[str, Any] | None = None,
        func_params: Mapping[str, Any] | None = None,
        response_class: Any = None,
        response_after_chat: Any = False,
        enable_default_sys_message: bool = True,
        model: str | None = None,
        role_mapping: Any = None,
        llm_config: Mapping[str, Any] | None = None,
        only_return_prompt: bool = False,
        extra_request_params: Mapping[str, Any] | None = None,
    ) -> list[Any]:
        """Return the response to a conversation, as a list of one.

        Args:
            conversations: messages of OpenAI's form, or a text.
            tools: Python functions, or tools of OpenAI's form.
            tool_choice: a function that must be called, or OpenAI's value.
            execute_tool: whether the functions are called; the item is then an `LLMFunctionCallResponse`.
            impl_func: a function that describes what to return; the model returns it, and no code is run.
            execute_impl_func: with `impl_func`, whether the item is an `LLMClassResponse`; else it is the response.
            impl_func_params: the arguments of `impl_func`.
            func_params: further arguments of the functions called, which the model does not see.
            response_class: a pydantic model; the item is then an `LLMClassResponse`.
            response_after_chat: accepted; typed responses take one request.
            enable_default_sys_message: accepted.
            model: the alias, by default that of the client.
            role_mapping: accepted.
            llm_config: settings of the request: `max_length`, `temperature`, `top_p`, `gen.<field>`.
            only_return_prompt: return what would be sent.
            extra_request_params: further fields of the provider's.

        Raises:
            CommandError: there are both tools and a `response_class`.
            NotDeployed: nothing is deployed as this alias.
            RequestError: the response is incomplete.
        """
        call = self._call(conversations, model, llm_config, extra_request_params)
        if only_return_prompt:
            return [LLMResponse(output="", input=call.turns[-1].get("content"), metadata=call.input)]
        if impl_func is not None:
            found = calls.implement(call, impl_func, impl_func_params or func_params or {}, response_class)
            return [found if execute_impl_func else found.response]
        if response_class is not None and (tools or tool_choice):
            raise CommandError(_("response_class and tools do not go together."), _("Leave one of them out."))
        if response_class is not None:
            return [calls.as_class(call, response_class)]
        if tools or tool_choice:
            return [calls.with_tools(call, tools, tool_choice, func_params or {}, execute=execute_tool)]
        return [call.ask()]

    def stream_chat_oai(
        self,
        conversations: Any,
        model: str | None = None,
        role_mapping: Any = None,
        delta_mode: bool = False,
        llm_config: Mapping[str, Any] | None = None,
        extra_request_params: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[Any, SingleOutputMeta]]:
        """Yield the response as it arrives, as pairs of a text and its metadata.

        A callback may answer before the request; after the response, callbacks see it, and cannot change it.

        Args:
            conversations: messages of OpenAI's form, or a text.
            model: the alias, by default that of the client.
            role_mapping: accepted.
            delta_mode: whether each text is what is new; by default it is the response so far.
            llm_config: as in `chat_oai`.
            extra_request_params: as in `chat_oai`.

        Raises:
            NotDeployed: nothing is deployed as this alias.
            RequestError: the response is incomplete.
        """
        call = self._call(conversations, model, llm_config, extra_request_params)
        if (answered := call.answered()) is not None:
            yield streams.whole(answered)
            return
        exchange = self._exchange(call)
        pieces = streams.Pieces(delta=delta_mode)
        yield from filter(None, map(pieces.pair, current.current_manager().iterate(exchange.items())))
        call.streamed(exchange.collector.result())

    async def async_stream_chat_oai(
        self,
        conversations: Any,
        role_mapping: Any = None,
        model: str | None = None,
        delta_mode: bool = False,
        llm_config: Mapping[str, Any] | None = None,
        extra_request_params: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[tuple[Any, SingleOutputMeta]]:
        """Like `stream_chat_oai`, for asyncio."""
        call = await asyncio.to_thread(self._call, conversations, model, llm_config, extra_request_params)
        if (answered := await asyncio.to_thread(call.answered)) is not None:
            yield streams.whole(answered)
            return
        exchange = await asyncio.to_thread(self._exchange, call)
        pieces = streams.Pieces(delta=delta_mode)
        async for item in LOOP.adopt_iterate(exchange.items()):
            if (pair := pieces.pair(item)) is not None:
                yield pair
        await asyncio.to_thread(call.streamed, exchange.collector.result())

    def chat(
        self, model: str | None, request: LLMRequest | str, extract_params: Mapping[str, Any] | None = None
    ) -> list[LLMResponse]:
        """Return a response to each instruction of a request."""
        instruction = request if isinstance(request, str) else request.instruction
        texts = [instruction] if isinstance(instruction, str) else instruction
        config = {**({} if isinstance(request, str) else request.settings()), **(extract_params or {})}
        return [self.chat_oai(text, model=model, llm_config=config)[0] for text in texts]

    raw_chat = chat

    def typed(
        self, conversations: Any, typed: Typed[Any], *, told: bool, prefix: str, **settings: Any
    ) -> tuple[Any, LLMResponse]:
        """Return the value that a response has, and the response; see `byzer_magic.prompts.asker.Asker.typed`."""
        call = self._call(
            conversations, settings.get("model"), settings.get("llm_config"), settings.get("extra_request_params")
        )
        return call.typed(typed, told=told, prefix=prefix)

    def _exchange(self, call: calls.Call) -> Exchange:
        return converse(current.current_manager(), call.model.alias, call.turns, options=call.options)

    def _call(self, conversations: Any, model: str | None, llm_config: Any, extra_request_params: Any) -> calls.Call:
        alias = self._alias(model)
        turns = turns_of(conversations, (llm_config or {}).get("image"), media=not self.skip_nontext_check)
        config = {**self._options.get(alias, {}), **(llm_config or {})}
        return calls.Call(self, self._model(alias), turns, options_of(config, extra_request_params), config)

    # ---- decorators

    def prompt(
        self, model: str | None = None, render: str = "jinja2", check_result: bool = False, options: Any = None
    ) -> Callable[[Callable[..., Any]], Any]:
        """Make a function's docstring a prompt that asks this client; see `byzerllm.prompt`."""
        from byzer_magic.compat.prompts import prompt

        chosen = {**(options or {}), **({"model": model} if model else {})}
        return prompt(self, render, check_result, chosen)

    def response(
        self, instruction: str | None = None, model: str | None = None, verbose: bool | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Make a function return what the model reads from its one argument, as the type in its annotation."""
        return calls.decorator(self, instruction, model, from_argument=True)

    def impl(
        self,
        instruction: str | None = None,
        model: str | None = None,
        verbose: bool | None = None,
        skip_cache: bool = False,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Let the model compute what a function returns, from its docstring and arguments; no code is run."""
        return calls.decorator(self, instruction, model, from_argument=False)

    def clear_impl_cache(self, *_args: Any, **_kwargs: Any) -> Self:
        """Do nothing: nothing is cached."""
        return self


class SimpleByzerLLM(ByzerLLM):
    """byzer-llm's client without Ray; here, its deployments are those of the cluster, like all others."""

    def __init__(self, default_model_name: str = "deepseek_chat") -> None:
        super().__init__()
        self.default_model_name = default_model_name

    def deploy(
        self, model_path: str, pretrained_model_type: str, udf_name: str, infer_params: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Deploy a model as `udf_name`, unless this process has done so already.

        Raises:
            ByzerError: a parameter is wrong, or the deployment failed.
        """
        spec = deploying.spec_of(udf_name, pretrained_model_type, model_path, infer_params, self.sys_conf)
        deploying.deploy_once(current.current_manager(), spec)
        return {"model": udf_name, "status": "deployed"}
