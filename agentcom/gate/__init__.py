"""Whether finished work may be merged without a person: mechanical rules decide, an LLM only recommends.

`facts` is what is known, `changes` reads it out of what git prints, `rules` judge it, `history` counts how that went:
all of it pure. `gathering` asks the forge and git, and `notes` keeps the history on this machine's disk.
"""
