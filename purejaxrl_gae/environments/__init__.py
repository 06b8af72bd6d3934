"""Environments: the contract, its adapters, and functions that change one environment into another.

gymnax and all optional packages are imported when the first environment that needs them is made: importing gymnax runs
JAX operations, and after the first of those it is too late to make devices of a CPU's cores or to join other processes.
"""

from typing import TYPE_CHECKING, Any

from purejaxrl_gae.environments.action_spaces import ActionSpace as ActionSpace
from purejaxrl_gae.environments.action_spaces import BinaryActions as BinaryActions
from purejaxrl_gae.environments.action_spaces import BoxActions as BoxActions
from purejaxrl_gae.environments.action_spaces import DiscreteActions as DiscreteActions
from purejaxrl_gae.environments.action_spaces import JointActions as JointActions
from purejaxrl_gae.environments.action_spaces import MultiDiscreteActions as MultiDiscreteActions
from purejaxrl_gae.environments.action_spaces import joint_actions as joint_actions
from purejaxrl_gae.environments.contract import Environment as Environment
from purejaxrl_gae.environments.contract import Step as Step
from purejaxrl_gae.environments.host_environment import HostCopies as HostCopies
from purejaxrl_gae.environments.host_environment import HostEnvironment as HostEnvironment
from purejaxrl_gae.environments.host_environment import HostStep as HostStep
from purejaxrl_gae.environments.making import make_environment as make_environment
from purejaxrl_gae.environments.options import limit_episodes as limit_episodes
from purejaxrl_gae.environments.options import repeat_actions as repeat_actions
from purejaxrl_gae.environments.options import sticky_actions as sticky_actions
from purejaxrl_gae.environments.wrappers import end_nonfinite_episodes as end_nonfinite_episodes
from purejaxrl_gae.environments.wrappers import stagger_first_episodes as stagger_first_episodes

if TYPE_CHECKING:
    from purejaxrl_gae.environments.brax_adapter import from_brax as from_brax
    from purejaxrl_gae.environments.gymnasium_adapter import from_gymnasium as from_gymnasium
    from purejaxrl_gae.environments.gymnax_adapter import from_gymnax as from_gymnax
    from purejaxrl_gae.environments.playground_adapter import from_playground as from_playground

ADAPTERS = {
    "from_brax": "brax_adapter",
    "from_gymnasium": "gymnasium_adapter",
    "from_gymnax": "gymnax_adapter",
    "from_playground": "playground_adapter",
}


def __getattr__(name: str) -> Any:
    if name in ADAPTERS:
        import importlib

        return getattr(importlib.import_module(f"purejaxrl_gae.environments.{ADAPTERS[name]}"), name)
    raise AttributeError(f"module 'purejaxrl_gae.environments' has no attribute {name!r}")
