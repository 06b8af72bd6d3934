"""Stable-Baselines3's PPO and sb3-contrib's TRPO as runs of a suite: trained, played, and told in the files of a run.

Needs nothing of this library, so that it runs in an environment of theirs. What `normalize: true` of the zoo does is
done always: observations and rewards are scaled by running moments, with the settings' own gamma.
"""

import argparse
import importlib.metadata
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecNormalize

EPISODES, EVALUATION_SEED = 100, 10_000
PACKAGES = ("stable_baselines3", "sb3_contrib", "torch", "gymnasium", "mujoco", "numpy")


class Reports(BaseCallback):
    """Writes a line of metrics.jsonl at the end of every rollout.

    Args:
      path: of the file.
    """

    def __init__(self, path: Path):
        super().__init__()
        self._file = path.open("w")

    def _on_rollout_end(self) -> None:
        line = {"env_steps": self.num_timesteps, "score_last100": last100(self.model)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._file.close()


def last100(model: Any) -> float | None:
    """Returns the mean return of the last 100 training episodes, or None before the first has ended."""
    returns = [episode["r"] for episode in model.ep_info_buffer]
    return float(np.mean(returns)) if returns else None


def make_model(algo: str, settings: dict[str, Any], env: VecNormalize, seed: int) -> Any:
    """Makes PPO or TRPO with the settings as the zoo has them."""
    settings = dict(settings)
    network: dict[str, Any] = {}
    if sizes := settings.pop("hidden_sizes", None):
        network = {"net_arch": {"pi": sizes, "vf": sizes}, "activation_fn": torch.nn.ReLU, "ortho_init": False}
    if (log_std := settings.pop("log_std_init", None)) is not None:
        network["log_std_init"] = log_std
    if algo == "trpo":
        from sb3_contrib import TRPO

        made = TRPO
    else:
        made = stable_baselines3.PPO
    return made("MlpPolicy", env, seed=seed, device="cpu", policy_kwargs=network, **settings)


def played(model: Any, env_id: str, moments: VecNormalize, seed: int, *, deterministic: bool) -> float:
    """Returns the mean return of whole fresh episodes, in the environment's own rewards."""
    env = VecNormalize(make_vec_env(env_id, seed=EVALUATION_SEED + seed), training=False, norm_reward=False)
    env.obs_rms = moments.obs_rms
    returns, _ = evaluate_policy(
        model, env, EPISODES, deterministic=deterministic, return_episode_rewards=True, warn=False
    )
    env.close()
    return float(np.mean(returns))


def train(algo: str, env_id: str, settings: dict[str, Any], seed: int, folder: Path) -> None:
    """Trains, evaluates and writes summary.json beside the reports."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True)
    settings = dict(settings)
    total, num_envs = settings.pop("total_timesteps"), settings.pop("n_envs")
    env = VecNormalize(make_vec_env(env_id, num_envs, seed=seed), gamma=settings["gamma"])
    model = make_model(algo, settings, env, seed)
    started = time.perf_counter()
    model.learn(total, callback=Reports(folder / "metrics.jsonl"))
    trained = time.perf_counter()
    ways = {"eval_return_mean": True, "eval_sampled_return_mean": False}
    found = {name: played(model, env_id, env, seed, deterministic=mode) for name, mode in ways.items()}
    summary = {
        **{"env_steps": model.num_timesteps, **found, "train_return_last100": last100(model)},
        **{"compile_seconds": 0.0, "run_seconds": trained - started},
        **{"evaluation_seconds": time.perf_counter() - trained, "versions": versions(), "device": "cpu"},
    }
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def versions() -> dict[str, str]:
    """Returns the versions of what computed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        if package in sys.modules:
            found[package.replace("_", "-")] = importlib.metadata.version(package)
    return found


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser()
    for name in ("algo", "env", "config", "run-dir"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    env_id = given.env.removeprefix("gymnasium:")
    gymnasium.spec(env_id)
    train(given.algo, env_id, json.loads(Path(given.config).read_text()), given.seed, Path(given.run_dir))


if __name__ == "__main__":
    main()
