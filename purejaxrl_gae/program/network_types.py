"""The contracts of what is handed in: a network, what it sees, and the distribution of actions that it returns.

Each is whatever has the methods named here; nothing else is asked of it.
"""

from typing import Any, NamedTuple, Protocol

import jax

Params = Any
Inputs = Any  # observations `[..., *shape]`, or of a network with memory a Sequence of them


class Sequence(NamedTuple):
    """Stretches of trajectories in their order: what a network with memory sees in place of observations.

    Attributes:
      observations: `[T, B, *shape]`.
      starts: `[T, B]` bool, an episode begins at this step: what is remembered is forgotten before it.
      memory: pytree of `[B, ...]`, what is remembered before the first step.
    """

    observations: Any
    starts: jax.Array
    memory: Any


class Distribution(Protocol):
    """The distribution of actions in each of a batch of states: a pytree of its outputs.

    A sample is made of parameter-free noise, which a rollout draws for all its steps at once.
    """

    def noise(self, key: jax.Array, leading: tuple[int, ...] = ()) -> Any:
        """Draws what `from_noise` needs, `leading` times for this batch; reads no more than the outputs' shapes."""

    def from_noise(self, noise: Any) -> jax.Array:
        """Returns the actions that this noise picks."""

    def sample(self, key: jax.Array) -> jax.Array:
        """Returns one action for each state: `from_noise(noise(key))`."""

    def mode(self) -> jax.Array:
        """Returns the most probable action of each state."""

    def log_prob(self, actions: jax.Array) -> jax.Array:
        """Returns log pi(a|s), one number for each state."""

    def entropy(self) -> jax.Array:
        """Returns the entropy, one number for each state."""

    def kl_divergence(self, other: Any) -> jax.Array:
        """Returns KL(self || other), one number for each state."""

    def fisher_product(self, tangent: Any) -> Any:
        """Returns M v: the Fisher matrix in the distribution's own outputs times a change of them, in the same form."""


class Network(Protocol):
    """Policy and value function as pure functions of one pytree of parameters.

    Inputs are observations `[..., *shape]`; of a network with memory, one whose `initial_memory` is not (), they are a
    Sequence, and what it returns of it is `[T, B]`. Then `remember` is needed; otherwise neither it nor
    `initial_memory` is.

    Attributes:
      has_own_value_params: the parameters are `{"policy": …, "value": …}` and nothing is shared, so that fitting the
        value function does not move the policy; TRPO and REINFORCE need it.
      has_action_values: what is learned is Q(s, a), and `value` its mean under the policy.
    """

    @property
    def has_own_value_params(self) -> bool:
        """See Attributes."""

    @property
    def has_action_values(self) -> bool:
        """See Attributes."""

    def init(self, key: jax.Array) -> Params:
        """Returns fresh parameters."""

    def initial_memory(self, n: int) -> Any:
        """Returns what `n` environments remember when an episode begins, a pytree of `[n, ...]`; () for no memory."""

    def remember(self, params: Params, inputs: Inputs) -> Any:
        """Returns what is remembered behind the last of the inputs, in the form of `initial_memory`."""

    def policy(self, params: Params, inputs: Inputs) -> Distribution:
        """Returns the action distributions of the inputs."""

    def value(self, params: Params, inputs: Inputs) -> jax.Array:
        """Returns V of the inputs, `[...]`."""

    def prediction(self, params: Params, inputs: Inputs, actions: jax.Array | None) -> jax.Array:
        """Returns what the value loss compares with its targets, `[...]`: V(s), or Q(s, a) of the actions taken."""
