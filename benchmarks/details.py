"""python -m benchmarks.details: what each implementation detail is worth, one of them changed at a time.

Trains presets with the same seeds, as they are and with one field changed, and puts the scores of the last 100 training
episodes with their paired differences into the pages of the algorithms. What is in the file is not trained again.
Details that are faults of the source documents are rows of `benchmarks.faults`.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from benchmarks.faults import difference, final_scores
from purejaxrl_gae import A2CConfig, OffPolicyConfig, PPOConfig, ReinforceConfig, TRPOConfig, with_preset

DOCS = Path(__file__).parent.parent / "docs"
RESULTS = DOCS / "details.json"
TABLE = re.compile(r"(<!-- details -->\n).*?(\n<!-- end of details -->)", flags=re.DOTALL)
NOTHING = "nothing"
CARTPOLE, PENDULUM = ("CartPole-v1",), ("Pendulum-v1",)
UNLIMITED = 1e9  # a gradient norm that nothing reaches


@dataclass(frozen=True)
class Options:
    """Trains every row that is not in the file yet, and puts the tables into their pages."""

    num_seeds: int = 8
    """agents of each row"""
    only: tuple[str, ...] = ()
    """train rows of these algorithms or environments; none: all"""
    output: Path = RESULTS
    """JSON file to read and write"""


@dataclass(frozen=True)
class Detail:
    """One row.

    Attributes:
      what: the change, in a few words.
      fields: of the config, as they are after it; a task whose preset has them already has an empty cell.
      only: tasks that it is made on; none: on all.
    """

    what: str
    fields: dict[str, Any]
    only: tuple[str, ...] = ()


def preset(kind: Any, env: str, steps: int) -> Any:
    """Returns the preset of an environment, cut to so many steps."""
    return replace(with_preset(kind(env=env)), total_timesteps=steps)


TASKS = {
    "ppo": (preset(PPOConfig, "CartPole-v1", 50_000), preset(PPOConfig, "Pendulum-v1", 149_000)),
    "trpo": (preset(TRPOConfig, "CartPole-v1", 50_000), preset(TRPOConfig, "Pendulum-v1", 100_000)),
    "a2c": (preset(A2CConfig, "CartPole-v1", 100_000), preset(A2CConfig, "Pendulum-v1", 500_000)),
    "reinforce": (preset(ReinforceConfig, "CartPole-v1", 100_000), preset(ReinforceConfig, "Pendulum-v1", 1_000_000)),
    "off_policy": (preset(OffPolicyConfig, "CartPole-v1", 100_000), preset(OffPolicyConfig, "Pendulum-v1", 1_000_000)),
}
DETAILS = {
    "ppo": (
        Detail("advantages as they are", {"norm_adv": False}),
        Detail("gradients of any length", {"max_grad_norm": UNLIMITED}),
        Detail("constant learning rate", {"anneal_lr": False}),
        Detail("clipping range lowered", {"anneal_clip": True}),
        Detail("Adam's epsilon 1e-8", {"adam_eps": 1e-8}),
        Detail("uniform first weights", {"initialization": "uniform"}),
        Detail("observations scaled", {"normalize_observations": True}),
        Detail("rewards as they are", {"normalize_rewards": False}),
        Detail("one network for both", {"network": "shared"}),
        Detail("advantages anew in each epoch", {"recompute_advantages": True}),
        Detail("values clipped", {"clip_vloss": True}),
        Detail("epochs stopped at a KL of 0.02", {"target_kl": 0.02}),
    ),
    "trpo": (
        Detail("5 conjugate gradient steps", {"cg_max_steps": 5}),
        Detail("damping 0.01", {"cg_damping": 0.01}),
        Detail("Fisher matrix over a tenth of the states", {"fisher_subsampling": 10}),
        Detail("Monte-Carlo advantages", {"advantage": "monte_carlo"}),
        Detail("value function in a trust region", {"critic": "trust_region"}),
        Detail("a penalty for the bound", {"constraint": "penalty"}),
        Detail("advantages as they are", {"norm_adv": False}, CARTPOLE),
        Detail("rewards as they are", {"normalize_rewards": False}, CARTPOLE),
    ),
    "a2c": (
        Detail("5 steps", {"num_steps": 5}, CARTPOLE),
        Detail("Adam for RMSprop", {"optimizer": "adam"}),
        Detail("gradients of any length", {"max_grad_norm": UNLIMITED}, CARTPOLE),
        Detail("advantages normalised", {"norm_adv": True}),
        Detail("n steps for GAE", {"advantage": "n_step"}, CARTPOLE),
        Detail("rewards as they are", {"normalize_rewards": False}, CARTPOLE),
        Detail("episodes begin together", {"stagger_episodes": False}),
    ),
    "reinforce": (
        Detail("Ψ as it is", {"norm_adv": False}),
        Detail("total reward", {"advantage": "total_reward"}),
        Detail("reward to go", {"advantage": "reward_to_go"}),
        Detail("Monte-Carlo returns less V", {"advantage": "monte_carlo"}),
        Detail("GAE", {"advantage": "gae"}),
        Detail("rewards as they are", {"normalize_rewards": False}),
        Detail("every update begins new episodes", {"episodes": "whole"}, PENDULUM),
    ),
    "off_policy": (
        Detail("no further decay, λ = 1", {"gae_lambda": 1.0}, CARTPOLE),
        Detail("GAE for V-trace", {"advantage": "gae"}, CARTPOLE),
        Detail("each rollout used once", {"update_epochs": 1}),
        Detail("one ratio for a trajectory", {"method": "policy_gradient"}, CARTPOLE),
        Detail("advantages as they are", {"norm_adv": False}, CARTPOLE),
        Detail("four minibatches an epoch", {"num_minibatches": 4}, CARTPOLE),
        Detail("episodes begin together", {"stagger_episodes": False}, PENDULUM),
    ),
}


def changed(right: Any, detail: Detail) -> Any:
    """Returns the config of a row on a task, or None where nothing is changed by it."""
    config = replace(right, **detail.fields)
    return None if config == right or right.env not in (detail.only or (right.env,)) else config


def rows() -> list[tuple[str, str, Any]]:
    """Returns algorithm, what is changed, and the config of every training."""
    found = []
    for algorithm, tasks in TASKS.items():
        for right in tasks:
            configs = {NOTHING: right} | {each.what: changed(right, each) for each in DETAILS[algorithm]}
            found += [(algorithm, what, config) for what, config in configs.items() if config]
    return found


def table(algorithm: str, scores: dict[tuple[str, str, str], list[float]]) -> str:
    """Returns a page's rows in Markdown; a cell without a record yet is a question mark."""
    tasks = TASKS[algorithm]
    heads = [f"{right.env}, {right.env_steps:,} steps" for right in tasks]
    means = [_mean_of(scores.get((algorithm, right.env, NOTHING))) for right in tasks]
    cells = {each.what: [_cell_of(algorithm, right, each, scores) for right in tasks] for each in DETAILS[algorithm]}
    lines = [["changed", *heads], ["---"] * (1 + len(tasks)), [NOTHING, *means]]
    lines += [[what, *row] for what, row in cells.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean_of(scores: list[float] | None) -> str:
    return "?" if scores is None else f"{sum(scores) / len(scores):.0f}"


def _cell_of(algorithm: str, right: Any, detail: Detail, scores: dict[tuple[str, str, str], list[float]]) -> str:
    if changed(right, detail) is None:
        return ""
    before, after = (scores.get((algorithm, right.env, what)) for what in (NOTHING, detail.what))
    return "?" if before is None or after is None else difference(before, after)


def by_row(records: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[float]]:
    """Returns the scores of each record by algorithm, task and what is changed."""
    return {(each["algorithm"], each["task"], each["what"]): each["scores"] for each in records}


def main() -> None:
    options = tyro.cli(Options)
    records = json.loads(options.output.read_text()) if options.output.exists() else []
    for algorithm, what, config in rows():
        row = (algorithm, config.env, what)
        if row in by_row(records) or not set(row[:2]) & set(options.only or row):
            continue
        scores = final_scores(config, options.num_seeds)
        records.append({"algorithm": algorithm, "task": config.env, "what": what, "scores": scores})
        lines = [json.dumps(each, ensure_ascii=False) for each in records]
        options.output.write_text("[\n" + ",\n".join(lines) + "\n]\n")
        print(*row, scores, flush=True)
    for algorithm in TASKS:
        found = table(algorithm, by_row(records))
        print(f"\n{algorithm}\n{found}")
        page = DOCS / "algorithms" / f"{algorithm}.md"
        if options.output == RESULTS:
            page.write_text(TABLE.sub(lambda marks, found=found: marks[1] + found + marks[2], page.read_text()))


if __name__ == "__main__":
    main()
