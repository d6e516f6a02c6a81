"""What GitHub's refusals mean, whatever they look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcom.forge.github_answers import Access, trouble_of
from agentcom.wording import clean

ACCESS = Access("https://api.github.com", "acme/shop", "GITHUB_TOKEN")
TOKEN = "ghp_secret"
NOW_S = 1_790_000_000.0

TEXTS = st.text() | st.sampled_from(
    [
        "0",
        "60",
        "-1",
        "1e9",
        "9" * 400,
        "١٢",
        "Wed, 21 Oct 2026 07:28:00 GMT",
        "rate limit",
        TOKEN,
        "\x1b[31m\n",
        str(NOW_S),
    ]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "x-ratelimit-remaining", "x-ratelimit-reset", "date"]) | st.text(), TEXTS
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["message", "errors", "field", "code"]), inner)
    ),
    max_leaves=8,
)


@given(st.integers(300, 599) | st.sampled_from([401, 403, 404, 422, 429]), HEADERS, DATA)
def test_any_refusal_is_one_short_line_without_the_token_and_a_bounded_wait(
    status: int, headers: dict[str, str], data: object
) -> None:
    trouble = trouble_of(status, headers, data, ACCESS, TOKEN, NOW_S)
    assert 0 <= trouble.retry_after_s <= 3_600
    assert TOKEN not in trouble.why
    assert clean(trouble.why) == trouble.why
    assert len(trouble.why) < 500
    assert not (trouble.hopeless and trouble.retry_after_s)


@pytest.mark.parametrize("off_s", [-86_400, 0, 86_400])
def test_the_reset_is_compared_with_the_forges_own_clock(off_s: int) -> None:
    """This machine's may be a day off."""
    headers = {
        "date": "Mon, 21 Sep 2026 14:13:20 GMT",  # 1_790_000_000
        "x-ratelimit-remaining": "0",
        "x-ratelimit-reset": "1790000120",
    }
    assert trouble_of(403, headers, {}, ACCESS, TOKEN, NOW_S + off_s).retry_after_s == 120
