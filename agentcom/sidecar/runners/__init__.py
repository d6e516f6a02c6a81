"""The kinds of agents that a sidecar can wake."""
