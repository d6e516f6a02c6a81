"""What git runs in: nothing can ask a person, and no configuration that an agent can write makes git run its code."""

from __future__ import annotations

import re
from collections.abc import Mapping

PROTOCOLS = "file:git:http:https:ssh"
"""`ext` and others like it would run a program that the URL names."""

OF_ANOTHER_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DEFAULT_HASH",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_TEMPLATE_DIR",
    "GIT_WORK_TREE",
)
"""Variables that would send git elsewhere; a hook, or an alias of git, hands them on."""

OVERRULED = (
    "advice.graftFileDeprecated=false",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.bigFileThreshold=32m",
    "commit.gpgSign=false",
    "diff.renames=true",
    "fetch.fsckObjects=false",
    "fetch.prune=false",
    "fetch.recurseSubmodules=false",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "init.defaultBranch=main",
    "maintenance.auto=false",
    "merge.renames=true",
    "push.followTags=false",
    "push.gpgSign=false",
    "push.pushOption=",
    "push.recurseSubmodules=no",
    "submodule.recurse=false",
)
"""Settings that hold whatever a user's, a system's or a repository's configuration says. Those that only say how to
reach a remote (proxies, certificates, credentials, insteadOf) stay the user's."""

_UNFIT_FOR_IDENT = re.compile(r"[\x00-\x1f<>\x7f]")
_UNFIT_FOR_MAIL = re.compile(r"[^a-z0-9._-]+")


def quiet_environ(environ: Mapping[str, str], ssh_command: str = "") -> dict[str, str]:
    """The environment that git is run in.

    Args:
        environ: all of the environment but what is added or taken out here.
        ssh_command: of the user's configuration, which the variable would hide.
    """
    quiet = {name: value for name, value in environ.items() if name not in OF_ANOTHER_REPOSITORY}
    quiet.setdefault("GIT_ALLOW_PROTOCOL", PROTOCOLS)
    if "GIT_SSH" not in quiet or "GIT_SSH_COMMAND" in quiet:
        ssh = quiet.get("GIT_SSH_COMMAND") or ssh_command or "ssh"
        quiet["GIT_SSH_COMMAND"] = f"{ssh} -o BatchMode=yes"
    return quiet | {
        # Nobody is there to type a password, and a helper that asks in a window would hang.
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
        "GCM_INTERACTIVE": "never",
        "GIT_EDITOR": "true",
        "GIT_SEQUENCE_EDITOR": "true",
        "GIT_PAGER": "cat",
        "GIT_OPTIONAL_LOCKS": "0",
        # Replaced objects and grafts would let an agent show a history that is not the one pushed.
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": "/dev/null",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_LITERAL_PATHSPECS": "1",
        "GIT_MERGE_AUTOEDIT": "no",
        "LC_ALL": "C",
    }


def overruling() -> list[str]:
    """The arguments of git that make `OVERRULED` hold."""
    return [argument for setting in OVERRULED for argument in ("-c", setting)]


def identity(author: str) -> tuple[str, str]:
    """The name and the mail address that commits carry, of an author's name."""
    name = _UNFIT_FOR_IDENT.sub("", author).strip(" .,:;\\\"'") or "agentcom"
    slug = _UNFIT_FOR_MAIL.sub("-", name.lower()).strip("-.") or "agentcom"
    return name, f"{slug}@agentcom.invalid"


def identity_environ(author: str) -> dict[str, str]:
    """The variables that make a commit carry this author."""
    name, mail = identity(author)
    return {
        "GIT_AUTHOR_NAME": name,
        "GIT_AUTHOR_EMAIL": mail,
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": mail,
    }
