"""A stand-in on loopback for the models of coding agents: what real programs are run against, with no other network.

    with Model() as model:
        model.script([Write("a.txt", "hello"), Run("git add -A && git commit -qm done"), Say("Done.")])
        environ = os.environ | model.environ_for("codex")
        subprocess.run(["codex", "exec", *model.arguments_for("codex"), "…"], env=environ)

In an agent's settings: `env = model.environ_for(NAME)`, `arguments = model.arguments_for(NAME)` and
`model = model.model_for(NAME)`. Agents that are to follow different scripts get different keys.

It speaks Anthropic's Messages, OpenAI's Responses and the chat completions of most others. Each request of an agent
takes one step of the script; requests without tools, such as for a title, take none.
"""

from tests.standin.model import Model
from tests.standin.steps import Call, Fail, Garbage, Hang, Run, Say, Step, Write, limited, overflow, refused

__all__ = [
    "Call",
    "Fail",
    "Garbage",
    "Hang",
    "Model",
    "Run",
    "Say",
    "Step",
    "Write",
    "limited",
    "overflow",
    "refused",
]
