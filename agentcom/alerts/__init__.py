"""Tells people what is wrong with a pool, each incident once and again when it is over.

Every scheduler process looks at the pool (`service`) and tells what is due (`teller`); what was told stands in Redis
(`book`), so that they tell it once between them. `incidents` decides what is to be told, `message` words it: both are
pure. `receivers` says how each receiver is reached, `delivery` runs that as a process of its own under a time limit: a
receiver that hangs holds up neither the scheduler nor another receiver. `sending` is for commands that have something
to say themselves.
"""
