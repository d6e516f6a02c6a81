"""What tokens cost, for agents that report no cost themselves. AgentCom knows no prices but those of the settings."""

from __future__ import annotations

from collections.abc import Mapping

from agentcom.model.task import Usage
from agentcom.settings import Price

PER = 1_000_000
"""Prices are for so many tokens."""


def cost_of(usage: Usage, model: str, prices: Mapping[str, Price]) -> float | None:
    """What this usage of a model costs, in USD; None where no price is known for it.

    A price holds for every model whose name begins as it says; of several, the longest: `gpt-5-mini` before `gpt-5`.
    """
    names = [name for name in prices if model.startswith(name)]
    if not names:
        return None
    price = prices[max(names, key=len)]
    usd = (
        usage.input_tokens * price.input_usd
        + usage.output_tokens * price.output_usd
        + usage.cache_read_tokens * (price.cache_read_usd or price.input_usd)
        + usage.cache_write_tokens * (price.cache_write_usd or price.input_usd)
    )
    return usd / PER


def priced(usage: Usage, model: str, prices: Mapping[str, Price]) -> Usage:
    """The usage with a cost: the agent's own word for it, else what the price table makes of it, else none."""
    if usage.cost_usd:
        return usage
    return usage + Usage(cost_usd=cost_of(usage, model, prices) or 0.0)
