"""Reading YAML as plain data: numbers as YAML 1.2 writes them, every key once, and nothing that runs or never ends.

PyYAML reads by the rules of YAML 1.1, in which `1:30` is 90, `010` is 8, `3e-4` is text and `2026-11-24` a date.
"""

import itertools
import re
from pathlib import Path
from typing import Any

import yaml

from purejaxrl_gae.settings.errors import UserError, shown
from purejaxrl_gae.settings.fields import MOST_DIGITS
from purejaxrl_gae.settings.trust import Foreign

INT, FLOAT, DATE = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
WHOLE_NUMBER = re.compile(r"[-+]?[0-9][0-9_]*$|0x[0-9a-fA-F]+$|0o[0-7]+$")
REAL_NUMBER = re.compile(
    r"[-+]?(\.[0-9][0-9_]*|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$"
)
LARGEST = 200_000  # bytes of a file, and characters of what its aliases expand to
DEEPEST = 50  # levels of lists and mappings
PLACE = re.compile(r'in "[^"]*", ')


class Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's numbers, without dates, and with keys that may stand once only."""

    def get_single_node(self) -> yaml.Node | None:
        """Returns what a document consists of, with nothing built of it yet.

        Raises:
          UserError: it would become larger or deeper than anything that is read here.
        """
        root = super().get_single_node()
        if root is not None and _expanded(root, {}, 1) > LARGEST:
            raise UserError(f"has aliases that expand to more than {LARGEST:,} characters")
        return root

    def fetch_flow_collection_start(self, token: Any) -> None:
        """Reads a bracket or brace.

        Raises:
          UserError: too many are open; PyYAML takes time with the square of how many.
        """
        if self.flow_level >= DEEPEST:
            raise UserError(f"is nested too deeply: at most {DEEPEST} levels")
        super().fetch_flow_collection_start(token)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the mapping of a node.

        Raises:
          yaml.constructor.ConstructorError: a key stands twice.
        """
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {shown(key.value)} stands twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_whole_number(self, node: yaml.ScalarNode) -> Any:
        """Returns the number of a node, or its text where that is longer than any number a field can take."""
        text = str(self.construct_scalar(node)).replace("_", "")
        if len(text) > MOST_DIGITS:
            return text
        base = {"0x": 16, "0o": 8}.get(text[:2], 10)
        return int(text, base)


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (INT, FLOAT, DATE)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(INT, WHOLE_NUMBER, list("-+0123456789"))
Loader.add_implicit_resolver(FLOAT, REAL_NUMBER, list("-+0123456789."))
Loader.add_constructor(INT, Loader.construct_whole_number)

yaml.SafeDumper.add_representer(Foreign, yaml.SafeDumper.represent_str)


def _expanded(node: yaml.Node, known: dict[int, int], level: int) -> int:
    """Counts the characters that a node becomes, those that an alias repeats each time, without building any."""
    if isinstance(node, yaml.ScalarNode):
        return 1 + len(node.value)
    if level > DEEPEST:  # an alias within what it repeats has no end
        raise UserError(f"is nested too deeply: at most {DEEPEST} levels")
    if id(node) not in known:
        children = itertools.chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_expanded(child, known, level + 1) for child in children)
    return known[id(node)]


def load(text: str) -> Any:
    """Returns what a YAML document holds.

    Raises:
      UserError: it is no YAML, or holds what is refused here; the message says what and where.
    """
    if len(text) > LARGEST:
        raise UserError(f"has more than {LARGEST:,} characters")
    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except RecursionError:
        raise UserError(f"is nested too deeply: at most {DEEPEST} levels") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"is not YAML: {PLACE.sub('', ' '.join(str(error).split()))[:300]}") from None


def read(path: Path) -> Any:
    """Returns what a YAML file holds.

    Raises:
      UserError: it cannot be read, or is no YAML; the message begins where the file's name ends.
    """
    try:
        with path.open("rb") as file:
            contents = file.read(LARGEST + 1)
        if len(contents) > LARGEST:
            raise UserError(f"has more than {LARGEST:,} bytes")
        return load(contents.decode())
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"is not UTF-8 text: byte {error.start} cannot be read") from None
