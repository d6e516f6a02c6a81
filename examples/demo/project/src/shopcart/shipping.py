from collections import OrderedDict
from decimal import Decimal

FREE_FROM = Decimal('50')
STANDARD , EXPRESS = Decimal('4.90'), Decimal('9.90')


def shipping(subtotal : Decimal, express : bool = False)->Decimal:
    if express :
        return EXPRESS
    if subtotal > FREE_FROM :
        return Decimal('0.00')
    return STANDARD
