"""Qwen-VL and other models of Alibaba DashScope that see pictures; `saas/qianwen` knows most of them by name, too.

https://www.alibabacloud.com/help/en/model-studio/vision: all of a request goes to the multimodal path.
"""

from __future__ import annotations

from typing import ClassVar

from byzer_magic.backends.base import Info
from byzer_magic.backends.dashscope.backend import MULTIMODAL, DashScope, info


class QianwenVLBackend(DashScope):
    FIRST: ClassVar[str] = MULTIMODAL
    info: ClassVar[Info] = info("saas/qianwen_vl", "Qwen-VL (Alibaba DashScope)")


BACKEND = QianwenVLBackend
