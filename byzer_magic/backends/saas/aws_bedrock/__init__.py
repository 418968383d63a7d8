"""Models at AWS Bedrock."""

from byzer_magic.backends.saas.aws_bedrock.backend import BACKEND

__all__ = ["BACKEND"]
