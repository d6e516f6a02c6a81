"""`python -m agentcom`, the same as the `agentcom` command."""

from agentcom.cli.main import main

if __name__ == "__main__":
    main()
