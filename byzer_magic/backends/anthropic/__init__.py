"""The Anthropic Messages API, shared by saas/claude and saas/aws_bedrock."""
