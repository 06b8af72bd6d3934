"""Environments: the contract, its adapters, and functions that change one environment into another.

gymnax is imported when the first environment is made: importing it runs JAX operations, and after the first of those
it is too late to make devices of a CPU's cores or to join other processes.
"""

import sys
from typing import TYPE_CHECKING, Any

from purejaxrl_gae.environments.contract import ActionSpace as ActionSpace
from purejaxrl_gae.environments.contract import BoxActions as BoxActions
from purejaxrl_gae.environments.contract import DiscreteActions as DiscreteActions
from purejaxrl_gae.environments.contract import Environment as Environment
from purejaxrl_gae.environments.contract import Step as Step
from purejaxrl_gae.environments.host_environment import HostCopies as HostCopies
from purejaxrl_gae.environments.host_environment import HostEnvironment as HostEnvironment
from purejaxrl_gae.environments.host_environment import HostStep as HostStep
from purejaxrl_gae.environments.wrappers import end_nonfinite_episodes as end_nonfinite_episodes
from purejaxrl_gae.environments.wrappers import stagger_first_episodes as stagger_first_episodes

if TYPE_CHECKING:
    from purejaxrl_gae.environments.gymnasium_adapter import from_gymnasium as from_gymnasium
    from purejaxrl_gae.environments.gymnax_adapter import from_gymnax as from_gymnax


GYMNASIUM = "gymnasium:"


def __getattr__(name: str) -> Any:
    if name == "from_gymnax":
        from purejaxrl_gae.environments.gymnax_adapter import from_gymnax

        return from_gymnax
    if name == "from_gymnasium":
        from purejaxrl_gae.environments.gymnasium_adapter import from_gymnasium

        return from_gymnasium
    raise AttributeError(f"module 'purejaxrl_gae.environments' has no attribute {name!r}")


def make_environment(env: Any) -> Environment | HostEnvironment:
    """An Environment from whatever a config's `env` may be.

    Args:
      env: a gymnax id, `gymnasium:ID`, an Environment or HostEnvironment, an object with gymnax's methods, a pair
        `(object, params)` of one, or a `gymnasium.vector.VectorEnv`.

    Raises:
      UserError: it is none of these, or breaks the contract; see `from_gymnax` and `from_gymnasium`.
    """
    if isinstance(env, (Environment, HostEnvironment)):
        return env
    if _is_of_gymnasium(env):
        from purejaxrl_gae.environments.gymnasium_adapter import from_gymnasium

        return from_gymnasium(env.removeprefix(GYMNASIUM) if isinstance(env, str) else env)
    from purejaxrl_gae.environments.gymnax_adapter import from_gymnax, from_gymnax_id

    if isinstance(env, str):
        return from_gymnax_id(env)
    if isinstance(env, tuple) and len(env) == 2:
        return from_gymnax(*env)
    return from_gymnax(env)


def _is_of_gymnasium(env: Any) -> bool:
    """A `gymnasium:` id, or an object of Gymnasium's, which can be one only if it has been imported."""
    if isinstance(env, str):
        return env.startswith(GYMNASIUM)
    gymnasium = sys.modules.get("gymnasium")
    return gymnasium is not None and isinstance(env, (gymnasium.Env, gymnasium.vector.VectorEnv))
