"""python -m benchmarks.faults: what each fault of the source documents does to learning, one at a time.

Each row trains a preset twice with the same seeds, as it is and with one fault put in, and prints the scores of the
last 100 training episodes with the paired difference. What no option has is handed in (`benchmarks.fault_parts`).
"""

import json
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import fault_parts
from benchmarks.curves import train_seeds
from benchmarks.slide_trpo import SlideConfig
from purejaxrl_gae import OffPolicyConfig, PPOConfig, TRPOConfig, with_preset
from purejaxrl_gae.runs.statistics import with_interval

DOCS = Path(__file__).parent.parent / "docs"
RESULTS, PAGE = DOCS / "faults.json", DOCS / "theory" / "source_documents.md"
TABLE = re.compile(r"(<!-- faults -->\n).*?(\n<!-- end of faults -->)", flags=re.DOTALL)


@dataclass(frozen=True)
class Options:
    """Trains every row that is not in the file yet, prints the table, and puts it into its page."""

    num_seeds: int = 8
    """agents of each side"""
    output: Path = RESULTS
    """JSON file to read and write"""


@dataclass(frozen=True)
class Fault:
    """One row.

    Attributes:
      numbers: of the fault in the table of twenty.
      what: the fault, in a few words.
      right: the config without it.
      fields: what puts it in.
      kind: of the config with it, where the fault is an algorithm of its own; otherwise that of `right`.
    """

    numbers: str
    what: str
    right: Any
    fields: dict[str, Any]
    kind: Any = None

    @property
    def wrong(self) -> Any:
        """The config with the fault."""
        same = {each.name: getattr(self.right, each.name) for each in fields(self.right)}
        return (self.kind or type(self.right))(**{**same, **self.fields})


CARTPOLE = replace(with_preset(PPOConfig(env="CartPole-v1")), total_timesteps=100_000)
PENDULUM = with_preset(PPOConfig(env="Pendulum-v1"))
FAR_SIGHTED = replace(PENDULUM, gamma=0.99, gae_lambda=0.95)
TRPO = replace(with_preset(TRPOConfig(env="Pendulum-v1")), total_timesteps=100_000)
MONTE_CARLO = replace(TRPO, advantage="monte_carlo")
EPISODES = replace(TRPO, num_steps=275, batch_size=55)  # 2,200 samples, as 000 has them
WHOLE_EPISODES = {"num_envs": 11, "num_steps": 200, "batch_size": 110, "stagger_episodes": False}
REACHER = PPOConfig(env="Reacher-misc", total_timesteps=100_000, num_envs=8, num_steps=256)  # two action dimensions
REACHER = replace(REACHER, normalize_observations=True, anneal_lr=True)
LAST_VALUE = {"advantage": fault_parts.own_value_behind_the_last_step}
TRPO_CARTPOLE = replace(with_preset(TRPOConfig(env="CartPole-v1")), total_timesteps=50_000)
SHORT = replace(CARTPOLE, num_envs=64, num_steps=16, norm_adv=False, normalize_rewards=False, max_episode_steps=512)
PADDED = {"env": fault_parts.PaddedCartPole(), "advantage": fault_parts.padded_gae}
OFF_POLICY = replace(with_preset(OffPolicyConfig(env="CartPole-v1")), total_timesteps=100_000)
FAULTS = (
    Fault("2", "the line search takes returns for the new surrogate", TRPO, {}, SlideConfig),
    Fault("2", "the same, where returns are positive", TRPO_CARTPOLE, {}, SlideConfig),
    Fault("3", "a step must bring half of the promise", TRPO, {"acceptance_ratio": 0.5}),
    Fault("1, 3", "the same, and the promise fades", TRPO, {"acceptance_ratio": 0.5, "compound_expectation": True}),
    Fault("4", "time limit taken for an end, gamma = 0.95", PENDULUM, {"time_limit": "terminal"}),
    Fault("4", "time limit taken for an end, gamma = 0.99", FAR_SIGHTED, {"time_limit": "terminal"}),
    Fault("5", "whole episodes, 2,200 samples for 2,048", TRPO, WHOLE_EPISODES),
    Fault("6", "returns standardised, then targets", MONTE_CARLO, {"standardize_returns": True}),
    Fault("7", "one step of the value function", TRPO, {"n_critic_updates": 1, "batch_size": 0}),
    Fault("8", "advantages divided by the deviation of n - 1", TRPO, {"advantage_ddof": 1}),
    Fault("9", "a ratio for each action dimension", REACHER, {"objective": fault_parts.ratios_of_dimensions}),
    Fault("10", "24 of 2,200 samples dropped", EPISODES, {"batch_size": 64, "drop_last_minibatch": True}),
    Fault("11", "deviation fixed at 1", PENDULUM, {"learn_std": False, "log_std_init": 0.0}),
    Fault("12", "clipping range of 100", CARTPOLE, {"clip_coef": 100.0}),
    Fault("13", "GAE by a matrix of T x T discounts", CARTPOLE, {"advantage": fault_parts.gae_by_matrix}),
    Fault("14", "value target of one step", CARTPOLE, {"value_target": "td"}),
    Fault("15", "trajectories of 16 steps padded, in means too", SHORT, PADDED),
    Fault("16", "random samples of trajectories for epochs", CARTPOLE, {"minibatch_sampling": "trajectories"}),
    Fault("17", "ratios of probabilities", CARTPOLE, {"objective": fault_parts.ratios_of_probabilities}),
    Fault("18", "off-policy ratios without bound", OFF_POLICY, {"clip_ratios": False}),
    Fault("19", "the last step's own value behind it", CARTPOLE, LAST_VALUE),
    Fault("20", "residuals without gamma", PENDULUM, {"advantage": fault_parts.values_not_discounted}),
)


def final_scores(config: Any, num_seeds: int) -> list[float]:
    """Returns each seed's mean return of the last 100 training episodes."""
    return [round(float(score), 2) for score in train_seeds(config, num_seeds).scores[:, -1]]


def train_row(fault: Fault, num_seeds: int, known: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the record of a row; the side without the fault is trained once, however many rows have it."""
    without = next((each["right"] for each in known if each["config"] == repr(fault.right)), None)
    return {
        "numbers": fault.numbers,
        "what": fault.what,
        "config": repr(fault.right),
        "right": without or final_scores(fault.right, num_seeds),
        "wrong": final_scores(fault.wrong, num_seeds),
    }


def table(records: list[dict[str, Any]]) -> str:
    """Returns the rows in Markdown; those without a record yet say so."""
    lines = ["| | fault | trained | without | with | difference |", "|---|---|---|---|---|---|"]
    known = {each["what"]: each for each in records}
    for fault in FAULTS:
        cells = cells_of(known[fault.what]) if fault.what in known else ["", "", "not trained yet"]
        task = f"{fault.right.algorithm} {fault.right.env}, {fault.right.env_steps:,} steps"
        lines.append("| " + " | ".join([fault.numbers, fault.what, task, *cells]) + " |")
    return "\n".join(lines)


def cells_of(record: dict[str, Any]) -> list[str]:
    """Returns the mean without and with the fault, and the middle of the paired differences with its interval."""
    right, wrong = record["right"], record["wrong"]
    return [f"{np.mean(right):.0f}", f"{np.mean(wrong):.0f}", difference(right, wrong)]


def difference(right: list[float], wrong: list[float]) -> str:
    """Returns the interquartile mean of the paired differences with its 95% interval."""
    change = with_interval((np.array(wrong) - np.array(right))[:, None])
    return f"{change.value:+.0f} [{change.low:+.0f}, {change.high:+.0f}]"


def main() -> None:
    options = tyro.cli(Options)
    records = json.loads(options.output.read_text()) if options.output.exists() else []
    order = [fault.what for fault in FAULTS]
    for fault in FAULTS:
        if all(each["what"] != fault.what for each in records):
            records.append(train_row(fault, options.num_seeds, records))
            records.sort(key=lambda each: order.index(each["what"]))
            options.output.write_text(json.dumps(records, indent=0, ensure_ascii=False) + "\n")
    print(table(records))
    if options.output == RESULTS:
        PAGE.write_text(TABLE.sub(lambda marks: marks[1] + table(records) + marks[2], PAGE.read_text()))


if __name__ == "__main__":
    main()
