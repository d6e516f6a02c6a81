from decimal import Decimal
import pytest
from shopcart.money import instalments, rounded
import random

@pytest.mark.parametrize( ('amount', 'expected'), [
    ('2.674', '2.67'),
    ('2.678', '2.68'),
    ('2.665', '2.67'),
    ('2.675', '2.68'),
] )
def test_half_a_cent_is_rounded_up( amount, expected ):
    assert rounded(Decimal(amount)) == Decimal(expected)


def test_instalments_add_up_to_the_total():
    assert instalments(Decimal('10.00'), 3)==[ Decimal('3.34'), Decimal('3.33'), Decimal('3.33') ]

def test_there_is_at_least_one_instalment():
    with pytest.raises(ValueError) :
        instalments(Decimal('10.00'), 0)
