"""The few exceptions of AgentCom. Each carries what went wrong and what to do next, in one line each.

Expected outcomes (a refused task, a failed attempt, a missed lease) are values, never exceptions.
"""

EXIT_INTERRUPTED = 130
"""What a command ends with after Ctrl-C, as a shell has it."""


class AgentComError(Exception):
    """Something outside AgentCom's control that a person must mend.

    `exit_code` is what the command line ends with. `str(error)` is one line: what is wrong, then what to do.
    """

    exit_code = 1

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}. {remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class ConfigurationError(AgentComError):
    """A setting is unknown, malformed or contradicts another; retrying cannot help."""

    exit_code = 78


class ServerUnavailable(AgentComError):
    """No Redis could be reached or started; it may come back."""


class CredentialsRefused(ConfigurationError):
    """Redis refused the user or password; retrying would only lock the account."""


class Refused(AgentComError):
    """A request was not taken on. The reason is the scheduler's own, or the client's for what it need not send."""


class UsageError(AgentComError):
    """A command or a call was given arguments that cannot work together."""

    exit_code = 2
