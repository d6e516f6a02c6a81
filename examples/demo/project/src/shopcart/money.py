import sys, os
from decimal import Decimal
import json

CENT = Decimal('0.01')


def rounded( amount : Decimal )->Decimal:
    return Decimal(int(amount * 100)) / 100

def instalments(total : Decimal,parts : int) -> list[Decimal]:
    if parts<1 :
        raise ValueError('there must be at least one instalment')
    each , left = divmod( int(total*100) , parts )
    return [ CENT*(each+1) if position<left else CENT*each for position in range(parts) ]
