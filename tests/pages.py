"""Pages of documentation: their blocks, links and commands."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from purejaxrl_gae import cli, sweep
from purejaxrl_gae.evaluate import EvaluateOptions
from purejaxrl_gae.export import ExportOptions
from purejaxrl_gae.plot import PlotOptions
from purejaxrl_gae.program import algorithms
from purejaxrl_gae.settings import config, flags

ROOT = Path(__file__).parent.parent
INSTALLING = re.compile(r"^pip install \S+ && ")
BLOCK = re.compile(r"(<!-- slow -->\n+)?^```(\w+)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language, its text, and whether the page marks it as one that trains for a while."""

    kind: str
    text: str
    is_slow: bool


def blocks(page: Path) -> list[Block]:
    return [Block(kind, text, bool(slow)) for slow, kind, text in BLOCK.findall(page.read_text())]


def commands(page: Path) -> list[str]:
    """The package's commands in a page's shell blocks, without installing and testing."""
    lines = [line for block in blocks(page) if block.kind == "bash" for line in block.text.splitlines()]
    lines = [INSTALLING.sub("", line.strip()) for line in lines]
    return [line for line in lines if line.startswith("python -m purejaxrl_gae.")]


def refuse_wrong_command(command: str) -> None:
    """Reads a command as the package would, short of running it."""
    module, *arguments = shlex.split(command, comments=True)[2:]
    name = module.removeprefix("purejaxrl_gae.")
    if name == "evaluate":
        flags.read(arguments, config.field_types(EvaluateOptions))
    elif name == "export":
        flags.read(arguments, config.field_types(ExportOptions))
    elif name == "plot":
        flags.read(arguments, config.field_types(PlotOptions), "run_dirs")
    elif "--resume" in arguments or "--help" in arguments:
        assert name in (*algorithms.CONFIG_CLASSES, "sweep")
    elif name == "sweep":
        sweep.parse(arguments)
    else:
        training_config, options = cli.parse(arguments.pop(0) if name == "train" else name, arguments)
        training_config.validate()
        options.validate()


def prose(page: Path) -> str:
    """A page without its fenced blocks and code."""
    text = re.sub(r"^(```|:::).*?^\1", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def links(page: Path) -> list[str]:
    """Where a page's links lead, Markdown's and HTML's."""
    return re.findall(r"""(?:\]\(|<a href=")([^)"\s]+)[)"]""", prose(page))


def anchors(page: Path) -> set[str]:
    """What a link to a heading ends in, as GitHub and MyST make it."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
