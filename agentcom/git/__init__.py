"""Git for a task: a shared bare clone, a worktree and a branch for each task, a hook, evidence, and rescue.

The same code serves the sidecar and `agentcom git`. Every call has a time limit, none can ask for a password, and what
goes wrong is a value. The steps, in their order:

    merged(place, head_sha="")          -> bool | GitProblem        the base has the work already: not to be run again
    start(place, keep=False)            -> Started | GitProblem     verified base, branch and worktree ready
    arm(place, token, started)                                      the hook lets this attempt push
    agent_environ(place, token)         -> dict                     for the agent's environment
    … the agent works …
    finish(place, started)              -> Finished | GitProblem    evidence; what is uncommitted is rescued
    publishable(place, started)         -> GitProblem | None        the hook's rules again, against origin as it is now
    push(place, head_sha, expected)     -> GitProblem | None        forward only, compare-and-swap, may be repeated
    disarm(place)                                                   nobody may push any more
    drop(place)                         -> GitProblem | None        the worktree goes, unpushed work stays in the clone

Also: armed(place) -> Armed | None, who may push and what `start` had answered, after a crash; status(place); and
place_of(…) and clone_of(…), where things lie. Of one task, only the attempt that is at work may be between `start` and
`disarm`; the calls themselves may come from any number of processes.
"""

from agentcom.git.finish import finish
from agentcom.git.guarding import Armed, agent_environ, arm, armed, disarm
from agentcom.git.hook import ATTEMPT
from agentcom.git.inspecting import branch_at, file_at, restore, written_by_commits
from agentcom.git.keeping import drop, merged
from agentcom.git.layout import clone_of, place_of
from agentcom.git.place import Finished, GitProblem, Place, Repository, Started
from agentcom.git.pushing import publishable, push
from agentcom.git.start import start
from agentcom.git.status import Standing, status

__all__ = [
    "ATTEMPT",
    "Armed",
    "Finished",
    "GitProblem",
    "Place",
    "Repository",
    "Standing",
    "Started",
    "agent_environ",
    "arm",
    "armed",
    "branch_at",
    "clone_of",
    "disarm",
    "drop",
    "file_at",
    "finish",
    "merged",
    "place_of",
    "publishable",
    "push",
    "restore",
    "start",
    "status",
    "written_by_commits",
]
