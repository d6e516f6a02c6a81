"""How a pool looks to those who look on: it reads everything and writes nothing.

`reading` takes a snapshot, `plain` and the views turn it, and what `agentcom.diagnosis` finds in it, into text. All but
`reading` are pure.
"""
