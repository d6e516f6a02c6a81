"""A coding agent without a model: does one task of the demonstration and publishes it as one commit.

    worker.py --skills fix,test      started by AgentCom's `command` runner, in an empty directory

The task's text names the recipe. DEMO_ORIGIN is the path or address of the repository to work on.
Exit code 0: done, 75: try again later, 78: not for this agent, 1: the attempt failed.
"""

import argparse
import os
import sys
from contextlib import nullcontext
from pathlib import Path

import documenting
import fixing
import formatting
import suite
import testing
from contract import (
    AttemptError,
    MisconfiguredError,
    Result,
    RetryLaterError,
    Task,
    read_task,
    say,
    write_result,
)
from recipes import Recipe
from repository import Repository

RECIPES: dict[str, Recipe] = {
    **formatting.RECIPES,
    **fixing.RECIPES,
    **testing.RECIPES,
    **documenting.RECIPES,
}


def choose(task: Task, skills: frozenset[str]) -> Recipe:
    """The recipe that the task asks for. Raises MisconfiguredError if this agent can't do it."""
    name = task.header("recipe")
    recipe = RECIPES.get(name)
    if recipe is None:
        raise MisconfiguredError(f"no recipe {name!r}; there are: {', '.join(sorted(RECIPES))}")
    if recipe.skill not in skills:
        raise MisconfiguredError(f"{name} takes the skill {recipe.skill}, this agent has: {', '.join(sorted(skills))}")
    return recipe


def carry_out(task: Task, recipe: Recipe, repository: Repository) -> Result:
    """Edits, verifies, commits and publishes. If somebody else was quicker, once more on the new main, in its turn."""
    repository.open()
    summary = ""
    for again in (False, True):
        with repository.turn() if again else nullcontext():
            kept = repository.catch_up()
            if done := repository.commit_on_main():
                say(f"already on main: {done[:10]}")
                return Result(f"Already done: {repository.subject_of(done)}.", repository.files_of(done), done)
            edits = not again or not kept or recipe.repeats
            if edits:
                summary = recipe.edit(task, repository.root)
            verify(recipe, repository)
            if edits:
                recipe.check(task, repository.root)
            commit = repository.commit(summary)
            if not commit:
                return Result(f"Nothing to change. {summary}", (), "")
            repository.push_branch()
            if not again:
                recipe.soak(task, repository.root)
            with nullcontext() if again else repository.turn():
                published = repository.publish()
            if published:
                say(f"main is now at {commit[:10]}: {summary}")
                return Result(summary, repository.files_of(commit), commit)
        say("somebody else was quicker; once more on the new main")
    raise RetryLaterError("main moved although it was this agent's turn")


def verify(recipe: Recipe, repository: Repository) -> None:
    """Raises AttemptError unless the recipe's tests ran and passed, and no test fails that doesn't on main."""
    outcomes = suite.outcomes(repository.root)
    for target in recipe.targets:
        aimed_at = {test: message for test, message in outcomes.items() if suite.belongs_to(test, target)}
        if not aimed_at:
            raise AttemptError(f"there is no test {target} to pass")
        unmet = [f"{test}: {message}" for test, message in aimed_at.items() if message]
        if unmet:
            raise AttemptError(f"still failing: {unmet[0]}")
    failing = {test for test, message in outcomes.items() if message}
    # Main is red until the whole backlog is done; only the tests that fail here need comparing with it.
    broken = failing - suite.failures(repository.base).keys() if failing else set()
    if broken:
        raise AttemptError(f"fails with the change, not on main: {', '.join(sorted(broken))}")
    say(f"verified; {len(failing)} tests still fail, as they do on main")


def main() -> int:
    """Does the task and returns the exit code that tells AgentCom how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skills", required=True, help="what this agent can do, separated by commas")
    skills = frozenset(parser.parse_args().skills.split(","))
    try:
        task = read_task(os.environ)
        origin, result_file = os.environ.get("DEMO_ORIGIN"), os.environ.get("AGENTCOM_RESULT_FILE")
        if not origin or not result_file:
            raise MisconfiguredError("DEMO_ORIGIN and AGENTCOM_RESULT_FILE must be set")
        say(f"{task.agent} takes on {task.title!r}, attempt {task.attempt}")
        recipe = choose(task, skills)
        write_result(Path(result_file), carry_out(task, recipe, Repository(Path.cwd(), origin, task)))
    except AttemptError as error:
        say(f"stopped with exit code {error.exit_code}: {error}")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
