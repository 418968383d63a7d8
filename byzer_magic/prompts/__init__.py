"""Prompts as functions: the docstring is the template, the call is the request."""

from byzer_magic.prompts.decorator import prompt
from byzer_magic.prompts.function import PromptFunction

__all__ = ["PromptFunction", "prompt"]
