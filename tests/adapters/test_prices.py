"""What tokens cost, and how many a text has."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.adapters.prices import cost_of, priced
from agentcom.adapters.tokens import estimate_tokens
from agentcom.model.task import Usage
from agentcom.settings import Price

PRICES = {
    "m": Price(input_usd=1.0, output_usd=10.0),
    "m-2": Price(input_usd=2.0, output_usd=20.0, cache_read_usd=0.2, cache_write_usd=2.5),
}
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "usage", "usd"),
    [
        ("m", Usage(input_tokens=MILLION), 1.0),
        ("m-1", Usage(output_tokens=MILLION // 2), 5.0),
        ("m-2-mini", Usage(input_tokens=MILLION, cache_read_tokens=MILLION, cache_write_tokens=MILLION), 4.7),
        ("m", Usage(cache_read_tokens=MILLION, cache_write_tokens=MILLION), 2.0),
        ("m", Usage(output_tokens=MILLION, reasoning_tokens=MILLION), 10.0),
        ("m", Usage(), 0.0),
    ],
)
def test_each_kind_of_token_has_its_price_by_the_longest_name_that_fits(model: str, usage: Usage, usd: float) -> None:
    assert cost_of(usage, model, PRICES) == pytest.approx(usd)


@pytest.mark.parametrize("model", ["", "gpt", "M"])
def test_a_model_without_a_price_has_no_cost(model: str) -> None:
    assert cost_of(Usage(input_tokens=1), model, PRICES) is None


def test_what_the_agent_says_itself_goes_before_the_table() -> None:
    assert priced(Usage(input_tokens=MILLION, cost_usd=0.5), "m", PRICES).cost_usd == 0.5
    assert priced(Usage(input_tokens=MILLION), "m", PRICES) == Usage(input_tokens=MILLION, cost_usd=1.0)
    assert priced(Usage(input_tokens=MILLION), "unknown", PRICES) == Usage(input_tokens=MILLION)


TEXTS = Path(__file__).with_name("texts")
COUNTED = json.loads((TEXTS / "counts.json").read_text())
"""By tokenizers: OpenAI's o200k_base, and the one that Anthropic published for its early models."""


@pytest.mark.parametrize("name", sorted(COUNTED))
@pytest.mark.parametrize("tokenizer", ["o200k_base", "anthropic"])
def test_the_estimate_is_between_a_seventh_less_and_two_fifths_more(name: str, tokenizer: str) -> None:
    estimate = estimate_tokens((TEXTS / name).read_text(encoding="utf-8"))
    assert 6 / 7 <= estimate / COUNTED[name][tokenizer] <= 7 / 5


@pytest.mark.parametrize("name", ["english.txt", "python.txt"])
def test_the_estimate_of_prose_and_code_is_within_a_quarter(name: str) -> None:
    estimate = estimate_tokens((TEXTS / name).read_text(encoding="utf-8"))
    assert all(3 / 4 <= estimate / counted <= 5 / 4 for counted in COUNTED[name].values())


def test_an_empty_text_has_no_tokens() -> None:
    assert estimate_tokens("") == 0


@given(st.text(), st.text())
def test_more_text_never_has_fewer_tokens(text: str, more: str) -> None:
    assert 0 <= estimate_tokens(text) <= estimate_tokens(text + more)
