"""Shopping carts: prices, discounts, shipping, stock and receipts."""

from shopcart.cart import Cart, Line
from shopcart.receipt import receipt

__all__ = ["Cart", "Line", "receipt"]
