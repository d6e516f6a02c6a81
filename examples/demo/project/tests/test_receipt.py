from decimal import Decimal

from shopcart import Cart, receipt


def test_every_line_of_the_cart_is_printed():
    cart = Cart()
    cart.add("tea", Decimal("4.25"), 2)
    cart.add("pot", Decimal("31.50"))
    assert [line.split()[0] for line in receipt(cart).splitlines()[:2]] == ["2", "1"]


def test_the_total_is_on_the_last_line():
    cart = Cart()
    cart.add("kettle", Decimal("60.00"))
    assert receipt(cart).splitlines()[-1].split() == ["Total", "60.00"]
