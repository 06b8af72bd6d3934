"""python -m benchmarks.trpo: whole TRPO runs against sb3-contrib's, at its settings, in turns.

Pendulum-v1 with 2 environments x 1024 steps per update, 15 conjugate gradient steps, 15 passes of minibatches of 128
for the value function, two 64 x 64 tanh networks, no normalisation of rewards or observations. sb3-contrib gets
Gymnasium's Pendulum, we gymnax's. Seconds are those of training: the peer's from the first step of `learn` to its
last, ours of the compiled program with its results awaited; our compile time stands beside them. Many agents are
divided among the devices, on a CPU its cores; the peer cannot train several at once, so its speed counts as it is.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks import all_cores as all_cores  # before anything that runs a JAX operation
from benchmarks import ours
from benchmarks.arguments import pythons_of_peers
from benchmarks.measure import Side, Timing, bar, interleave, peer_side, print_table, write_json
from purejaxrl_gae import TRPOConfig

PEER = "sb3-contrib"
PASSED_ON = (
    "gamma",
    "gae_lambda",
    "target_kl",
    "cg_max_steps",
    "cg_damping",
    "line_search_shrinking_factor",
    "line_search_max_iter",
    "learning_rate",
    "n_critic_updates",
    "batch_size",
)

SETTINGS = {
    "normalize_rewards": False,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "target_kl": 0.01,
    "cg_max_steps": 15,
    "cg_damping": 0.1,
    "line_search_shrinking_factor": 0.8,
    "line_search_max_iter": 10,
    "learning_rate": 1e-3,
    "n_critic_updates": 15,
    "batch_size": 128,
}


@dataclass(frozen=True)
class Options:
    """Times TRPO; the first side is this library."""

    updates: int = 20
    """updates of a run"""
    repeats: int = 5
    """turns that count"""
    num_agents: int = 16
    """agents trained side by side in the second setting"""
    peer: tuple[str, ...] = ()
    """NAME=PATH of the Python that has a peer, as in sb3-contrib=venv/bin/python; by default this one"""
    json: Path | None = None
    """file to write"""


def config(updates: int) -> TRPOConfig:
    """sb3-contrib's settings."""
    return TRPOConfig(
        env="Pendulum-v1",
        total_timesteps=2 * 1024 * updates,
        num_envs=2,
        num_steps=1024,
        **SETTINGS,
    )


def sides(num_agents: int, updates: int, peer_updates: int, pythons: dict[str, str]) -> dict[str, Side]:
    """Ours first."""
    own = config(updates)
    peer = ours.settings(own, PASSED_ON, peer_updates)
    return {
        "purejaxrl_gae": ours.one_agent(own) if num_agents == 1 else ours.agents(own, num_agents),
        f"{PEER}, 1 agent": peer_side("benchmarks.peers:sb3_contrib_trpo", peer, pythons, PEER),
    }


def bars(num_agents: int, results: list[Timing]) -> list[dict]:
    """At least 27 times the peer with one agent, 50 times with 16."""
    limit = {1: 27.0, 16: 50.0}.get(num_agents)
    if limit is None or len(results) < 2:
        return []
    return [bar(f"TRPO, agents {num_agents}, over {PEER}", results[1].ratio, limit, at_least=True)]


def main() -> None:
    options = tyro.cli(Options)
    pythons = pythons_of_peers(options.peer)
    results = {}
    for num_agents in (1, options.num_agents):
        setting = f"TRPO, {num_agents} agent{'s' if num_agents > 1 else ''}"
        timings = interleave(sides(num_agents, options.updates, options.updates, pythons), options.repeats)
        print_table(setting, timings)
        results[setting] = {"timings": timings, "bars": bars(num_agents, timings)}
    write_json(options.json, results)


if __name__ == "__main__":
    main()
