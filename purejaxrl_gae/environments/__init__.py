"""Environments: the contract, its adapters, and functions that change one environment into another.

gymnax is imported when the first environment is made: importing it runs JAX operations, and after the first of those
it is too late to make devices of a CPU's cores or to join other processes.
"""

from typing import TYPE_CHECKING, Any

from purejaxrl_gae.environments.contract import ActionSpace as ActionSpace
from purejaxrl_gae.environments.contract import BoxActions as BoxActions
from purejaxrl_gae.environments.contract import DiscreteActions as DiscreteActions
from purejaxrl_gae.environments.contract import Environment as Environment
from purejaxrl_gae.environments.contract import Step as Step
from purejaxrl_gae.environments.wrappers import end_nonfinite_episodes as end_nonfinite_episodes
from purejaxrl_gae.environments.wrappers import stagger_first_episodes as stagger_first_episodes

if TYPE_CHECKING:
    from purejaxrl_gae.environments.gymnax_adapter import from_gymnax as from_gymnax


def __getattr__(name: str) -> Any:
    if name == "from_gymnax":
        from purejaxrl_gae.environments.gymnax_adapter import from_gymnax

        return from_gymnax
    raise AttributeError(f"module 'purejaxrl_gae.environments' has no attribute {name!r}")


def make_environment(env: Any) -> Environment:
    """An Environment from whatever a config's `env` may be.

    Args:
      env: a gymnax id, an Environment, an object with gymnax's methods, or a pair `(object, params)` of one.

    Raises:
      UserError: it is none of these, or breaks the contract; see `from_gymnax`.
    """
    if isinstance(env, Environment):
        return env
    from purejaxrl_gae.environments.gymnax_adapter import from_gymnax, from_gymnax_id

    if isinstance(env, str):
        return from_gymnax_id(env)
    if isinstance(env, tuple) and len(env) == 2:
        return from_gymnax(*env)
    return from_gymnax(env)
