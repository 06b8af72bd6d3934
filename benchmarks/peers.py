"""Other libraries' training and kernels, each timed in a process of its own; see `benchmarks.worker`.

Nothing of ours is imported, and every peer only inside its own function, so that each runs in whatever virtual
environment has it. All get two 64 x 64 tanh networks and the hyperparameters of `benchmarks.training`.
"""

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from benchmarks.worker import Prepared


def versions_of(*packages: str) -> dict[str, str]:
    """Returns versions of the peer's environment, for the JSON file."""
    from importlib.metadata import version

    return {package: version(package) for package in packages}


def rejax_ppo(
    env: str, num_envs: int, num_steps: int, updates: int, num_seeds: int, hyperparameters: dict[str, Any], cores: bool
) -> Prepared:
    """Whole runs of rejax's PPO as one program; seeds vmapped, or divided among the cores as well.

    Neither side evaluates. rejax expects gymnax's old five-value step, so it gets the environment behind an adapter
    that joins the two flags to one. Its `max_grad_norm` bounds each element.
    """
    if cores:
        from benchmarks.all_cores import on_all_cores
    import gymnax
    import jax
    from rejax import PPO

    steps = num_envs * num_steps * updates
    environment, params = gymnax.make(env)
    algorithm = PPO.create(
        env=_joining_flags(environment),
        env_params=params,
        total_timesteps=steps,
        eval_freq=steps,
        num_envs=num_envs,
        num_steps=num_steps,
        num_epochs=hyperparameters["update_epochs"],
        num_minibatches=hyperparameters["num_minibatches"],
        learning_rate=hyperparameters["learning_rate"],
        gamma=hyperparameters["gamma"],
        gae_lambda=hyperparameters["gae_lambda"],
        clip_eps=hyperparameters["clip_coef"],
        ent_coef=hyperparameters["ent_coef"],
        vf_coef=hyperparameters["vf_coef"],
        max_grad_norm=hyperparameters["max_grad_norm"],
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": (64, 64)},
    ).replace(eval_callback=lambda algorithm, state, key: ())

    def train(key):
        return algorithm.train(key)[0].actor_ts.params

    def keys(turn):
        key = jax.random.key(turn)
        return key if num_seeds == 1 else jax.random.split(key, num_seeds)

    function = train if num_seeds == 1 else on_all_cores(train) if cores else jax.vmap(train)
    options = {"xla_cpu_multi_thread_eigen": False} if cores and jax.default_backend() == "cpu" else {}
    return _one_program(function, keys, steps * num_seeds, ("rejax", "jax"), options)


def _one_program(
    function: Callable[..., Any],
    keys: Callable[[int], Any],
    items: float,
    packages: tuple[str, ...],
    options: dict[str, Any] | None = None,
) -> Prepared:
    """Compiles whole trainings, a function of the keys of a turn, and times each turn's."""
    import jax

    started = time.perf_counter()
    program = jax.jit(function).lower(keys(0)).compile(options)
    compile_seconds = time.perf_counter() - started

    def run(turn: int) -> float:
        inputs = jax.block_until_ready(keys(turn))
        started = time.perf_counter()
        jax.block_until_ready(program(inputs))
        return time.perf_counter() - started

    return Prepared(compile_seconds, run, items, notes=versions_of(*packages))


def _joining_flags(env: Any) -> Any:
    """A gymnax 1.0 environment as the older five-value interface wants it."""

    class Joined(type(env)):
        """The same environment with one flag for both ends."""

        def step(self, key, state, action, params=None):
            """Five values."""
            observation, state, reward, terminated, truncated, info = super().step(key, state, action, params)
            return observation, state, reward, terminated | truncated, info

    return Joined()


def purejaxrl_ppo(folder: str, config: dict[str, Any]) -> Prepared:
    """PureJaxRL's `ppo.py` as it lies in a folder of a checkout, with its own wrappers, in one gymnax environment."""
    sys.path.insert(0, folder)
    import gymnax
    import jax
    import ppo

    environment, params = gymnax.make(config["ENV_NAME"])
    ppo.gymnax = SimpleNamespace(make=lambda name: (_joining_flags(environment), params))
    train = ppo.make_train({**config, "ACTIVATION": "tanh"})
    return _one_program(train, jax.random.key, config["TOTAL_TIMESTEPS"], ("jax", "distrax"))


def sb3_ppo(**settings: Any) -> Prepared:
    """Stable-Baselines3's PPO."""
    from stable_baselines3 import PPO

    return _learn(PPO, _ppo_arguments(settings), settings, ("stable-baselines3", "torch"), device="cpu")


def sb3_atari_ppo(**settings: Any) -> Prepared:
    """Stable-Baselines3's PPO with the Nature CNN, on its own Atari wrappers."""
    import ale_py
    import gymnasium
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    gymnasium.register_envs(ale_py)
    environments = VecFrameStack(make_atari_env(settings["env"], n_envs=settings["num_envs"], seed=0), n_stack=4)
    model = PPO("CnnPolicy", environments, seed=0, device="cpu", **_ppo_arguments(settings))
    return _learning(model, settings, environments, versions_of("stable-baselines3", "torch", "ale-py"))


def sbx_ppo(**settings: Any) -> Prepared:
    """PPO of SBX, Stable-Baselines3's sibling in JAX; it compiles in the turn that does not count."""
    from sbx import PPO

    arguments = _ppo_arguments(settings) | {"policy_kwargs": {"net_arch": {"pi": [64, 64], "vf": [64, 64]}}}
    return _learn(PPO, arguments, settings, ("sbx-rl", "jax"))


def sb3_a2c(**settings: Any) -> Prepared:
    """Stable-Baselines3's A2C, with RMSprop."""
    from stable_baselines3 import A2C

    arguments = _shared_arguments(settings) | {"rms_prop_eps": 1e-5, "use_rms_prop": True}
    return _learn(A2C, arguments, settings, ("stable-baselines3", "torch"), device="cpu")


def sb3_contrib_trpo(**settings: Any) -> Prepared:
    """TRPO of sb3-contrib."""
    from sb3_contrib import TRPO

    names = ("gamma", "gae_lambda", "target_kl", "cg_max_steps", "cg_damping", "line_search_shrinking_factor")
    names += ("line_search_max_iter", "learning_rate", "n_critic_updates", "batch_size")
    arguments = {name: settings["hyperparameters"][name] for name in names} | {"n_steps": settings["num_steps"]}
    return _learn(TRPO, arguments, settings, ("sb3-contrib", "stable-baselines3", "torch"), device="cpu")


def _shared_arguments(settings: dict[str, Any]) -> dict[str, Any]:
    names = ("learning_rate", "gamma", "gae_lambda", "ent_coef", "max_grad_norm")
    arguments = {name: settings["hyperparameters"][name] for name in names} | {"n_steps": settings["num_steps"]}
    return arguments | {"vf_coef": settings["hyperparameters"]["vf_coef"] / 2}  # of their whole squared error


def _ppo_arguments(settings: dict[str, Any]) -> dict[str, Any]:
    hyperparameters = settings["hyperparameters"]
    return _shared_arguments(settings) | {
        "batch_size": settings["num_envs"] * settings["num_steps"] // hyperparameters["num_minibatches"],
        "n_epochs": hyperparameters["update_epochs"],
        "clip_range": hyperparameters["clip_coef"],
    }


def _learn(kind: Any, arguments: dict[str, Any], settings: dict[str, Any], packages: tuple, **more: Any) -> Prepared:
    """Runs of `learn` on Gymnasium's environment of that name; building model and environments does not count."""
    from stable_baselines3.common.env_util import make_vec_env

    environments = make_vec_env(settings["env"], n_envs=settings["num_envs"], seed=0)
    model = kind("MlpPolicy", environments, seed=0, **arguments, **more)
    return _learning(model, settings, environments, versions_of(*packages))


def _learning(model: Any, settings: dict[str, Any], environments: Any, notes: dict[str, Any]) -> Prepared:
    """Runs of `learn`, its steps counted."""
    steps = settings["num_envs"] * settings["num_steps"] * settings["updates"]

    def run(_: int) -> float:
        started = time.perf_counter()
        model.learn(steps)
        seconds = time.perf_counter() - started
        if model.num_timesteps != steps:
            raise RuntimeError(f"the peer counted {model.num_timesteps} steps, not {steps}")
        return seconds

    return Prepared(0.0, run, steps, environments.close, notes)


def torchrl_gae(num_steps: int, num_envs: int, gamma: float, gae_lambda: float) -> Prepared:
    """The vectorised estimate of torchrl for `[N, T, 1]` advantages, with ends of both kinds."""
    import torch
    from torchrl.objectives.value.functional import vec_generalized_advantage_estimate

    generator = torch.Generator().manual_seed(0)
    shape = (num_envs, num_steps, 1)
    values, next_values, rewards = (torch.randn(shape, generator=generator) for _ in range(3))
    terminated, truncated = (torch.rand(shape, generator=generator) < 0.005 for _ in range(2))
    done = terminated | truncated

    def call():
        with torch.no_grad():
            vec_generalized_advantage_estimate(gamma, gae_lambda, values, next_values, rewards, done, terminated)

    return _repeated(call, num_steps * num_envs, versions_of("torchrl", "torch"))


def torch_conjugate_gradient(size: int, cg_steps: int, damping: float) -> Prepared:
    """Conjugate gradients on the Hessian of the mean KL by double backpropagation, as PyTorch libraries do it."""
    import torch

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(8, 64, bias=False), torch.nn.Tanh(), torch.nn.Linear(64, 64, bias=False), torch.nn.Tanh(),
        torch.nn.Linear(64, 1, bias=False),
    )  # fmt: skip
    parameters = list(network.parameters())
    observations = torch.randn(size, 8)
    right_side = torch.cat([torch.randn(parameter.numel()) for parameter in parameters])

    def flat(gradients):
        return torch.cat([gradient.reshape(-1) for gradient in gradients])

    def call():
        means = network(observations)
        kl = ((means - means.detach()) ** 2).mean() / 2.0
        slope = flat(torch.autograd.grad(kl, parameters, create_graph=True))
        x, residual, direction = torch.zeros_like(right_side), right_side, right_side
        length = residual @ residual
        for _ in range(cg_steps):
            curved = flat(torch.autograd.grad(slope @ direction, parameters, retain_graph=True)) + damping * direction
            step = length / (direction @ curved)
            x, residual = x + step * direction, residual - step * curved
            length, before = residual @ residual, length
            direction = residual + length / before * direction

    return _repeated(call, cg_steps * size, versions_of("torch"))


def _repeated(call: Callable[[], Any], items: int, notes: dict[str, Any]) -> Prepared:
    """Seconds of one call, from as many as fill a fiftieth of a second."""
    call()
    started = time.perf_counter()
    call()
    count = max(1, round(0.02 / (time.perf_counter() - started)))

    def run(_: int) -> float:
        started = time.perf_counter()
        for _ in range(count):
            call()
        return (time.perf_counter() - started) / count

    return Prepared(0.0, run, items, notes=notes | {"repetitions": count})
