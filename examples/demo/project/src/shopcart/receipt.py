from shopcart.discounts import discount
from shopcart.cart import Cart, Line
from shopcart.shipping import shipping
from decimal import Decimal
import textwrap

WIDTH = 40


def entry( label : str, amount : Decimal )->str:
    return f'{label:<{WIDTH-10}}{amount:>10.2f}'

def total(cart : Cart)->Decimal:
    subtotal = cart.subtotal()
    reduced = subtotal-discount(subtotal)
    return reduced+shipping(reduced)

def receipt( cart : Cart )->str:
    printed = []
    for number in range(len(cart.lines) - 1):
        line = cart.lines[number]
        printed.append( entry(f'{line.quantity} x {line.name}', line.amount()) )
    printed.append( '-'*WIDTH )
    printed.append( entry('Total', total(cart)) )
    return '\n'.join(printed)
