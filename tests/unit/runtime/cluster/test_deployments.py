"""The error for an unknown alias."""

from __future__ import annotations

from byzer_magic.runtime.cluster.deployments import not_deployed


def test_not_deployed_suggests_the_nearest_alias_and_lists_all() -> None:
    err = not_deployed("gpt4_chat", ["gpt4o_chat", "llama"])
    assert err.message == "No model is deployed as 'gpt4_chat'."
    assert "gpt4o_chat?" in err.hint
    assert err.hint.endswith("Deployed: gpt4o_chat, llama.")


def test_not_deployed_without_deployments_points_to_deploy() -> None:
    assert not_deployed("m", []).hint == "Nothing is deployed. See: deploy --help"
