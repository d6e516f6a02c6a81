"""How a pool looks to those who look on: it reads everything and writes nothing.

`snapshot` is what was seen at one moment, `reading` takes one, `plain` and the views turn it into text. All but
`reading` are pure.
"""
