"""Networks that are handed in: flax modules, or any pair of init and apply, as a Network.

`separate(policy, value)` has one module for each and is what TRPO needs; `joint(module)` has one for both, from
observations to `(distribution, value)`. A factory `(observations, actions, config)`, of which it names what it needs,
returns either; so do the built-in ones, which are found by their names.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from purejaxrl_gae.environments import ActionSpace
from purejaxrl_gae.environments.structures import (
    batch_shape,
    batched,
    is_structured,
    mask_name,
    reshaped,
    seen_types,
)
from purejaxrl_gae.kernels import in_float32
from purejaxrl_gae.program.actor_critic import make_actor_critic, with_mask
from purejaxrl_gae.program.network_checks import check_network
from purejaxrl_gae.program.observed import Seen
from purejaxrl_gae.program.pure_modules import PureModule, pure
from purejaxrl_gae.program.types import Network, Params, Setup
from purejaxrl_gae.settings import parts
from purejaxrl_gae.settings.errors import UserError, first_line


def separate(policy: Any, value: Any) -> "ModuleNetwork":
    """Makes a network of two modules that share nothing.

    Args:
      policy: observations `[B, *shape]` to an action distribution.
      value: observations to `[B]` or `[B, 1]` values. Each is a flax linen module, a function of `rngs` that returns an
        nnx module, or a pair `(init(key, observations), apply(params, observations))`.
    """
    return ModuleNetwork({"policy": pure(policy), "value": pure(value)})


def joint(module: Any) -> "ModuleNetwork":
    """Makes a network of one module from observations to `(distribution, value)`; see `separate`."""
    return ModuleNetwork({"joint": pure(module)})


@dataclass(frozen=True, eq=False)
class ModuleNetwork:
    """A Network of one module for policy and value function, or of one for each.

    Attributes:
      modules: by their names in the parameters: `policy` and `value`, or `joint`.
      observations: shape and type of one observation, or a pytree of them; known once it stands in an environment.
      mask: name of the leaf that says which actions are allowed, or None.
    """

    modules: dict[str, PureModule]
    observations: Any = None
    has_action_values: bool = False
    mask: str | None = None

    @property
    def has_own_value_params(self) -> bool:
        """Policy and value function share nothing."""
        return "joint" not in self.modules

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters."""
        zeros = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), self.observations)
        keys = jax.random.split(key, len(self.modules))
        return {name: self.modules[name].init(keys[index], zeros) for index, name in enumerate(self.modules)}

    def policy(self, params: Params, observations: Any) -> Any:
        """Returns the action distributions of `[..., *shape]` observations."""
        if self.has_own_value_params:
            policy = self._apply("policy", params, observations)
        else:
            policy = self._apply("joint", params, observations)[0]
        return policy if self.mask is None else with_mask(policy, observations, self.observations, self.mask)

    def value(self, params: Params, observations: Any) -> jax.Array:
        """Returns V, `[...]`, of `[..., *shape]` observations."""
        if self.has_own_value_params:
            values = self._apply("value", params, observations)
        else:
            values = self._apply("joint", params, observations)[1]
        leading = batch_shape(self.observations, observations)
        return values.reshape(leading) if values.shape == (*leading, 1) else values

    def prediction(self, params: Params, observations: Any, actions: jax.Array | None) -> jax.Array:
        """Returns V; there are no action values."""
        return self.value(params, observations)

    def _apply(self, name: str, params: Params, observations: Any) -> Any:
        """Applies a module, which knows one leading axis, to observations with any number of them."""
        plain = partial(self.modules[name].apply, params[name])
        apply = plain if name == "value" else in_float32(plain)  # what a joint one shares is the policy's too
        leading = batch_shape(self.observations, observations)
        outputs = apply(reshaped(self.observations, observations, -1))

        def with_batch_axes(leaf, of_state):
            if not of_state:  # the same in every state, as a Gaussian's log_std often is
                return jnp.broadcast_to(leaf, (*leading, *leaf.shape))
            return leaf.reshape(*leading, *leaf.shape[1:])

        return jax.tree.map(with_batch_axes, outputs, self._of_states[name])

    @functools.cached_property
    def _of_states(self) -> dict[str, Any]:
        """Marks each module's outputs that there is one of for each state: their shapes follow the batch size."""
        params = jax.eval_shape(self.init, jax.eval_shape(jax.random.key, 0))
        shapes = [{name: self._shapes(name, params[name], size) for name in self.modules} for size in (2, 3)]
        return jax.tree.map(lambda *of_sizes: len(set(of_sizes)) > 1, *shapes)

    def _shapes(self, name: str, params: Params, batch_size: int) -> Any:
        """Returns the shapes of a module's outputs for a batch of some size, each as something that is a leaf."""
        batch = batched(self.observations, batch_size)
        return jax.tree.map(lambda leaf: str(leaf.shape), jax.eval_shape(self.modules[name].apply, params, batch))


def of_layers(
    observations: Any, actions: ActionSpace, config: Any, action_values: bool, mask: str | None, shared: bool
) -> Network:
    """Makes the built-in network that the config's fields describe; see `make_actor_critic`."""
    return make_actor_critic(
        observations if is_structured(observations) else observations.shape,
        actions,
        shared=shared,
        hidden_sizes=tuple(config.hidden_sizes),
        activation=config.activation,
        learn_std=config.learn_std,
        log_std_init=config.log_std_init,
        action_values=action_values,
        initialization=config.initialization,
        squashed=config.action_bounds == "tanh",
        encoder=config.encoder,
        memory=config.memory,
        memory_size=config.memory_size,
        seen=Seen(tuple(config.policy_observations), tuple(config.value_observations), mask),
    )


def separate_layers(
    observations: Any, actions: ActionSpace, config: Any, action_values: bool = False, mask: str | None = None
) -> Network:
    """Makes dense layers, behind convolutions where the config says so: one network each for policy and value."""
    return of_layers(observations, actions, config, action_values, mask, shared=False)


def shared_layers(
    observations: Any, actions: ActionSpace, config: Any, action_values: bool = False, mask: str | None = None
) -> Network:
    """Makes one trunk of dense layers, with a head each for policy and value."""
    return of_layers(observations, actions, config, action_values, mask, shared=True)


BUILT_IN: dict[str, Callable[..., Network]] = {"separate": separate_layers, "shared": shared_layers}


def make_network(config: Any, environment: Any, *, action_values: bool = False) -> Network:
    """Makes the network that a config names and checks it against the environment, before anything is compiled.

    Args:
      config: whose `network` is a built-in's name, MODULE:FACTORY, a factory, or a network.
      environment: an Environment or a HostEnvironment.
      action_values: the algorithm learns Q(s, a) in place of V(s).

    Raises:
      UserError: it is none of these, or its outputs do not have the shapes and types of the contract.
    """
    observations, mask = seen_types(environment), mask_name(environment)
    found = parts.find("network", config.network, BUILT_IN)
    name = parts.name_of(config.network)
    if isinstance(found, type) or not hasattr(found, "policy"):
        available = dict(observations=observations, actions=environment.actions, config=config, mask=mask)
        try:
            factory = parts.find_function("network", config.network, BUILT_IN)
            found = parts.call("network", factory, {**available, "action_values": action_values})
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"network is {name}, which raised {type(error).__name__}: {first_line(error)}") from error
    if isinstance(found, ModuleNetwork):
        found = replace(found, observations=observations, mask=mask)
    if action_values and not getattr(found, "has_action_values", False):
        raise UserError(f"network is {name}, which has no action values; use separate or shared, or learn state values")
    if config.network not in BUILT_IN:
        _refuse_choice_of_leaves(name, config)
        if config.memory != "none":
            raise UserError(f"memory is {config.memory}, but network is {name}; only separate and shared take it")
        check_network(name, found, observations, environment.actions)
    return found


def _refuse_choice_of_leaves(name: str, config: Any) -> None:
    for field in ("policy_observations", "value_observations"):
        if getattr(config, field):
            raise UserError(
                f"{field} is {','.join(getattr(config, field))}, but network is {name}, which is handed all leaves and "
                "chooses by itself; leave it out"
            )


def require_own_value_params(setup: Setup, who: str) -> None:
    """Refuses a network in which fitting the value function moves the policy.

    Raises:
      UserError: says who needs separate ones.
    """
    if not setup.network.has_own_value_params:
        raise UserError(f"network is {parts.name_of(setup.config.network)}; {who}")
