"""python -m benchmarks.training: whole PPO runs against rejax's, where that is installed.

Same environment, network sizes, activation, minibatches and counted steps on both sides; neither evaluates. rejax
expects gymnax's old five-value step, so it gets the environment behind an adapter that joins the two flags to one.
"""

from dataclasses import dataclass
from pathlib import Path

import gymnax
import jax
import jax.numpy as jnp
import tyro

from benchmarks.measure import compare, print_table, write_json
from purejaxrl_gae import PPOConfig, make_train


@dataclass(frozen=True)
class Setting:
    """One row of the benchmark."""

    env: str
    num_envs: int
    num_steps: int
    updates: int
    num_seeds: int = 1

    @property
    def name(self) -> str:
        """Shown in the table."""
        seeds = f" x {self.num_seeds} seeds" if self.num_seeds > 1 else ""
        return f"{self.env.split('-')[0]} {self.num_envs}x{self.num_steps}{seeds}"

    @property
    def total(self) -> int:
        """Environment steps of one agent."""
        return self.num_envs * self.num_steps * self.updates


SETTINGS = [
    Setting("Pendulum-v1", 16, 128, 80),
    Setting("Pendulum-v1", 2048, 32, 8),
    Setting("CartPole-v1", 4, 128, 160),
    Setting("Pendulum-v1", 16, 128, 8, num_seeds=16),
]


@dataclass(frozen=True)
class Options:
    """Times PPO; the first side is this library."""

    repeats: int = 5
    """turns that count"""
    output: Path | None = None
    """JSON file to write"""


def ours(setting: Setting):
    config = PPOConfig(
        env=setting.env,
        total_timesteps=setting.total,
        num_envs=setting.num_envs,
        num_steps=setting.num_steps,
        learning_rate=3e-4,
        anneal_lr=False,
        ent_coef=0.01,
        normalize_rewards=False,
    )
    train = make_train(config)
    return lambda key: train(key).state.learner.params


def joining_flags(env):
    """A gymnax 1.0 environment as the older five-value interface wants it."""

    class Joined(type(env)):
        """The same environment with one flag for both ends."""

        def step(self, key, state, action, params=None):
            """Five values."""
            observation, state, reward, terminated, truncated, info = super().step(key, state, action, params)
            return observation, state, reward, jnp.logical_or(terminated, truncated), info

    return Joined()


def rejax_ppo(setting: Setting):
    """The PPO of rejax, or None where it is not installed."""
    try:
        from rejax import PPO
    except ImportError:
        return None
    env, params = gymnax.make(setting.env)
    algorithm = PPO.create(
        env=joining_flags(env),
        env_params=params,
        total_timesteps=setting.total,
        eval_freq=setting.total,
        num_envs=setting.num_envs,
        num_steps=setting.num_steps,
        num_epochs=4,
        num_minibatches=4,
        learning_rate=3e-4,
        max_grad_norm=0.5,
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": (64, 64)},
    ).replace(eval_callback=lambda algorithm, state, key: ())
    return lambda key: algorithm.train(key)[0].actor_ts.params


def main() -> None:
    options = tyro.cli(Options)
    results = {}
    for setting in SETTINGS:
        sides = {"purejaxrl_gae": ours(setting), "rejax": rejax_ppo(setting)}
        sides = {name: function for name, function in sides.items() if function is not None}
        if setting.num_seeds > 1:
            sides = {name: jax.vmap(function) for name, function in sides.items()}

        def arguments(turn, setting=setting):
            key = jax.random.key(turn)
            return (key if setting.num_seeds == 1 else jax.random.split(key, setting.num_seeds),)

        timings = compare(sides, arguments, setting.total * setting.num_seeds, options.repeats)
        print_table(setting.name, timings)
        results[setting.name] = timings
    if options.output is not None:
        write_json(options.output, results)


if __name__ == "__main__":
    main()
