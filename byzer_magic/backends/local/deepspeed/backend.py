"""Models through DeepSpeed's inference engine, which wraps the model of transformers.

On one GPU it can put its own kernels in; on several it splits the model's matrices over them, one process each:
https://deepspeed.readthedocs.io/en/latest/inference-init.html.
"""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from byzer_magic.backends.base import Info, Param, Setup
from byzer_magic.backends.local.transformers import check as transformers_check, params as transformers_params
from byzer_magic.backends.local.transformers.backend import TransformersBackend
from byzer_magic.errors import BadParameter
from byzer_magic.i18n import lazy_gettext as _
from byzer_magic.local_models.engine_facts import MB, EngineFacts, EnginePackage, MemoryFacts, as_torch
from byzer_magic.local_models.files import Weights

if TYPE_CHECKING:
    from byzer_magic.backends.local.transformers.engine import Model

OWN = (
    Param(
        name="replace_with_kernel_inject",
        kind="bool",
        default=False,
        help=_("use DeepSpeed's own kernels (on GPUs, for supported architectures)"),
    ),
    Param(
        name="tp_size",
        kind="int",
        aliases=("tensor_parallel_size", "mp_size"),
        help=_("processes that share the model (tensor parallelism; default --gpus_per_worker)"),
    ),
    Param(name="enable_cuda_graph", kind="bool", default=False, help=_("capture the model as a CUDA graph")),
    Param(
        name="max_out_tokens", kind="int", help=_("maximum length of a prompt, in tokens (default: the context length)")
    ),
    Param(
        name="init_inference",
        kind="json",
        help=_("additional arguments for deepspeed.init_inference, as a JSON object"),
    ),
)
NOT_HERE = (
    "device", "device_map", "max_memory", "offload_folder", "quantization", "quantization_config", "enable_lora",
    "allowed_lora_path",
)  # fmt: skip
"""Parameters of transformers for what DeepSpeed decides, or what its other processes would have to do as well."""


class DeepSpeedBackend(TransformersBackend):
    """Chat with a causal language model that DeepSpeed runs."""

    info: ClassVar[Info] = replace(
        TransformersBackend.info,
        kind="custom/auto (deepspeed)",
        title="DeepSpeed",
        params=(*OWN, *(param for param in transformers_params.PARAMS if param.name not in NOT_HERE)),
        extra="deepspeed",
        engine=EngineFacts(  # never chosen by auto: it helps on several GPUs only
            packages=(EnginePackage(module="deepspeed", companions=("torch", "transformers"), devices=as_torch),),
            formats=("transformers", "gguf"),
            memory=MemoryFacts(overhead_bytes=900 * MB, unpacks=True),
            context_param="backend.max_model_len",
        ),
    )
    takes_adapters = False
    packages: ClassVar[str] = "torch, transformers and deepspeed"

    @classmethod
    def check(cls, setup: Setup) -> None:
        """Check files and parameters, and that the model can be split into `tp_size` parts."""
        weights = transformers_check.check(setup)
        if setup.params["replace_with_kernel_inject"] and not setup.gpus:
            raise BadParameter(
                _("DeepSpeed has no kernels for CPUs (replace_with_kernel_inject)."),
                _("Add --gpus_per_worker 1, or leave it out."),
            )
        if not isinstance(setup.params.get("init_inference", {}), dict):
            raise BadParameter(
                _("init_inference is not a JSON object."), _('Example: init_inference={"use_triton": true}.')
            )
        _check_split(weights, setup)

    @classmethod
    def _import(cls, threads: int) -> None:
        super()._import(threads)
        importlib.import_module("byzer_magic.backends.local.deepspeed.rank_processes")

    @classmethod
    def _load(cls, setup: Setup, weights: Weights) -> Model:
        import torch

        from byzer_magic.backends.local.deepspeed import rank_processes
        from byzer_magic.backends.local.transformers import engine as transformers_engine

        ranks = split(setup)
        followers = rank_processes.Followers(setup, ranks, torch.get_num_threads()) if ranks > 1 else None
        try:
            engine, network, tokenizer, context = rank_processes.wrapped(setup, weights, ranks)
            if followers:
                followers.join()
        except BaseException:  # an interrupt too ends the other ranks
            if followers:
                followers.close()
            raise
        model = transformers_engine.Model(network, tokenizer, context, followers)
        model.generate = engine.generate
        return model

    async def close(self) -> None:
        """Stop what runs, then end all processes of the model."""
        lockstep: Any = self._model.lockstep
        await super().close()
        if not lockstep.alone:
            await asyncio.to_thread(lockstep.close)


def split(setup: Setup) -> int:
    """Return how many processes share the model."""
    return int(setup.params.get("tp_size", max(1, int(setup.gpus))))


def _check_split(weights: Weights, setup: Setup) -> None:
    ranks = split(setup)
    heads = weights.config.get("num_attention_heads")
    if ranks < 1 or (setup.gpus and ranks > max(1, setup.gpus)):
        raise BadParameter(
            _("tp_size is {ranks}, but the worker has {gpus:g} GPUs.", ranks=ranks, gpus=setup.gpus),
            _("Add --gpus_per_worker {value}.", value=max(1, ranks)),
        )
    if heads and ranks > heads:
        raise BadParameter(
            _("tp_size is {ranks}, but the model has {heads} attention heads.", ranks=ranks, heads=heads),
            _("Use a smaller tp_size."),
        )


BACKEND = DeepSpeedBackend
