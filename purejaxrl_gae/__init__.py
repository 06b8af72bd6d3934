"""On-policy reinforcement learning in JAX: rollout and update in one compiled program.

Everything is imported on first use, so `import purejaxrl_gae` is instant and `python -m purejaxrl_gae.ppo` runs the
one copy of each module.
"""

from purejaxrl_gae.settings.search_path import leave_current_folder

leave_current_folder()

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

__version__ = "0.1.0"

_EXPORTS = {
    "A2CConfig": "purejaxrl_gae.a2c",
    "A2CHyperparameters": "purejaxrl_gae.a2c",
    "OffPolicyConfig": "purejaxrl_gae.off_policy",
    "OffPolicyHyperparameters": "purejaxrl_gae.off_policy",
    "ReinforceConfig": "purejaxrl_gae.reinforce",
    "ReinforceHyperparameters": "purejaxrl_gae.reinforce",
    "PPOConfig": "purejaxrl_gae.ppo",
    "PPOHyperparameters": "purejaxrl_gae.ppo",
    "TRPOConfig": "purejaxrl_gae.trpo",
    "TRPOHyperparameters": "purejaxrl_gae.trpo",
    "TrainResult": "purejaxrl_gae.program.training",
    "TrainState": "purejaxrl_gae.program.types",
    "UserError": "purejaxrl_gae.settings.errors",
    "Agent": "purejaxrl_gae.runs.agent",
    "load": "purejaxrl_gae.runs.agent",
    "load_policy": "purejaxrl_gae.runs.policies",
    "make_agent": "purejaxrl_gae.runs.agent",
    "make_train": "purejaxrl_gae.program.algorithms",
    "make_value_function": "purejaxrl_gae.program.values",
    "use_compilation_cache": "purejaxrl_gae.runs.compilation_cache",
    "with_preset": "purejaxrl_gae.settings.config_files",
}
_MODULES = {
    "kernels": "purejaxrl_gae.kernels",
    "environments": "purejaxrl_gae.environments",
    "networks": "purejaxrl_gae.program.networks",
}

__all__ = [*_EXPORTS, *_MODULES]

if TYPE_CHECKING:
    from purejaxrl_gae import environments as environments
    from purejaxrl_gae import kernels as kernels
    from purejaxrl_gae.a2c import A2CConfig as A2CConfig
    from purejaxrl_gae.a2c import A2CHyperparameters as A2CHyperparameters
    from purejaxrl_gae.off_policy import OffPolicyConfig as OffPolicyConfig
    from purejaxrl_gae.off_policy import OffPolicyHyperparameters as OffPolicyHyperparameters
    from purejaxrl_gae.ppo import PPOConfig as PPOConfig
    from purejaxrl_gae.ppo import PPOHyperparameters as PPOHyperparameters
    from purejaxrl_gae.program import networks as networks
    from purejaxrl_gae.program.algorithms import make_train as make_train
    from purejaxrl_gae.program.training import TrainResult as TrainResult
    from purejaxrl_gae.program.types import TrainState as TrainState
    from purejaxrl_gae.program.values import make_value_function as make_value_function
    from purejaxrl_gae.reinforce import ReinforceConfig as ReinforceConfig
    from purejaxrl_gae.reinforce import ReinforceHyperparameters as ReinforceHyperparameters
    from purejaxrl_gae.runs.agent import Agent as Agent
    from purejaxrl_gae.runs.agent import load as load
    from purejaxrl_gae.runs.agent import make_agent as make_agent
    from purejaxrl_gae.runs.compilation_cache import use_compilation_cache as use_compilation_cache
    from purejaxrl_gae.runs.policies import load_policy as load_policy
    from purejaxrl_gae.settings.config_files import with_preset as with_preset
    from purejaxrl_gae.settings.errors import UserError as UserError
    from purejaxrl_gae.trpo import TRPOConfig as TRPOConfig
    from purejaxrl_gae.trpo import TRPOHyperparameters as TRPOHyperparameters


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'purejaxrl_gae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS, *_MODULES])
