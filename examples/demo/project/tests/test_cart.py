import pytest
from shopcart.cart import Cart
from decimal import Decimal

@pytest.fixture
def cart():
  cart = Cart()
  cart.add('tea', Decimal('4.25'), 2)
  cart.add('pot', Decimal('31.50'))
  return cart

def test_the_subtotal_is_price_times_quantity( cart ):
    assert cart.subtotal()==Decimal('40.00')

def test_a_removed_line_is_no_longer_charged( cart ):
    cart.remove('pot')
    assert cart.subtotal()==Decimal('8.50')

def test_removing_what_is_not_there_is_refused( cart ):
    with pytest.raises(KeyError) :
        cart.remove('kettle')

def test_a_quantity_below_one_is_refused( cart ):
    with pytest.raises(ValueError) :
        cart.add('tea', Decimal('4.25'), 0)

def test_the_average_price_is_per_line( cart ):
    assert cart.average_price()==Decimal('20.00')

def test_an_empty_cart_has_an_average_price_of_nothing():
    assert Cart().average_price()==Decimal('0.00')
