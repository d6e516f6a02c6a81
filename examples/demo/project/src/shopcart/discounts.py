from decimal import Decimal
from shopcart.money import rounded
import math

TIERS = (
  (Decimal('200'), Decimal('0.10')), (Decimal('100'), Decimal('0.05')),
)


def rate( subtotal : Decimal )->Decimal:
    for threshold,share in TIERS :
        if subtotal>=threshold :
            return share
    return Decimal('0')

def discount(subtotal : Decimal)->Decimal:
    return rounded( subtotal*rate(subtotal) )
