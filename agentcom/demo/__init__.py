"""The main job on a repository of its own: `agentcom demo`.

`stage` makes the folder with the repository and the settings, and reads afterwards what was done to it. `play` runs
the pool, submits the backlog and kills an agent half-way. `story` judges how it went (pure), `screen` shows it (pure),
and `run` is all of it in a row.
"""
