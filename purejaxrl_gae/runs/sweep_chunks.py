"""A sweep's configurations, divided: those that can share a program, in parts that fit into memory."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import jax

from purejaxrl_gae.program import algorithms
from purejaxrl_gae.program.many_agents import WIDEST_GROUP
from purejaxrl_gae.runs.device_memory import available_bytes, bytes_per_agent
from purejaxrl_gae.settings.config import TrainingConfig

MEMORY_SHARE = 0.5


class Chunk(NamedTuple):
    """Configurations that are trained at once.

    Attributes:
      indices: their places in the whole list.
      values: what each changes of the base config.
      group: names what decides their program, the same for all: values that cannot be traced, and what is switched off.
      slots: configurations the compiled program has room for, at least as many.
    """

    indices: list[int]
    values: list[dict[str, Any]]
    group: str
    slots: int


def divide(
    base: TrainingConfig,
    configurations: list[dict[str, Any]],
    first_index: int,
    num_seeds: int,
    max_agents: int,
    devices: list[jax.Device],
) -> list[Chunk]:
    """Groups what can share a program, then cuts each group into equal parts that fit into memory.

    Args:
      base: config that every configuration changes.
      configurations: what each changes.
      first_index: place of the first in the whole list.
      num_seeds: agents of each.
      max_agents: to train at once; 0: as many as fit into half the memory.
      devices: to train on.
    """
    traced = set(vars(algorithms.make_algorithm(base).hyperparameters))
    groups: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for index, values in enumerate(configurations, first_index):
        changed = replace(base, **values)
        changed.validate()
        # None switches a part of the algorithm off, which no traced number can do.
        static = {k: v for k, v in values.items() if k not in traced or v is None}
        off = sorted(k for k in traced if getattr(changed, k) is None)
        groups.setdefault(repr((sorted(static.items()), off)), []).append((index, values))
    chunks = []
    for group, members in groups.items():
        some = replace(base, **members[0][1])
        fitting = _configurations_at_once(some, len(members), num_seeds, max_agents, devices)
        parts = -(-len(members) // fitting)
        slots = -(-len(members) // parts)
        for part in _batched(members, slots):
            chunks.append(Chunk([index for index, _ in part], [own for _, own in part], group, slots))
    return chunks


def _configurations_at_once(
    some: TrainingConfig, number: int, num_seeds: int, max_agents: int, devices: list[jax.Device]
) -> int:
    if max_agents:
        return max(1, max_agents // num_seeds)
    each, room = bytes_per_agent(algorithms.make_algorithm(some)), MEMORY_SHARE * available_bytes()
    if devices[0].platform == "cpu":  # agents wait for their turn, few work at a time
        fitting = (room - each.working * WIDEST_GROUP * len(devices)) / each.held
    else:
        fitting = room / (each.held + each.working)
    return int(min(number, max(1, fitting // num_seeds)))


def _batched(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
