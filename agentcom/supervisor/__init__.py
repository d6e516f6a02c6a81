"""Keeps AgentCom's programs running on one machine, for `agentcom up` and the demonstration.

`restarts` decides what follows when a program ended (pure). `programs` says which programs there are (pure), `children`
starts them and passes their output on, `trees` ends what agents started, `record` and `takeover` deal with what an
earlier supervisor that was killed left running, and `service` holds it together.
"""
