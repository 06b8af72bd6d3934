"""Short runs whose numbers a redesign must not change, each as the command lines that one would type.

Every value that shapes a run is named, so neither presets nor defaults have a part in it.
"""

import contextlib
import io
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from purejaxrl_gae import cli
from purejaxrl_gae.program import algorithms

SMALL = "--no-preset --no-progress --no-tensorboard --updates-per-report 1 --eval-episodes 2 --seed 3"
GYMNASIUM = "--env gymnasium:CartPole-v1 --max-episode-steps 12"
SIZES = "--num-envs 4 --num-steps 16 --hidden-sizes 8 8 --total-timesteps 256"
SHAPE = f"{SIZES} --activation tanh"
CARTPOLE, PENDULUM = "--env CartPole-v1 --max-episode-steps 12", "--env Pendulum-v1 --max-episode-steps 12"
PPO_CORE = "--num-minibatches 2 --update-epochs 2 --learning-rate 1e-3 --anneal-lr --gae-lambda 0.95 --gamma 0.99"
PPO = f"{PPO_CORE} --no-normalize-observations"
TRPO = "--batch-size 32 --n-critic-updates 2 --learning-rate 1e-3 --target-kl 0.01 --cg-max-steps 5"
A2C = "--learning-rate 7e-4 --optimizer rmsprop --gae-lambda 0.95 --no-anneal-lr"
OFF_POLICY = "--update-epochs 2 --num-minibatches 2 --learning-rate 7e-4 --anneal-lr"

# name: (command, flags) of each call; every call gets the same folder
RUNS: dict[str, list[tuple[str, str]]] = {
    "ppo_discrete": [("ppo", f"{CARTPOLE} {SHAPE} {PPO} --clip-vloss --ent-coef 0.01")],
    "ppo_continuous": [("ppo", f"{PENDULUM} {SHAPE} {PPO_CORE} --normalize-observations --normalize-rewards")],
    "ppo_shared": [("ppo", f"{CARTPOLE} {SHAPE} {PPO} --network shared --initialization uniform --target-kl 0.02")],
    "ppo_kl_adaptive": [("ppo", f"{PENDULUM} {SHAPE} {PPO} --objective kl_adaptive --action-bounds tanh")],
    "ppo_trust_region_critic": [("ppo", f"{CARTPOLE} {SHAPE} {PPO} --critic trust_region --value-target td")],
    "ppo_convolutions": [
        ("ppo", f"--env Breakout-MinAtar {SIZES} {PPO} --encoder minatar_cnn --activation relu --anneal-clip")
    ],
    "ppo_four_seeds": [("ppo", f"{CARTPOLE} {SHAPE} {PPO} --num-seeds 4 --time-limit terminal --stagger-episodes")],
    "ppo_gymnasium": [("ppo", f"{GYMNASIUM} {SHAPE} {PPO_CORE} --normalize-observations")],
    "trpo_discrete": [("trpo", f"{CARTPOLE} {SHAPE} {TRPO} --fisher-subsampling 2")],
    "trpo_continuous": [("trpo", f"{PENDULUM} {SHAPE} {TRPO} --normalize-observations --critic trust_region")],
    "trpo_penalty": [("trpo", f"{PENDULUM} {SHAPE} {TRPO} --constraint penalty --n-policy-updates 2")],
    "a2c_shared": [("a2c", f"{CARTPOLE} {SHAPE} {A2C} --network shared --advantage n_step --n-steps 3")],
    "a2c_action_values": [("a2c", f"{CARTPOLE} {SHAPE} {A2C} --advantage q --critic-form action_value")],
    "a2c_resumed": [
        ("a2c", f"{PENDULUM} {SHAPE} {A2C} --learn-std"),
        ("a2c", "--resume {folder} --total-timesteps 512 --no-progress --no-tensorboard"),
    ],
    "reinforce_discrete": [("reinforce", f"{CARTPOLE} {SHAPE} --advantage baseline --learning-rate 1e-3")],
    "reinforce_whole": [("reinforce", f"{PENDULUM} {SHAPE} --episodes whole --advantage total_reward")],
    "off_policy_discrete": [("off_policy", f"{CARTPOLE} {SHAPE} {OFF_POLICY} --num-seeds 2")],
    "off_policy_continuous": [("off_policy", f"{PENDULUM} {SHAPE} {OFF_POLICY} --method policy_gradient")],
    "sweep": [("sweep", f"--algo ppo {CARTPOLE} {SHAPE} {PPO} --grid learning_rate=1e-3,1e-4 --num-seeds 2")],
}


IN_CI = (
    *("ppo_discrete", "ppo_continuous", "ppo_shared", "ppo_kl_adaptive", "ppo_convolutions"),
    *("trpo_discrete", "trpo_continuous", "a2c_shared", "reinforce_whole", "off_policy_continuous"),
)
RECORDED = Path(__file__).parent / "recorded.json"


def first_updates(name: str) -> dict[str, list[float]]:
    """Returns the metrics of the first two updates of one of IN_CI, trained as one program in this process."""
    ((command, flags),) = RUNS[name]
    config, _ = cli.parse(command, f"{flags} {SMALL}".split())
    metrics = jax.jit(algorithms.make_train(config))(jax.random.key(config.seed)).metrics
    return {metric: np.asarray(values, np.float64)[:2].tolist() for metric, values in sorted(metrics.items())}


def make(name: str, folder: Path) -> dict[str, Any]:
    """Runs one of RUNS in this process, with whichever copy of the package is first on the path.

    Returns:
      What it reported and learned: lists of numbers, and arrays of parameters.
    """
    for command, flags in RUNS[name]:
        if "--resume" in flags:
            flags = flags.format(folder=folder)
        else:
            flags = f"{flags} {SMALL} --run-dir {folder}"
            if command == "sweep":
                flags = flags.replace("--no-tensorboard ", "")
        _call(command, flags.split())
    return _numbers(folder)


def _call(command: str, flags: list[str]) -> None:
    """Types a command line; what it prints is shown only where it fails."""
    kept, sys.argv = sys.argv, [command, *flags]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            runpy.run_module(f"purejaxrl_gae.{command}", run_name="__main__", alter_sys=False)
    except SystemExit as ended:
        if ended.code not in (0, None):
            raise RuntimeError(f"{command} {' '.join(flags)}\n{printed.getvalue()}") from None
    finally:
        sys.argv = kept


def _numbers(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for name in sorted(set().union(*rows)):
            if "second" not in name:
                found[f"{path.relative_to(folder)}:{name}"] = [row.get(name) for row in rows]
    for path in sorted(folder.rglob("policy.npz")):
        with np.load(path) as arrays:
            for name in arrays.files:
                if np.issubdtype(arrays[name].dtype, np.floating):
                    found[f"{path.relative_to(folder)}:{name}"] = arrays[name]
    return found
