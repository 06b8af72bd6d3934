"""python -m purejaxrl_gae, or purejaxrl-gae: the commands, and what each is for.

    purejaxrl-gae ppo --env Pendulum-v1

is `python -m purejaxrl_gae.ppo --env Pendulum-v1`.
"""

import importlib
import sys

from purejaxrl_gae.runs import streams
from purejaxrl_gae.settings.errors import UserError, closest

TRAINING = {
    "ppo": "train by proximal policy optimization",
    "trpo": "train by trust region policy optimization",
    "a2c": "train by synchronous advantage actor-critic",
    "reinforce": "train by the plain policy gradient, with six kinds of weight",
    "off_policy": "train by actor-critic or policy gradient on data that is used several times",
}
OTHERS = {
    "train": "train by an algorithm of your own: train MODULE:CLASS --env …",
    "evaluate": "score a policy on fresh episodes, or draw one",
    "plot": "draw learning curves, sweeps and performance profiles",
    "export": "write a policy as JSON, for pages and other languages",
    "sweep": "train a grid or random draws of settings side by side, and rank them",
}


def describe() -> str:
    """Returns the list of commands."""
    lines = [f"  {name:<12}{about}" for name, about in {**TRAINING, **OTHERS}.items()]
    return "\n".join(
        [
            "usage: purejaxrl-gae COMMAND [FLAGS]",
            "",
            *lines,
            "",
            "purejaxrl-gae COMMAND --help lists a command's flags. Try: purejaxrl-gae ppo --env Pendulum-v1",
        ]
    )


def main(arguments: list[str] | None = None) -> None:
    """Runs the command that the first argument names, or lists them all."""
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help", "help"):
        with streams.dispensable():
            streams.Stream("stdout").write(describe() + "\n")
    elif command == "--version":
        print(importlib.import_module("purejaxrl_gae").__version__)
    elif command in TRAINING:
        importlib.import_module("purejaxrl_gae.cli").main(command, rest)
    elif command in OTHERS:
        importlib.import_module(f"purejaxrl_gae.{command}").main(rest)
    else:
        known = list(TRAINING) + list(OTHERS)
        error = UserError(f"command is {command!r}; it must be one of {', '.join(known)}{closest(command, known)}")
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
