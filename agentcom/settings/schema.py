"""Every setting: its type, its bounds and its default.

The bounds hold for what `load` read. They are not checked when a struct is built by hand, so that tests and
the simulator may go to extremes.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

# Patterns end in \Z, since $ would let a trailing newline pass.
AGENT_NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}\Z"
AGENT_NAME_RULE = "1 to 64 lower-case letters, digits, dots, underscores or hyphens, a letter or digit first"
MODEL_NAME_PATTERN = r"^[^\x00-\x20\x7f]{1,200}\Z"
MODEL_NAME_RULE = "1 to 200 characters without spaces"

Seconds = Annotated[float, Meta(ge=0.05, le=86_400)]
SecondsOrNone = Annotated[float, Meta(ge=0, le=86_400)]
Retention = Annotated[float, Meta(ge=1, le=315_360_000)]
Usd = Annotated[float, Meta(ge=0, le=1_000_000, description="USD per million tokens, from 0 to 1_000_000")]
Count = Annotated[int, Meta(ge=1, le=100_000_000)]
Path = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f]*\Z", max_length=4_096, description="a path in at most 4096 characters")
]
DelaysS = Annotated[
    tuple[Annotated[float, Meta(ge=0, le=86_400)], ...],
    Meta(min_length=1, max_length=100, description="1 to 100 delays, each of 0 to 86_400 seconds"),
]


class Policy(Struct, frozen=True, kw_only=True):
    """How patient, how persistent and how large a pool is. Seconds unless the name says otherwise."""

    # An assigned task that no agent accepted for so long goes to another one.
    accept_s: Seconds = 60.0
    # A task that ends sooner is not reported accepted separately: its end says both.
    accept_report_s: SecondsOrNone = 0.25
    beat_s: Annotated[float, Meta(ge=0.1, le=1_800)] = 30.0
    # Upper bound of the offset that each agent derives from its name, so that beats spread out.
    beat_offset_s: Annotated[float, Meta(ge=0, le=1_800)] = 10.0
    # A single late beat is no sign of death, hence 2 at least.
    stale_beats: Annotated[int, Meta(ge=2, le=100)] = 3
    # An agent silent for so long is offline.
    agent_down_s: Annotated[float, Meta(ge=0.1, le=604_800)] = 120.0
    # The wait before the second, third, … attempt.
    retry_delays_s: DelaysS = (0.0, 30.0, 120.0)
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 4
    # Retried work waits behind fresh work of the same priority at most so long.
    retry_age_s: Annotated[float, Meta(ge=0, le=604_800)] = 600.0
    # Each of these waits is longer by up to this share of it, so that what failed together is not tried together.
    retry_jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    # An agent that failed so many attempts in a row gets no work for so long; then one task, to prove itself.
    breaker_failures: Annotated[int, Meta(ge=1, le=1_000)] = 3
    breaker_s: Annotated[float, Meta(ge=0.05, le=86_400)] = 300.0
    # How long an agent is left alone whose provider refused requests without saying until when.
    rate_limit_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    # How often a task may meet a rate limit before that counts as a failure.
    max_waits: Annotated[int, Meta(ge=0, le=1_000)] = 20
    # How many parts a task may have, whose agents run out of context; past that it is a dead letter.
    max_parts: Annotated[int, Meta(ge=1, le=100)] = 5
    # A continued or answered task is left so long to the agent that knows it, before another may take it.
    warm_wait_s: Annotated[float, Meta(ge=0, le=86_400)] = 30.0
    # How long a task whose agent asked something waits for an answer before it fails; 0 means for ever.
    answer_s: Annotated[float, Meta(ge=0, le=31_536_000)] = 0.0
    # Whether such a task keeps its agent's slot meanwhile.
    input_holds_slot: Annotated[bool, Meta(description="true or false")] = False
    # From one self-test of an agent to the next, and how long one may take.
    self_test_s: Annotated[float, Meta(ge=0.1, le=86_400)] = 300.0
    self_test_limit_s: Annotated[float, Meta(ge=0.05, le=600)] = 30.0
    # An agent whose disk has less left takes no work.
    disk_free_bytes: Annotated[int, Meta(ge=0, le=1_099_511_627_776)] = 104_857_600
    # So many requeues within so long without any completion are a livelock. A new leader knows the latest 1,000.
    livelock_requeues: Annotated[int, Meta(ge=1, le=1_000_000)] = 20
    livelock_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    # The leader's lease: a crashed leader is replaced after about so long, a quarter more at most.
    lease_s: Annotated[float, Meta(ge=1, le=3_600)] = 10.0
    max_open_tasks: Count = 1_000_000
    # Requests that wait unread; while there are more, further ones are refused.
    max_inbox: Count = 100_000
    # Task text that the scheduler holds in memory, over all open tasks.
    max_open_bytes: Annotated[int, Meta(ge=1, le=1_099_511_627_776)] = 1_073_741_824
    # The text of one task.
    max_text_bytes: Annotated[int, Meta(ge=1, le=8_388_608)] = 65_536
    # How long the record of an ended task is kept.
    retention_s: Retention = 604_800.0
    # How long an idempotency key is remembered, and how many are.
    key_retention_s: Retention = 2_592_000.0
    max_keys: Count = 100_000
    journal_entries: Count = 50_000
    dead_entries: Count = 10_000
    # For how many days on which there was work it is kept what that cost.
    costs_days: Annotated[int, Meta(ge=1, le=3_660)] = 90
    # Output kept of one task: the last so many bytes and entries.
    output_bytes: Annotated[int, Meta(ge=1, le=1_073_741_824)] = 1_048_576
    output_entries: Count = 2_000
    # From SIGTERM to SIGKILL when an attempt is ended.
    grace_s: SecondsOrNone = 10.0
    # How long a stopping sidecar lets its running work come to an end.
    drain_s: SecondsOrNone = 30.0
    # The time limit of an attempt whose task names none.
    timeout_s: Annotated[float, Meta(ge=0.05, le=2_592_000)] = 3_600.0
    # How often a task may be handed back unstarted before that counts as a failure.
    max_handbacks: Annotated[int, Meta(ge=0, le=1_000)] = 5
    # An agent at work that prints nothing for so long is ended; 0: never.
    stall_s: SecondsOrNone = 1_800.0
    # An agent that prints more in a turn is ended.
    output_file_bytes: Annotated[int, Meta(ge=1, le=1_099_511_627_776)] = 536_870_912
    # How often work that falls short goes back to its agent, and how long one check of it may take.
    max_returns: Annotated[int, Meta(ge=0, le=100)] = 3
    check_s: Seconds = 900.0
    # How long one call of git may take, and how long all that comes before an agent is woken.
    git_s: Seconds = 120.0
    prepare_s: Seconds = 600.0
    # How long a forge that is away is waited for, until a person is asked.
    publish_s: Annotated[float, Meta(ge=0.05, le=2_592_000)] = 86_400.0
    # From one search for stuck orders to the next.
    sweep_s: Annotated[float, Meta(ge=0.05, le=3_600)] = 5.0
    # Inbox entries that the scheduler takes in a round.
    batch: Annotated[int, Meta(ge=1, le=10_000)] = 500


class AgentSettings(Struct, frozen=True, kw_only=True):
    """What one agent is, what it can do and how its sidecar runs it."""

    runner: Annotated[Literal["command", "python"], Meta(description='"command" or "python"')] = "command"
    # Which coding agent a command is: claude, codex, opencode, openclaw, acp, gemini, aider, openhands, command, or one
    # that is registered as an entry point.
    adapter: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z", description="the name of an adapter")] = (
        "command"
    )
    # The model it is to use, and further arguments; where the adapter takes such.
    model: Annotated[str, Meta(max_length=200, description="the name of a model")] = ""
    arguments: Annotated[tuple[str, ...], Meta(max_length=1_000, description="an array of arguments")] = ()
    # The argv of runner "command"; see `agentcom.settings.command` for its placeholders.
    command: Annotated[
        tuple[str, ...],
        Meta(max_length=1_000, description="a program and its arguments, as an array of texts"),
    ] = ()
    # What runner "python" calls.
    handler: Annotated[
        str,
        Meta(
            pattern=r"^([^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*)?\Z",
            max_length=500,
            description='"package.module:function"',
        ),
    ] = ""
    # Tasks it works on at the same time.
    slots: Annotated[int, Meta(ge=1, le=1_000)] = 1
    # Levels by skill; a higher one means better at it.
    skills: Annotated[
        dict[str, Annotated[float, Meta(ge=0, le=1_000)]],
        Meta(description="skills with levels from 0 to 1_000"),
    ] = field(default_factory=dict)
    # Facts that requirements may name, such as os = "linux".
    attributes: Annotated[
        dict[str, str | int | float | bool],
        Meta(description="names with a text, a number, true or false each"),
    ] = field(default_factory=dict)
    # A requirement on tasks in the requirements language; empty accepts every task.
    accepts: Annotated[str, Meta(max_length=4_096, description="a requirement in at most 4096 characters")] = ""
    # The agent's context window; 0 means unknown.
    context_tokens: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    workspace: Path = ""
    # The argv of a check, run now and then, that ends with 0 if the agent can be woken; empty: its program exists.
    self_test: Annotated[
        tuple[str, ...],
        Meta(max_length=1_000, description="a program and its arguments, as an array of texts"),
    ] = ()
    # The git repository that it works on; it gets no work while that cannot be reached.
    repo: Annotated[str, Meta(max_length=4_096, description="a URL or path of a git repository")] = ""
    # The branch of `repo` that work goes into; empty: what its HEAD names.
    base: Annotated[str, Meta(max_length=250, description="the name of a branch")] = ""
    # Where its work is reviewed: github, local or none; and for github, which repository and where its API is.
    forge: Annotated[Literal["github", "local", "none"], Meta(description='"github", "local" or "none"')] = "none"
    forge_repo: Annotated[str, Meta(max_length=400, description='"owner/name"')] = ""
    forge_url: Annotated[str, Meta(max_length=4_096, description="the base URL of a REST API")] = ""
    # The name of the variable of the sidecar that holds the forge's token.
    forge_token_env: Annotated[str, Meta(max_length=200, description="the name of a variable")] = "GITHUB_TOKEN"  # noqa: S105 - a name, no secret
    # Variables set for the agent's process, over those it inherits.
    env: Annotated[
        dict[str, str], Meta(max_length=1_000, description="names of environment variables with a text each")
    ] = field(default_factory=dict)
    # Names of the variables that the agent's process inherits; a secret that isn't named can't leak.
    env_pass: Annotated[
        tuple[str, ...], Meta(max_length=1_000, description="an array of names of environment variables")
    ] = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "USER", "SHELL", "TMPDIR")


class AlertSettings(Struct, frozen=True, kw_only=True):
    """Who is told when something is wrong. Schedulers tell; each incident is told once, and again when it is over."""

    # Where to, as Apprise has it: https://github.com/caronc/apprise/wiki
    urls: Annotated[
        tuple[Annotated[str, Meta(max_length=4_096)], ...],
        Meta(max_length=100, description="an array of Apprise URLs, such as ntfy://topic"),
    ] = ()
    # The argv of a program that is run for each alert, which it gets as JSON on stdin.
    command: Annotated[
        tuple[str, ...],
        Meta(max_length=1_000, description="a program and its arguments, as an array of texts"),
    ] = ()
    # What is told: findings of this severity or graver, and tasks that wait for a person.
    severity: Annotated[Literal["warning", "critical"], Meta(description='"warning" or "critical"')] = "critical"
    # From one look at the pool to the next.
    every_s: Annotated[float, Meta(ge=0.1, le=3_600)] = 15.0
    # How long one delivery may take.
    timeout_s: Annotated[float, Meta(ge=0.1, le=600)] = 20.0
    # At most so many messages about single agents and tasks in an hour; then one says that there are more.
    per_hour: Annotated[int, Meta(ge=1, le=10_000)] = 60
    # An agent that is silent for so long is an incident.
    agent_down_s: Annotated[float, Meta(ge=0.1, le=604_800)] = 300.0


class Price(Struct, frozen=True, kw_only=True):
    """What a model costs, in USD per million tokens, for agents that report no cost themselves."""

    input_usd: Usd = 0.0
    # What is written for the model itself, its reasoning, counts as output.
    output_usd: Usd = 0.0
    # Input that comes from the provider's cache, and that goes into it; 0 means the same as other input.
    cache_read_usd: Usd = 0.0
    cache_write_usd: Usd = 0.0


class CheckSettings(Struct, frozen=True, kw_only=True):
    """What work on this repository has to pass. Read in the repository itself, at the base of the work."""

    # Command lines, split as a shell would, but run without one.
    commands: Annotated[
        tuple[Annotated[str, Meta(max_length=4_096)], ...],
        Meta(max_length=50, description="an array of at most 50 command lines"),
    ] = ()


Patterns = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=400)], ...],
    Meta(max_length=1_000, description="an array of patterns of paths, such as *.md or docs/*"),
]


class GateSettings(Struct, frozen=True, kw_only=True):
    """What `agentcom gate` lets through without a person. Whatever any rule is against, a person decides.

    Patterns are those of a shell, but that * also matches a /. One without a / is about the name of a file in any
    folder, one with a / about its whole path.
    """

    # How much a pull request may change: files, and lines that it adds or takes out.
    max_files: Annotated[int, Meta(ge=1, le=100_000)] = 20
    max_lines: Annotated[int, Meta(ge=1, le=10_000_000)] = 400
    # Files that it may change.
    allow: Patterns = ("*.md", "*.rst", "*.adoc")
    # Files that it may add, but not change: a test that is there says what must go on to hold.
    allow_new: Patterns = (
        "test_*.py",
        "*_test.py",
        "*_test.go",
        "*_test.rb",
        "*_spec.rb",
        "*.test.js",
        "*.test.jsx",
        "*.test.ts",
        "*.test.tsx",
        "*.spec.js",
        "*.spec.ts",
    )
    # Files that it may neither change nor add, even if another pattern allows them, in upper or lower case: what
    # steers builds, machines, people's rights, and agents.
    deny: Patterns = (
        ".*",
        ".*/*",
        "*/.*",
        "*.toml",
        "*.cfg",
        "*.ini",
        "*.conf",
        "*.yml",
        "*.yaml",
        "*.json",
        "*.lock",
        "*.tf",
        "*.tfvars",
        "*.sh",
        "*.mk",
        "Makefile",
        "Dockerfile*",
        "Jenkinsfile*",
        "requirements*.txt",
        "conftest.py",
        "setup.py",
        "CODEOWNERS",
        "LICENSE*",
        "AGENTS.md",
        "CLAUDE.md",
        "GEMINI.md",
        "SKILL.md",
        "BACKLOG.md",
        "hooks/*",
        "*/hooks/*",
    )


class Settings(Struct, frozen=True, kw_only=True):
    """All that can be set, merged and checked."""

    # Where Redis is; empty means: find the embedded server.
    redis: Annotated[str, Meta(max_length=4_096, description="a URL in at most 4096 characters")] = ""
    pool: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9-]{0,39}\Z",
            description="1 to 40 lower-case letters, digits or hyphens, a letter or digit first",
        ),
    ] = "default"
    # Where this machine keeps its files; empty leaves it to the caller.
    data_dir: Path = ""
    policy: Policy = field(default_factory=Policy)
    agents: dict[str, AgentSettings] = field(default_factory=dict)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    checks: CheckSettings = CheckSettings()
    # By the beginning of the model's name; the longest that fits holds.
    prices: dict[str, Price] = field(default_factory=dict)
    gate: GateSettings = field(default_factory=GateSettings)


class Loaded(Struct, frozen=True, kw_only=True):
    """The settings, and where each came from.

    `sources` maps every dotted key ("policy.beat_s", "agents.oak.slots") to "default", the path of the file,
    the name of an environment variable or a flag.
    """

    settings: Settings
    sources: dict[str, str]
