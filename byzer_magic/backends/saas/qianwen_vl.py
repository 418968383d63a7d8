"""Qwen-VL and other models of Alibaba DashScope with vision; `saas/qianwen` knows most of them by name, too.

https://www.alibabacloud.com/help/en/model-studio/vision: every request goes to the multimodal path.
"""

from __future__ import annotations

from typing import ClassVar

from byzer_magic.backends.base import Info
from byzer_magic.backends.dashscope.backend import MULTIMODAL, DashScope, info
from byzer_magic.i18n import lazy_gettext as _


class QianwenVLBackend(DashScope):
    """Chat with images; every request goes to the multimodal path."""

    FIRST_PATH: ClassVar[str] = MULTIMODAL
    info: ClassVar[Info] = info("saas/qianwen_vl", _("Qwen-VL (Alibaba DashScope)"))


BACKEND = QianwenVLBackend
