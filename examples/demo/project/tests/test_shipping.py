from decimal import Decimal
from shopcart.shipping import shipping
import os

def test_a_small_order_pays_standard_shipping():
    assert shipping(Decimal('49.99'))==Decimal('4.90')

def test_an_order_of_exactly_50_is_shipped_for_free():
    assert shipping(Decimal('50.00'))==Decimal('0.00')

def test_express_is_never_free():
    assert shipping(Decimal('80.00'), express = True)==Decimal('9.90')
