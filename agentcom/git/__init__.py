"""Git for a task: a shared bare clone, a worktree and a branch for each task, a hook, evidence, and rescue.

The same code serves the sidecar and `agentcom git`. Every call has a time limit, none can ask for a password, and what
goes wrong is a value.
"""
