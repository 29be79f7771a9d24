"""Keys that a recipe names: to servers of this machine, and elsewhere only where the user said so outside of the recipe."""

from __future__ import annotations

import pytest

from pmd_agent.api_keys import ALLOWED, is_here, read_key
from pmd_agent.assembly.policy import key_for
from pmd_agent.errors import MemoryStoreError, PipelineError, PMDError, PolicyError
from pmd_agent.memory.endpoint_embedder import EndpointEmbedder
from pmd_agent.pipelines import outside_lm
from pmd_agent.recipe import VllmPolicySection

ELSEWHERE = ["https://evil.example", "http://evil.example:8000/v1", "http://127.0.0.1.evil.example", "http://user:127.0.0.1@evil.example",
             "http://localhost@evil.example/", "http://169.254.169.254/v1", "http://0.0.0.0:8000", "http://[::]:80"]  # fmt: skip
HERE = [
    "http://127.0.0.1:8001/v1",
    "http://localhost:8000",
    "https://LOCALHOST",
    "http://[::1]:8000/v1",
    "127.0.0.2:80",
]


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cr3t")
    monkeypatch.delenv(ALLOWED, raising=False)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_no_key_leaves_the_machine_by_a_recipes_word_alone(address: str) -> None:
    with pytest.raises(PMDError, match=r"the key in \$SECRET") as caught:
        read_key("SECRET", address, PMDError)
    assert caught.value.hint.startswith("If it may: export PMD_SEND_KEYS=SECRET@") and "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("address", HERE)
def test_this_machine_may_have_it(address: str) -> None:
    assert read_key("SECRET", address, PMDError) == "s3cr3t"


def test_the_word_is_for_one_key_and_one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PMDError) as caught:
        read_key("SECRET", "https://Api.Example:9000/v1", PMDError)
    monkeypatch.setenv(ALLOWED, f"OTHER@else.example, {caught.value.hint.rpartition('=')[2]}")
    assert read_key("SECRET", "https://api.example:9000/v1", PMDError) == "s3cr3t"
    monkeypatch.setenv("OTHER", "o")
    for variable, address in (("OTHER", "https://api.example"), ("SECRET", "https://else.example")):
        with pytest.raises(PMDError) as caught:
            read_key(variable, address, PMDError)
        assert "OTHER@else.example,SECRET@api.example," in caught.value.hint, "what was said before stays"


def test_a_variable_that_is_not_set_is_nothing_to_ask_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRET")
    assert read_key("SECRET", "https://evil.example", PMDError) == ""


def test_every_key_of_a_recipe_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MemoryStoreError, match="evil"):
        EndpointEmbedder("m", "http://evil.example/v1", api_key="SECRET")
    for model, base in (
        ("openai/m", "https://evil.example/v1"),
        ("openai/m", None),
        ("hosted_vllm/m", "http://evil.example"),
    ):
        with pytest.raises(PipelineError, match=r"\$SECRET"):
            outside_lm(model, api_base=base, api_key="SECRET", temperature=0.0, max_tokens=1)
    section = VllmPolicySection(address="http://evil.example:8000", api_key="SECRET")
    with pytest.raises(PolicyError, match=r"\$SECRET"):
        key_for(section)
    assert key_for(section.model_copy(update={"address": "http://127.0.0.1:8000"})) == "s3cr3t"
    assert outside_lm(
        "hosted_vllm/m", api_base="http://127.0.0.1:1/v1", api_key="SECRET", temperature=0.0, max_tokens=1
    )
    monkeypatch.setenv(ALLOWED, "SECRET@openai")
    assert outside_lm("openai/m", api_base=None, api_key="SECRET", temperature=0.0, max_tokens=1)


def test_names_that_look_like_this_machine() -> None:
    assert is_here("127.0.0.1") and is_here("[::1]") and is_here("localhost")
    assert not any(map(is_here, ("0.0.0.0", "::", "", "localhost.example.com", "127.0.0.1.nip.io", "2130706433")))
