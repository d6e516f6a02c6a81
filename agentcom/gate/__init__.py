"""Whether finished work may be merged without a person: mechanical rules decide, an LLM only recommends."""
