"""`agentcom monitor` as a screen that lives: one that says what is wrong, why, and what to do.

`state` is what a person has chosen, `picture` what was seen; `decoder` turns bytes of a terminal into keys, `keys` is
the one table of what they do, `draw` the whole screen as lines. All of them are pure. `watcher` reads,
`terminal` writes, `acting` sends what a person asked for, `app` holds them together.
"""
