"""Policy and value networks: separate or with a shared trunk, for discrete and continuous actions.

Parameters are a dictionary `{"policy": ..., "value": ...}`, with a shared trunk's as `"encoder"` beside them, so an
algorithm that must not let the critic's step move the policy can see what belongs to whom. With a memory, which stands
behind the trunk, policy and value function have a trunk each where they share none: `["policy"]["encoder"]`.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from purejaxrl_gae.environments import ActionSpace, BoxActions, DiscreteActions
from purejaxrl_gae.kernels import Categorical, DiagonalGaussian, Distribution, SquashedGaussian, in_float32
from purejaxrl_gae.program.cells import CELLS, Cell
from purejaxrl_gae.program.encoders import ACTIVATIONS, Convolutions, make_convolutions
from purejaxrl_gae.program.initialization import draw_orthogonal, draw_uniform
from purejaxrl_gae.program.types import Inputs, Params, Sequence
from purejaxrl_gae.settings.config import ActionBounds, Activation, Encoder, Initialization, Memory
from purejaxrl_gae.settings.errors import UserError


class MLP(nn.Module):
    """Dense layers, each followed by the activation; then, if asked, a linear output; before them, convolutions.

    Attributes:
      hidden_sizes: widths of the hidden layers.
      activation: name of the activation.
      output_size: width of the linear output layer, or None for none.
      output_gain: scale of the output layer's initial weights.
      convolutions: of the inputs, or None for none.
    """

    hidden_sizes: tuple[int, ...]
    activation: Activation
    output_size: int | None = None
    output_gain: float = 1.0
    convolutions: Convolutions | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `[..., inputs]` to `[..., output_size or hidden_sizes[-1]]`."""
        features = inputs if self.convolutions is None else self.convolutions(inputs)
        for size in self.hidden_sizes:
            features = ACTIVATIONS[self.activation](nn.Dense(size, param_dtype=jnp.float32)(features))
        if self.output_size is None:
            return features
        return nn.Dense(self.output_size, param_dtype=jnp.float32)(features)

    def gain(self, layer: str) -> float:
        """Returns the scale of a layer's initial weights: sqrt(2) in hidden layers."""
        is_output = layer == f"Dense_{len(self.hidden_sizes)}"
        return self.output_gain if is_output else math.sqrt(2.0)


class PolicyNetwork(nn.Module):
    """An MLP whose output parametrises the action distribution; the standard deviation is the same in every state.

    Attributes:
      mlp: the network; its output is the logits, or the mean of a Gaussian.
      discrete: Categorical instead of DiagonalGaussian.
      learn_std: a parameter per action dimension is added to the logarithm of the standard deviation.
      log_std_init: that logarithm's initial value, or its value for good.
      squashed: SquashedGaussian instead of DiagonalGaussian.
    """

    mlp: MLP
    discrete: bool
    learn_std: bool = True
    log_std_init: float = 0.0
    squashed: bool = False

    @nn.compact
    def __call__(self, features: jax.Array) -> Distribution:
        """Returns the action distribution of every state."""
        outputs = self.mlp(features)
        if self.discrete:
            return Categorical(outputs)
        if self.learn_std:
            offset = self.param("log_std_offset", nn.initializers.zeros, (outputs.shape[-1],), jnp.float32)
        else:
            offset = jnp.zeros((outputs.shape[-1],), jnp.float32)
        kind = SquashedGaussian if self.squashed else DiagonalGaussian
        return kind(outputs, jnp.broadcast_to(self.log_std_init + offset, outputs.shape))


@dataclass(frozen=True)
class ActorCritic:
    """Policy and value function as functions of one parameter dictionary.

    Attributes:
      observation_shape: of one observation; observations are flattened.
      trunk: layers in front of both, or None where there are none.
      shared: policy and value function have one trunk.
      cell: memory behind the trunk, or None.
      policy_network: maps observations, or the trunk's features, to a distribution.
      value_network: maps the same to one number, V(s); or, with action values, to one for each action, Q(s, a).
      has_action_values: which of the two.
      initialization: of the weights; see `draw_orthogonal` and `draw_uniform`.
      action_bounds: how real actions reach the environment's bounds; see `rollout.clip_to_bounds`.
    """

    observation_shape: tuple[int, ...]
    trunk: MLP | None
    shared: bool
    cell: Cell | None
    policy_network: PolicyNetwork
    value_network: MLP
    has_action_values: bool = False
    initialization: Initialization = "orthogonal"
    action_bounds: ActionBounds = "clip"

    @property
    def has_own_value_params(self) -> bool:
        """Policy and value function share nothing."""
        return not self.shared

    def init(self, key: jax.Array) -> Params:
        """Draws fresh parameters."""
        observations = features = jnp.zeros((1, max(1, math.prod(self.observation_shape))), jnp.float32)
        networks: dict[str, tuple[nn.Module, MLP]] = {
            "policy": (self.policy_network, self.policy_network.mlp),
            "value": (self.value_network, self.value_network),
        }
        params = {}
        keys = jax.random.split(key, 3)
        if self.shared:
            params["encoder"] = self._init_trunk(keys[0], observations)
        if self.trunk is not None:
            width = self.trunk.hidden_sizes[-1] if self.cell is None else self.cell.size
            features = jnp.zeros((1, width), jnp.float32)
        for (name, (network, mlp)), network_key in zip(networks.items(), keys[1:], strict=True):
            own_trunk = {}
            if self.trunk is not None and not self.shared:
                network_key, trunk_key = jax.random.split(network_key)
                own_trunk = {"encoder": self._init_trunk(trunk_key, observations)}
            params[name] = self._init_network(network, mlp, network_key, features) | own_trunk
        return params

    def _init_trunk(self, key: jax.Array, observations: jax.Array) -> Params:
        assert self.trunk is not None
        if self.cell is None:
            return self._init_network(self.trunk, self.trunk, key, observations)
        key, cell_key = jax.random.split(key)
        layers = self._init_network(self.trunk, self.trunk, key, observations)
        return {"layers": layers, "cell": self.cell.init(cell_key, self.trunk.hidden_sizes[-1])}

    def _init_network(self, network: nn.Module, mlp: MLP, key: jax.Array, features: jax.Array) -> Params:
        shapes = jax.eval_shape(network.init, key, features)["params"]
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
        return {name: self._encoded(params, name, inputs)[1] for name in inputs.memory}

    @in_float32
    def policy(self, params: Params, inputs: Inputs) -> Distribution:
        """Returns the action distributions of `[..., *observation_shape]` observations, or of a Sequence of them."""
        return _apply(self.policy_network, params["policy"], self._encoded(params, "policy", inputs)[0])

    def value(self, params: Params, inputs: Inputs) -> jax.Array:
        """Returns V, `[...]`, of `[..., *observation_shape]` observations; sum_b pi(b|s) Q(s, b) where Q is learned.

        It is in the units of the rewards learned from, which `normalize_rewards` scales; `values.make_value_function`
        gives it in the environment's own.
        """
        outputs = _apply(self.value_network, params["value"], self._encoded(params, "value", inputs)[0])
        if self.has_action_values:
            policy = self.policy(params, inputs)
            assert isinstance(policy, Categorical)
            return jnp.sum(jax.nn.softmax(policy.logits) * outputs, axis=-1)
        return jnp.squeeze(outputs, axis=-1)

    def prediction(self, params: Params, inputs: Inputs, actions: jax.Array | None) -> jax.Array:
        """Returns what the value loss compares with its targets, `[...]`: V(s), or Q(s, a) of the actions taken."""
        if not self.has_action_values:
            return self.value(params, inputs)
        assert actions is not None, "action values are compared at the actions taken"
        outputs = _apply(self.value_network, params["value"], self._encoded(params, "value", inputs)[0])
        return jnp.take_along_axis(outputs, actions[..., None], axis=-1)[..., 0]

    @in_float32  # a shared trunk is the policy's too
    def _encoded(self, params: Params, name: str, inputs: Inputs) -> tuple[jax.Array, Any]:
        """Returns the features that `name`, policy or value, sees of the inputs, and what its trunk remembers."""
        observations = inputs.observations if isinstance(inputs, Sequence) else inputs
        batch_shape = observations.shape[: observations.ndim - len(self.observation_shape)]
        flat = observations.reshape(*batch_shape, -1)
        if self.trunk is None:
            return flat, ()
        trunk_params = params["encoder"] if self.shared else params[name]["encoder"]
        if self.cell is None:
            return _apply(self.trunk, trunk_params, flat), ()
        assert isinstance(inputs, Sequence), "a network with memory needs a Sequence"
        features = _apply(self.trunk, trunk_params["layers"], flat)
        memory = inputs.memory["encoder" if self.shared else name]
        return self.cell.apply(trunk_params["cell"], features, inputs.starts, memory)


def _apply(network: nn.Module, params: Params, inputs: jax.Array) -> Any:
    return network.apply({"params": params}, inputs)


def make_actor_critic(
    observation_shape: tuple[int, ...],
    actions: ActionSpace,
    *,
    shared: bool,
    hidden_sizes: tuple[int, ...],
    activation: Activation,
    learn_std: bool,
    log_std_init: float,
    action_values: bool = False,
    initialization: Initialization = "orthogonal",
    action_bounds: ActionBounds = "clip",
    encoder: Encoder = "mlp",
    memory: Memory = "none",
    memory_size: int = 64,
) -> ActorCritic:
    """Makes the two networks for an environment.

    Args:
      observation_shape: of one observation.
      actions: the action space.
      shared: one trunk of `hidden_sizes` with a head for each of policy and value, of one more hidden layer, or
        linear behind convolutions; otherwise two networks of `hidden_sizes`.
      hidden_sizes: widths of the hidden layers.
      activation: name of the activation.
      learn_std: see PolicyNetwork.
      log_std_init: see PolicyNetwork.
      action_values: learn Q(s, a) instead of V(s).
      initialization: see ActorCritic.
      action_bounds: see ActorCritic; `tanh` makes the policy a SquashedGaussian.
      encoder: what stands before the dense layers; see `encoders.make_convolutions`.
      memory: what stands behind `hidden_sizes` and, where not shared, in front of the outputs; see `cells`.
      memory_size: units of it.

    Raises:
      UserError: action values are asked for, and actions are not discrete; actions are to be scaled or squashed to
        bounds that there are not; or observations do not suit the encoder.
    """
    _check_bounds(actions, action_bounds)
    if action_values and not isinstance(actions, DiscreteActions):
        raise UserError("action values need discrete actions, to sum over them; this environment's are continuous")
    discrete = isinstance(actions, DiscreteActions)
    num_outputs = actions.size if isinstance(actions, BoxActions) else actions.n
    convolutions = make_convolutions(encoder, observation_shape, activation)
    cell = None if memory == "none" else CELLS[memory](memory_size)
    has_trunk = shared or cell is not None
    own_convolutions = None if has_trunk else convolutions
    own_sizes = () if has_trunk else hidden_sizes
    if shared:
        own_sizes = hidden_sizes[-1:] if convolutions is None else ()
    value_outputs = num_outputs if action_values else 1
    # Gain 0.01: the first policy is close to the same distribution in every state (Andrychowicz et al. 2021).
    policy = MLP(own_sizes, activation, num_outputs, output_gain=0.01, convolutions=own_convolutions)
    return ActorCritic(
        observation_shape=observation_shape,
        trunk=MLP(hidden_sizes, activation, convolutions=convolutions) if has_trunk else None,
        shared=shared,
        cell=cell,
        policy_network=PolicyNetwork(policy, discrete, learn_std, log_std_init, squashed=action_bounds == "tanh"),
        value_network=MLP(own_sizes, activation, value_outputs, output_gain=1.0, convolutions=own_convolutions),
        has_action_values=action_values,
        initialization=initialization,
        action_bounds=action_bounds,
    )


def _check_bounds(actions: ActionSpace, action_bounds: ActionBounds) -> None:
    if action_bounds == "clip":
        return
    if isinstance(actions, DiscreteActions):
        raise UserError(f"action_bounds is {action_bounds!r}, but actions are discrete; it must be 'clip'")
    if not np.all(np.isfinite([actions.low, actions.high])):
        raise UserError(
            f"action_bounds is {action_bounds!r}, which needs finite bounds; this environment's go from "
            f"{min(actions.low)} to {max(actions.high)}, it must be 'clip'"
        )
