"""How long tests wait for what must happen."""

PATIENCE_S = 60.0
"""On a machine that is busy with other things too: it bounds a wait that is in vain, and claims nothing about speed."""
