from decimal import Decimal

import pytest

from shopcart.discounts import discount, rate


@pytest.mark.parametrize(
    ("subtotal", "expected"),
    [("99.99", "0"), ("100", "0.05"), ("199.99", "0.05"), ("200", "0.10")],
)
def test_a_tier_starts_at_its_threshold(subtotal, expected):
    assert rate(Decimal(subtotal)) == Decimal(expected)


def test_the_discount_is_a_share_of_the_subtotal():
    assert discount(Decimal("200.00")) == Decimal("20.00")
