"""What AgentCom knows of the programs that people use as coding agents: how each is called, and what it says.

Pure: an adapter makes an argv, and reads lines. Processes, files and clocks are the sidecar's.
"""
