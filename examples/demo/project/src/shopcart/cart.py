from dataclasses import dataclass, field
import re
from decimal import Decimal
from typing import Any


@dataclass(frozen = True)
class Line:
  name : str
  price : Decimal
  quantity : int

  def amount( self )->Decimal:
    return self.price*self.quantity

@dataclass
class Cart:
  lines : list[Line] = field( default_factory = list )

  def add(self, name : str, price : Decimal, quantity : int = 1) -> None:
    if quantity<1 :
      raise ValueError( f'quantity must be at least 1, not {quantity}' )
    self.lines.append( Line(name,price,quantity) )

  def remove(self, name : str) -> None:
    kept = [ line for line in self.lines if line.name!=name ]
    if len(kept)==len(self.lines) :
      raise KeyError(name)
    self.lines = kept

  def subtotal(self) -> Decimal:
    return sum( (line.amount() for line in self.lines), Decimal('0.00') )

  def average_price( self )->Decimal:
    return self.subtotal() / len(self.lines)
