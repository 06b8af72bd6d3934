"""Policy and value networks: separate or with a shared trunk, for discrete and continuous actions.

Parameters are a dictionary `{"policy": ..., "value": ...}`, with a shared trunk's as `"encoder"` beside them, so an
algorithm that must not let the critic's step move the policy can see what belongs to whom. With a memory, which stands
behind the trunk, policy and value function have a trunk each where they share none: `["policy"]["encoder"]`.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from purejaxrl_gae.environments import ActionSpace, DiscreteActions
from purejaxrl_gae.environments.structures import batch_shape, named_leaves, types_of
from purejaxrl_gae.kernels import Categorical, in_float32
from purejaxrl_gae.program.cells import CELLS, Cell, of_steps
from purejaxrl_gae.program.encoders import Convolutions
from purejaxrl_gae.program.initialization import draw_orthogonal, draw_uniform
from purejaxrl_gae.program.layers import MLP, PolicyNetwork
from purejaxrl_gae.program.observed import ALL_LEAVES, Observed, Seen, choose_leaves
from purejaxrl_gae.program.types import Distribution, Inputs, Params, Sequence
from purejaxrl_gae.settings.config import Activation, Encoder, Initialization, Memory
from purejaxrl_gae.settings.errors import UserError


@dataclass(frozen=True)
class ActorCritic:
    """Policy and value function as functions of one parameter dictionary.

    Attributes:
      observed: the leaves of an observation that `policy` and `value` see, flattened.
      trunk: layers in front of both, or None where there are none.
      shared: policy and value function have one trunk.
      cell: memory behind the trunk, or None.
      policy_network: maps observations, or the trunk's features, to a distribution.
      value_network: maps the same to one number, V(s); or, with action values, to one for each action, Q(s, a).
      has_action_values: which of the two.
      initialization: of the weights; see `draw_orthogonal` and `draw_uniform`.
      mask: name of the leaf that says which actions are allowed, or None.
    """

    observed: dict[str, Observed]
    trunk: MLP | None
    shared: bool
    cell: Cell | None
    policy_network: PolicyNetwork
    value_network: MLP
    has_action_values: bool = False
    initialization: Initialization = "orthogonal"
    mask: str | None = None

    @property
    def has_own_value_params(self) -> bool:
        """Policy and value function share nothing."""
        return not self.shared

    def init(self, key: jax.Array) -> Params:
        """Draws fresh parameters."""
        sizes = {name: max(1, observed.size) for name, observed in self.observed.items()}
        networks: dict[str, tuple[nn.Module, MLP]] = {
            "policy": (self.policy_network, self.policy_network.mlp),
            "value": (self.value_network, self.value_network),
        }
        params = {}
        keys = jax.random.split(key, 3)
        if self.shared:
            params["encoder"] = self._init_trunk(keys[0], sizes["policy"])
        for (name, (network, mlp)), network_key in zip(networks.items(), keys[1:], strict=True):
            own_trunk, size = {}, sizes[name]
            if self.trunk is not None:
                size = self.trunk.hidden_sizes[-1] if self.cell is None else self.cell.size
            if self.trunk is not None and not self.shared:
                network_key, trunk_key = jax.random.split(network_key)
                own_trunk = {"encoder": self._init_trunk(trunk_key, sizes[name])}
            params[name] = self._init_network(network, mlp, network_key, size) | own_trunk
        return params

    def _init_trunk(self, key: jax.Array, size: int) -> Params:
        assert self.trunk is not None
        if self.cell is None:
            return self._init_network(self.trunk, self.trunk, key, size)
        key, cell_key = jax.random.split(key)
        layers = self._init_network(self.trunk, self.trunk, key, size)
        return {"layers": layers, "cell": self.cell.init(cell_key, self.trunk.hidden_sizes[-1])}

    def _init_network(self, network: nn.Module, mlp: MLP, key: jax.Array, size: int) -> Params:
        shapes = jax.eval_shape(network.init, key, jnp.zeros((1, size), jnp.float32))["params"]
        return draw_uniform(key, shapes) if self.initialization == "uniform" else draw_orthogonal(key, shapes, mlp.gain)

    def initial_memory(self, n: int) -> Any:
        """Returns what `n` environments remember when an episode begins, a cell's memory for each trunk."""
        if self.cell is None:
            return ()
        return {name: self.cell.initial_memory(n) for name in (("encoder",) if self.shared else ("policy", "value"))}

    def remember(self, params: Params, inputs: Inputs) -> Any:
        """Returns what is remembered behind the last of the inputs."""
        if self.cell is None:
            return ()
        assert isinstance(inputs, Sequence)
        return {name: self._encoded(params, "policy" if self.shared else name, inputs)[1] for name in inputs.memory}

    @in_float32
    def policy(self, params: Params, inputs: Inputs) -> Distribution:
        """Returns the action distributions of `[..., *shape]` observations, or of a Sequence of them."""
        return self._policy_of(params, inputs, self._encoded(params, "policy", inputs)[0])

    def value(self, params: Params, inputs: Inputs) -> jax.Array:
        """Returns V, `[...]`, of `[..., *shape]` observations; sum_b pi(b|s) Q(s, b) where Q is learned.

        It is in the units of the rewards learned from, which `normalize_rewards` scales; `values.make_value_function`
        gives it in the environment's own.
        """
        outputs = self._value_outputs(params, self._encoded(params, "value", inputs)[0])
        if self.has_action_values:
            policy = self.policy(params, inputs)
            assert isinstance(policy, Categorical)
            return jnp.sum(jax.nn.softmax(policy.logits) * outputs, axis=-1)
        return jnp.squeeze(outputs, axis=-1)

    def policy_and_value(self, params: Params, inputs: Inputs) -> tuple[Distribution, jax.Array]:
        """Returns `(policy(params, inputs), value(params, inputs))`; a shared memory moves through time once."""
        if not self.shared or self.cell is None or self.has_action_values:
            return self.policy(params, inputs), self.value(params, inputs)
        features = self._encoded(params, "policy", inputs)[0]
        values = jnp.squeeze(self._value_outputs(params, features), axis=-1)
        return in_float32(self._policy_of)(params, inputs, features), values

    def prediction(self, params: Params, inputs: Inputs, actions: jax.Array | None) -> jax.Array:
        """Returns what the value loss compares with its targets, `[...]`: V(s), or Q(s, a) of the actions taken."""
        if not self.has_action_values:
            return self.value(params, inputs)
        assert actions is not None, "action values are compared at the actions taken"
        outputs = self._value_outputs(params, self._encoded(params, "value", inputs)[0])
        return jnp.take_along_axis(outputs, actions[..., None], axis=-1)[..., 0]

    def trunk_of_policy(self, params: Params) -> tuple[Params, Params]:
        """Returns the parameters of the layers in front of the policy and of the cell behind them, {} for none."""
        if self.trunk is None:
            return {}, {}
        trunk_params = params["encoder"] if self.shared else params["policy"]["encoder"]
        return (trunk_params, {}) if self.cell is None else (trunk_params["layers"], trunk_params["cell"])

    def _policy_of(self, params: Params, inputs: Inputs, features: jax.Array) -> Distribution:
        policy = self._apply(self.policy_network, params["policy"], features)
        return with_mask(policy, inputs, self.observed["policy"].types, self.mask)

    def _value_outputs(self, params: Params, features: jax.Array) -> jax.Array:
        return self._apply(self.value_network, params["value"], features)

    def _apply(self, network: nn.Module, params: Params, inputs: jax.Array) -> Any:
        """Applies layers to `[..., F]`; to trajectories as to one batch of steps, twice as fast to differentiate."""
        if self.cell is None:
            return _apply(network, params, inputs)
        return of_steps(lambda steps: _apply(network, params, steps), inputs)

    @in_float32  # a shared trunk is the policy's too
    def _encoded(self, params: Params, name: str, inputs: Inputs) -> tuple[jax.Array, Any]:
        """Returns the features that `name`, policy or value, sees of the inputs, and what its trunk remembers."""
        observations = inputs.observations if isinstance(inputs, Sequence) else inputs
        flat = self.observed[name].flatten(observations)
        if self.trunk is None:
            return flat, ()
        trunk_params = params["encoder"] if self.shared else params[name]["encoder"]
        if self.cell is None:
            return _apply(self.trunk, trunk_params, flat), ()
        assert isinstance(inputs, Sequence), "a network with memory needs a Sequence"
        features = self._apply(self.trunk, trunk_params["layers"], flat)
        memory = inputs.memory["encoder" if self.shared else name]
        return self.cell.apply(trunk_params["cell"], features, inputs.starts, memory)


def _apply(network: nn.Module, params: Params, inputs: jax.Array) -> Any:
    return network.apply({"params": params}, inputs)


def with_mask(policy: Any, inputs: Inputs, types: Any, mask: str | None) -> Any:
    """Returns a policy without the actions that a leaf of the observations does not allow.

    Args:
      policy: a distribution that can be `masked`.
      inputs: `[..., *shape]` observations, or a Sequence of them.
      types: of one observation.
      mask: the leaf's name; where None, all actions are allowed.
    """
    if mask is None:
        return policy
    observations = inputs.observations if isinstance(inputs, Sequence) else inputs
    return policy.masked(named_leaves(observations)[mask].reshape(*batch_shape(types, observations), -1))


def make_actor_critic(
    observation_shape: Any,
    actions: ActionSpace,
    *,
    shared: bool,
    hidden_sizes: tuple[int, ...],
    activation: Activation,
    learn_std: bool,
    log_std_init: float,
    action_values: bool = False,
    initialization: Initialization = "orthogonal",
    squashed: bool = False,
    encoder: Encoder = "mlp",
    memory: Memory = "none",
    memory_size: int = 64,
    seen: Seen = ALL_LEAVES,
) -> ActorCritic:
    """Makes the two networks for an environment.

    Args:
      observation_shape: of one observation; or of several arrays their types, see `structures.types_of`.
      actions: the action space.
      shared: one trunk of `hidden_sizes` with a head for each of policy and value, of one more hidden layer, or
        linear behind convolutions; otherwise two networks of `hidden_sizes`.
      hidden_sizes: widths of the hidden layers.
      activation: name of the activation.
      learn_std: see PolicyNetwork.
      log_std_init: see PolicyNetwork.
      action_values: learn Q(s, a) instead of V(s).
      initialization: see ActorCritic.
      squashed: the policy of real actions is a SquashedGaussian.
      encoder: what stands before the dense layers; see `encoders.make_convolutions`.
      memory: what stands behind `hidden_sizes` and, where not shared, in front of the outputs; see `cells`.
      memory_size: units of it.
      seen: the leaves that policy and value function see, and what masks actions.

    Raises:
      UserError: action values are asked for, and actions are not discrete; or observations do not suit the
        encoder, or the choice of leaves the network.
    """
    if action_values and not isinstance(actions, DiscreteActions):
        raise UserError(f"action values need discrete actions, to sum over them; this environment's are {actions}")
    observed, num_outputs = choose_leaves(types_of(observation_shape), seen), actions.num_outputs
    convolutions = observed["policy"].convolutions(encoder, activation)
    cell = None if memory == "none" else CELLS[memory](memory_size)
    has_trunk = shared or cell is not None
    if has_trunk:
        _require_alike(observed, shared=shared, convolutions=convolutions)
    value_convolutions = None if has_trunk else observed["value"].convolutions(encoder, activation, optional=True)
    own_sizes = () if has_trunk else hidden_sizes
    if shared:
        own_sizes = hidden_sizes[-1:] if convolutions is None else ()
    value_outputs = num_outputs if action_values else 1
    # Gain 0.01: the first policy is close to the same distribution in every state (Andrychowicz et al. 2021).
    policy = MLP(own_sizes, activation, num_outputs, output_gain=0.01, convolutions=None if has_trunk else convolutions)
    return ActorCritic(
        observed=observed,
        trunk=MLP(hidden_sizes, activation, convolutions=convolutions) if has_trunk else None,
        shared=shared,
        cell=cell,
        policy_network=PolicyNetwork(policy, actions, learn_std, log_std_init, squashed),
        value_network=MLP(own_sizes, activation, value_outputs, output_gain=1.0, convolutions=value_convolutions),
        has_action_values=action_values,
        initialization=initialization,
        mask=seen.mask,
    )


def _require_alike(observed: dict[str, Observed], *, shared: bool, convolutions: Convolutions | None) -> None:
    """Refuses to show policy and value function different leaves where one trunk or one image's place is for both."""
    names = [",".join(each.names) for each in observed.values()]
    if names[0] == names[1] or not (shared or convolutions):
        return
    what = "network = shared" if shared else "convolutions and memory"
    raise UserError(
        f"policy_observations and value_observations are {names[0]} and {names[1]}; with {what} they must be the same"
    )
