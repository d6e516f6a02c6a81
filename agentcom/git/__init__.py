"""Git for a task: a shared bare clone, a worktree and a branch for each task, a hook, evidence, and rescue.

The same code serves the sidecar and `agentcom git`. Every call has a time limit, none can ask for a password, and what
goes wrong is a value. The steps, in their order:

    start(place, keep=False)            -> Started | GitProblem     verified base, branch and worktree ready
    arm(place, token, started)                                      the hook lets this attempt push; disarm(place)
    … the agent works, with its token as AGENTCOM_FENCE …
    finish(place, started)              -> Finished | GitProblem    evidence; what is uncommitted is rescued
    publishable(place, started)         -> GitProblem | None        the hook's rules again, against origin as it is now
    push(place, head_sha, expected)     -> GitProblem | None        forward only, compare-and-swap, may be repeated
"""

from agentcom.git.finish import finish
from agentcom.git.guarding import arm, disarm
from agentcom.git.hook import ATTEMPT
from agentcom.git.inspecting import branch_at, file_at, restore
from agentcom.git.keeping import drop, merged
from agentcom.git.place import Finished, GitProblem, Place, Repository, Started
from agentcom.git.pushing import publishable, push
from agentcom.git.start import start

__all__ = [
    "ATTEMPT",
    "Finished",
    "GitProblem",
    "Place",
    "Repository",
    "Started",
    "arm",
    "branch_at",
    "disarm",
    "drop",
    "file_at",
    "finish",
    "merged",
    "publishable",
    "push",
    "restore",
    "start",
]
