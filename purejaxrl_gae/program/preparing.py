"""The environment and the network that a config names, made and checked before anything is compiled."""

import numpy as np

from purejaxrl_gae.environments import (
    BoxActions,
    Environment,
    HostEnvironment,
    host_wrappers,
    make_environment,
    stagger_first_episodes,
)
from purejaxrl_gae.environments.action_spaces import leaves
from purejaxrl_gae.program.hidden_state import with_hint
from purejaxrl_gae.program.memories import with_whole_trajectories
from purejaxrl_gae.program.networks import make_network
from purejaxrl_gae.program.types import Setup
from purejaxrl_gae.settings.config import ENVIRONMENT_FIELDS, TrainingConfig
from purejaxrl_gae.settings.errors import UserError


def prepare(config: TrainingConfig, *, action_values: bool = False) -> Setup:
    """Checks the config on the host and builds what it names.

    Args:
      config: of any algorithm.
      action_values: the value function is one of states and actions.

    Raises:
      UserError: a field is wrong, the environment is unknown or breaks the contract.
    """
    config.validate()
    environment = configured_environment(config)
    if isinstance(environment, HostEnvironment):
        if environment.num_envs not in (None, config.num_envs):
            raise UserError(
                f"num_envs is {config.num_envs}, but {environment.name} is a VectorEnv of {environment.num_envs} copies"
            )
        if config.stagger_episodes:
            environment = host_wrappers.stagger_first_episodes(environment)
    elif config.stagger_episodes:
        environment = stagger_first_episodes(environment)
    check_bounds(environment, config.action_bounds)
    network = make_network(config, environment, action_values=action_values)
    return with_hint(with_whole_trajectories(Setup(config, environment, network)))


def check_bounds(environment: Environment | HostEnvironment, action_bounds: str) -> None:
    """Refuses to scale actions to bounds that there are not.

    Raises:
      UserError: actions are discrete, or a bound is infinite.
    """
    if action_bounds == "clip":
        return
    boxes = [space for space in leaves(environment.actions) if isinstance(space, BoxActions)]
    if not boxes:
        raise UserError(f"action_bounds is {action_bounds!r}, but actions are discrete; it must be 'clip'")
    low, high = min(min(box.low) for box in boxes), max(max(box.high) for box in boxes)
    if not np.all(np.isfinite([bound for box in boxes for bound in (*box.low, *box.high)])):
        raise UserError(
            f"action_bounds is {action_bounds!r}, which needs finite bounds; this environment's go from "
            f"{low} to {high}, it must be 'clip'"
        )


def configured_environment(config: TrainingConfig) -> Environment | HostEnvironment:
    """Makes the environment a config names, with the options it sets; training and evaluation share it.

    Raises:
      UserError: the environment is unknown, breaks the contract, or does not take an option.
    """
    return make_environment(**{name: getattr(config, name) for name in ENVIRONMENT_FIELDS})


def unstaggered_environment(setup: Setup) -> Environment | HostEnvironment:
    """Returns the environment as evaluation plays it; built again only where training changed it."""
    return configured_environment(setup.config) if setup.config.stagger_episodes else setup.environment


def require_pure(environment: Environment | HostEnvironment, what: str) -> None:
    """Refuses an environment that runs on the host where all must be one program.

    Raises:
      UserError: says what needs it, and what to use instead.
    """
    if isinstance(environment, HostEnvironment):
        raise UserError(
            f"env is {environment.name}, which runs on the host; {what} needs a JAX environment. Train it one agent at "
            "a time by the command line or purejaxrl_gae.runs.training_run.run"
        )
