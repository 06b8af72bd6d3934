"""Environments: the contract, its adapters, and functions that change one environment into another."""

from typing import Any

from purejaxrl_gae.environments.contract import ActionSpace as ActionSpace
from purejaxrl_gae.environments.contract import BoxActions as BoxActions
from purejaxrl_gae.environments.contract import DiscreteActions as DiscreteActions
from purejaxrl_gae.environments.contract import Environment as Environment
from purejaxrl_gae.environments.contract import Step as Step
from purejaxrl_gae.environments.gymnax_adapter import from_gymnax as from_gymnax
from purejaxrl_gae.environments.gymnax_adapter import from_gymnax_id
from purejaxrl_gae.environments.wrappers import end_nonfinite_episodes as end_nonfinite_episodes
from purejaxrl_gae.environments.wrappers import stagger_first_episodes as stagger_first_episodes


def make_environment(env: Any) -> Environment:
    """An Environment from whatever a config's `env` may be.

    Args:
      env: a gymnax id, an Environment, an object with gymnax's methods, or a pair `(object, params)` of one.

    Raises:
      UserError: it is none of these, or breaks the contract; see `from_gymnax`.
    """
    if isinstance(env, Environment):
        return env
    if isinstance(env, str):
        return from_gymnax_id(env)
    if isinstance(env, tuple) and len(env) == 2:
        return from_gymnax(*env)
    return from_gymnax(env)
