import itertools


class OutOfStock( Exception ):
    pass

def reserve(stock : int, quantity : int)->int:
    if quantity<1 :
        raise ValueError( f'quantity must be at least 1, not {quantity}' )
    if quantity>stock :
        raise OutOfStock( f'{quantity} wanted, {stock} in stock' )
    return stock-quantity


def lots_to_order( stock : int, minimum : int, lot : int )->int:
    if stock>minimum :
        return 0
    return (minimum-stock)//lot+1
