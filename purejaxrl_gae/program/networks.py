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

from purejaxrl_gae.environments import ActionSpace, BoxActions, DiscreteActions
from purejaxrl_gae.kernels import Categorical, in_float32
from purejaxrl_gae.program.actor_critic import make_actor_critic
from purejaxrl_gae.program.pure_modules import PureModule, pure
from purejaxrl_gae.program.types import Network, Params, Setup
from purejaxrl_gae.settings import parts
from purejaxrl_gae.settings.config import ActionBounds
from purejaxrl_gae.settings.errors import UserError, first_line

DISTRIBUTION_METHODS = (
    "noise",
    "from_noise",
    "sample",
    "mode",
    "log_prob",
    "entropy",
    "kl_divergence",
    "fisher_product",
)


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
      observations: shape and type of one observation; known once it stands in an environment.
      action_bounds: the config's.
    """

    modules: dict[str, PureModule]
    observations: Any = None
    action_bounds: ActionBounds = "clip"
    has_action_values: bool = False

    @property
    def has_own_value_params(self) -> bool:
        """Policy and value function share nothing."""
        return "joint" not in self.modules

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters."""
        zeros = jnp.zeros((1, *self.observations.shape), self.observations.dtype)
        keys = jax.random.split(key, len(self.modules))
        return {name: self.modules[name].init(keys[index], zeros) for index, name in enumerate(self.modules)}

    def policy(self, params: Params, observations: jax.Array) -> Any:
        """Returns the action distributions of `[..., *shape]` observations."""
        if self.has_own_value_params:
            return self._apply("policy", params, observations)
        return self._apply("joint", params, observations)[0]

    def value(self, params: Params, observations: jax.Array) -> jax.Array:
        """Returns V, `[...]`, of `[..., *shape]` observations."""
        if self.has_own_value_params:
            values = self._apply("value", params, observations)
        else:
            values = self._apply("joint", params, observations)[1]
        return values.reshape(observations.shape[: observations.ndim - len(self.observations.shape)])

    def prediction(self, params: Params, observations: jax.Array, actions: jax.Array | None) -> jax.Array:
        """Returns V; there are no action values."""
        return self.value(params, observations)

    def _apply(self, name: str, params: Params, observations: jax.Array) -> Any:
        """Applies a module, which knows one leading axis, to observations with any number of them."""
        plain = partial(self.modules[name].apply, params[name])
        apply = plain if name == "value" else in_float32(plain)  # what a joint one shares is the policy's too
        batch_shape = observations.shape[: observations.ndim - len(self.observations.shape)]
        outputs = apply(observations.reshape(-1, *self.observations.shape))

        def with_batch_axes(leaf, of_state):
            if not of_state:  # the same in every state, as a Gaussian's log_std often is
                return jnp.broadcast_to(leaf, (*batch_shape, *leaf.shape))
            return leaf.reshape(*batch_shape, *leaf.shape[1:])

        return jax.tree.map(with_batch_axes, outputs, self._of_states[name])

    @functools.cached_property
    def _of_states(self) -> dict[str, Any]:
        """Marks each module's outputs that there is one of for each state: their shapes follow the batch size."""
        params = jax.eval_shape(self.init, jax.eval_shape(jax.random.key, 0))
        shapes = [{name: self._shapes(name, params[name], size) for name in self.modules} for size in (2, 3)]
        return jax.tree.map(lambda *of_sizes: len(set(of_sizes)) > 1, *shapes)

    def _shapes(self, name: str, params: Params, batch_size: int) -> Any:
        """Returns the shapes of a module's outputs for a batch of some size, each as something that is a leaf."""
        batch = jax.ShapeDtypeStruct((batch_size, *self.observations.shape), self.observations.dtype)
        return jax.tree.map(lambda leaf: str(leaf.shape), jax.eval_shape(self.modules[name].apply, params, batch))


def of_layers(observations: Any, actions: ActionSpace, config: Any, action_values: bool, shared: bool) -> Network:
    """Makes the built-in network that the config's fields describe; see `make_actor_critic`."""
    return make_actor_critic(
        observations.shape,
        actions,
        shared=shared,
        hidden_sizes=tuple(config.hidden_sizes),
        activation=config.activation,
        learn_std=config.learn_std,
        log_std_init=config.log_std_init,
        action_values=action_values,
        initialization=config.initialization,
        action_bounds=config.action_bounds,
        encoder=config.encoder,
        memory=config.memory,
        memory_size=config.memory_size,
    )


def separate_layers(observations: Any, actions: ActionSpace, config: Any, action_values: bool = False) -> Network:
    """Makes dense layers, behind convolutions where the config says so: one network each for policy and value."""
    return of_layers(observations, actions, config, action_values, shared=False)


def shared_layers(observations: Any, actions: ActionSpace, config: Any, action_values: bool = False) -> Network:
    """Makes one trunk of dense layers, with a head each for policy and value."""
    return of_layers(observations, actions, config, action_values, shared=True)


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
    observations = jax.ShapeDtypeStruct(environment.observation_shape, jnp.float32)
    found = parts.find("network", config.network, BUILT_IN)
    name = parts.name_of(config.network)
    if not hasattr(found, "policy"):
        available = dict(observations=observations, actions=environment.actions, config=config)
        try:
            factory = parts.find_function("network", found, BUILT_IN)
            found = parts.call("network", factory, {**available, "action_values": action_values})
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"network is {name}, which raised {type(error).__name__}: {first_line(error)}") from error
    if isinstance(found, ModuleNetwork):
        found = replace(found, observations=observations, action_bounds=config.action_bounds)
    if action_values and not getattr(found, "has_action_values", False):
        raise UserError(f"network is {name}, which has no action values; use separate or shared, or learn state values")
    if config.network not in BUILT_IN:
        check_network(name, found, observations, environment.actions)
    return found


def check_network(name: str, network: Any, observations: Any, actions: ActionSpace) -> None:
    """Traces a network on two observations, which computes nothing, and holds the outputs to the contract.

    Raises:
      UserError: names the output and what it must be.
    """
    missing = [each for each in ("init", "policy", "value") if not callable(getattr(network, each, None))]
    if missing:
        raise UserError(
            f"network is {name}, which made a {type(network).__name__} without {missing[0]!r}; it must return "
            f"networks.separate(policy, value), networks.joint(module), or a Network"
        )
    batch = jax.ShapeDtypeStruct((2, *observations.shape), observations.dtype)
    try:
        params = jax.eval_shape(network.init, jax.eval_shape(jax.random.key, 0))
        distribution = jax.eval_shape(network.policy, params, batch)
        values = jax.eval_shape(network.value, params, batch)
    except UserError:
        raise
    except Exception as error:
        shape = list(observations.shape)
        raise UserError(
            f"network is {name}, which raised {type(error).__name__} for observations {shape}: {first_line(error)}"
        ) from error
    _check_distribution(name, distribution, actions)
    if not (hasattr(values, "shape") and values.shape == (2,) and jnp.issubdtype(values.dtype, jnp.floating)):
        raise UserError(f"network is {name}, whose values of 2 observations are {values}; they must be 2 real numbers")


def _check_distribution(name: str, distribution: Any, actions: ActionSpace) -> None:
    lacking = [each for each in DISTRIBUTION_METHODS if not callable(getattr(distribution, each, None))]
    if lacking:
        kind = type(distribution).__name__
        raise UserError(
            f"network is {name}, whose policy returned a {kind} without {lacking[0]!r}; it must return a distribution, "
            f"as kernels.Categorical(logits) or kernels.DiagonalGaussian(mean, log_std)"
        )
    key = jax.eval_shape(jax.random.key, 0)
    sampled = jax.eval_shape(lambda each, key: each.from_noise(each.noise(key)), distribution, key)
    log_probs = jax.eval_shape(lambda each, chosen: each.log_prob(chosen), distribution, sampled)
    discrete = isinstance(actions, DiscreteActions)
    wanted: tuple[int, ...] = (2, actions.size) if isinstance(actions, BoxActions) else (2,)
    if sampled.shape != wanted or jnp.issubdtype(sampled.dtype, jnp.integer) != discrete:
        kind = f"{actions.n} discrete" if isinstance(actions, DiscreteActions) else f"{wanted[1]} real"
        raise UserError(
            f"network is {name}, whose policy gives actions {list(sampled.shape[1:])} of type {sampled.dtype}; the "
            f"environment has {kind} ones"
        )
    if isinstance(distribution, Categorical) and distribution.logits.shape[-1] != actions.n:  # type: ignore[union-attr]
        raise UserError(
            f"network is {name}, whose policy has {distribution.logits.shape[-1]} logits; the environment has "
            f"{actions.n} actions"  # type: ignore[union-attr]
        )
    if log_probs.shape != (2,):
        raise UserError(
            f"network is {name}, whose log-probabilities of 2 actions have the shape {list(log_probs.shape)}; it must "
            f"be [2]"
        )


def require_own_value_params(setup: Setup, who: str) -> None:
    """Refuses a network in which fitting the value function moves the policy.

    Raises:
      UserError: says who needs separate ones.
    """
    if not setup.network.has_own_value_params:
        raise UserError(f"network is {parts.name_of(setup.config.network)}; {who}")
