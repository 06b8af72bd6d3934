"""Five probe environments, discrete and continuous, each of which isolates one thing an agent must learn.

They are the cheapest evidence that an algorithm learns, and the first place to look when one does not:

1. `constant`: reward 1 in a one-step episode; V = 1. The value loss alone.
2. `observation`: reward equals the observation, +1 or -1; V(o) = o. Gradients through the critic's input.
3. `discount`: two steps, reward 1 at the second; V = gamma, then 1. Bootstrapping.
4. `action`: reward +1 for the right action, else -1 (continuous: 1 - (a - 0.5)^2). The policy gradient.
5. `both`: the right action depends on the observation. Everything together.

and `endless`: reward 1 for ever behind an 8-step time limit, so V = 1 / (1 - gamma) when truncation is done right.

Two more can be solved only by an agent that remembers, and bring 0 on average to any other:

6. `t_maze`: the sign shown at the start says which way to turn at the end of the corridor.
7. `repeat_previous`: the right action is the sign that was shown two steps ago.

`--env purejaxrl_gae.environments.probes:t_maze --env-args length=10` trains on the first of these.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from purejaxrl_gae.environments.light_gymnax import gymnax_environment, spaces


@struct.dataclass
class ProbeState:
    """The sign shown to the agent, +1 or -1, and the steps taken."""

    sign: jax.Array
    time: jax.Array


@struct.dataclass
class ProbeParams:
    """Time limit, out of reach unless the probe is about it."""

    max_steps_in_episode: int = 1000


Reward = Callable[[jax.Array, ProbeState, bool], jax.Array]


class Probe(gymnax_environment.Environment):
    """A probe, defined by its reward and its length.

    Args:
      probe_name: shown in messages.
      reward: `(action, state, continuous) -> reward`.
      length: steps until termination; 0 for never.
      time_limit: steps until truncation.
      shows_sign: the observation is the sign; otherwise it is the time.
      continuous: one real action in [-1, 1]; otherwise two discrete ones.
    """

    def __init__(
        self,
        probe_name: str,
        reward: Reward,
        *,
        length: int = 1,
        time_limit: int = 1000,
        shows_sign: bool = True,
        continuous: bool = False,
    ):
        super().__init__()
        self.probe_name, self.reward, self.length, self.time_limit = probe_name, reward, length, time_limit
        self.shows_sign, self.continuous = shows_sign, continuous

    @property
    def name(self) -> str:
        """`probe-` and what it is about."""
        return f"probe-{self.probe_name}"

    @property
    def default_params(self) -> ProbeParams:
        """The time limit."""
        return ProbeParams(max_steps_in_episode=self.time_limit)

    def step_env(self, key, state, action, params):
        """Steps once; see gymnax."""
        reward = self.reward(jnp.reshape(action, ()), state, self.continuous)
        state = ProbeState(sign=state.sign, time=state.time + 1)
        terminated = (state.time >= self.length) if self.length else jnp.array(False)
        return self.get_obs(state), state, reward.astype(jnp.float32), terminated, {}

    def reset_env(self, key, params):
        """Draws a sign, at time 0; see gymnax."""
        sign = jnp.where(jax.random.bernoulli(key), 1.0, -1.0).astype(jnp.float32)
        state = ProbeState(sign=sign, time=jnp.zeros((), jnp.int32))
        return self.get_obs(state), state

    def get_obs(self, state, params=None, key=None):
        """Returns the sign or the time, `[1]`; see gymnax."""
        shown = state.sign if self.shows_sign else state.time.astype(jnp.float32)
        return jnp.reshape(shown, (1,))

    def action_space(self, params=None):
        """Returns two actions, or one real one."""
        return spaces.Box(-1.0, 1.0, (1,)) if self.continuous else spaces.Discrete(2)

    def observation_space(self, params=None):
        """Returns one number."""
        return spaces.Box(-1.0, float(self.time_limit), (1,))


def _one(action, state, continuous):
    return jnp.ones(())


def _sign(action, state, continuous):
    return state.sign


def _late(action, state, continuous):
    return jnp.where(state.time == 1, 1.0, 0.0)


def _right_action(action, state, continuous):
    return 1.0 - (action - 0.5) ** 2 if continuous else jnp.where(action == 1, 1.0, -1.0)


def _matching_action(action, state, continuous):
    wanted = 0.5 * state.sign if continuous else (state.sign > 0.0).astype(jnp.int32)
    return 1.0 - (action - wanted) ** 2 if continuous else jnp.where(action == wanted, 1.0, -1.0)


def constant(*, continuous: bool = False) -> Probe:
    """Makes an environment of one step and reward 1."""
    return Probe("constant", _one, continuous=continuous)


def observation(*, continuous: bool = False) -> Probe:
    """Makes an environment of one step whose reward is the observed sign."""
    return Probe("observation", _sign, continuous=continuous)


def discount(*, continuous: bool = False) -> Probe:
    """Makes an environment with reward 1 at the second of two steps."""
    return Probe("discount", _late, length=2, shows_sign=False, continuous=continuous)


def action(*, continuous: bool = False) -> Probe:
    """Makes an environment that rewards one action, whatever is observed."""
    return Probe("action", _right_action, continuous=continuous)


def both(*, continuous: bool = False) -> Probe:
    """Makes an environment that rewards the action that matches the observed sign."""
    return Probe("both", _matching_action, continuous=continuous)


def endless(*, time_limit: int = 8, continuous: bool = False) -> Probe:
    """Makes an environment with reward 1 for ever, cut by a time limit."""
    return Probe("endless", _one, length=0, time_limit=time_limit, continuous=continuous)


@struct.dataclass
class MemoryState:
    """The signs shown so far, newest first, and the steps taken."""

    signs: jax.Array
    time: jax.Array


class MemoryProbe(gymnax_environment.Environment):
    """A probe whose right action is a sign that was shown some steps ago; +1 for it, -1 for the other one.

    Args:
      probe_name: shown in messages.
      lag: steps between a sign and the action that must match it.
      length: steps of an episode.
      once: one sign is shown, at the first step, and one action counts, at the last; otherwise all do.
    """

    def __init__(self, probe_name: str, *, lag: int, length: int, once: bool):
        super().__init__()
        self.probe_name, self.lag, self.length, self.once = probe_name, lag, length, once

    @property
    def name(self) -> str:
        """Returns `probe-` and what it is about."""
        return f"probe-{self.probe_name}"

    @property
    def default_params(self) -> ProbeParams:
        """Returns a time limit that is out of reach."""
        return ProbeParams()

    def step_env(self, key, state, action, params):
        """Takes one step; see gymnax."""
        wanted = state.signs[self.lag] > 0.0
        matches = jnp.where(jnp.reshape(action, ()) == wanted.astype(jnp.int32), 1.0, -1.0)
        reward = jnp.where(state.time >= self.lag, matches / (self.length - self.lag), 0.0)
        state = MemoryState(signs=self._shown(key, state.signs), time=state.time + 1)
        return self.get_obs(state), state, reward.astype(jnp.float32), state.time >= self.length, {}

    def reset_env(self, key, params):
        """Shows a random sign; see gymnax."""
        nothing = jnp.zeros(self.lag + 1, jnp.float32)
        state = MemoryState(signs=nothing.at[0].set(_random_sign(key)), time=jnp.zeros((), jnp.int32))
        return self.get_obs(state), state

    def _shown(self, key, signs):
        """Returns the signs with the next one before them, 0 where only one is shown."""
        following = jnp.zeros(()) if self.once else _random_sign(key)
        return jnp.concatenate([following[None], signs[:-1]])

    def get_obs(self, state, params=None, key=None):
        """Returns `[2]`: the newest sign, and whether the action counts; see gymnax."""
        return jnp.stack([state.signs[0], (state.time >= self.lag).astype(jnp.float32)])

    def action_space(self, params=None):
        """Returns two actions."""
        return spaces.Discrete(2)

    def observation_space(self, params=None):
        """Returns two numbers."""
        return spaces.Box(-1.0, 1.0, (2,))


def _random_sign(key):
    return jnp.where(jax.random.bernoulli(key), 1.0, -1.0).astype(jnp.float32)


def t_maze(*, length: int = 6) -> MemoryProbe:
    """Makes a corridor of `length` steps, at whose start a sign says which way to turn at its end."""
    return MemoryProbe("t_maze", lag=length - 1, length=length, once=True)


def repeat_previous(*, lag: int = 2, length: int = 12) -> MemoryProbe:
    """Makes an episode of random signs, each to be repeated `lag` steps later."""
    return MemoryProbe("repeat_previous", lag=lag, length=length, once=False)


MEMORY_PROBES: dict[str, Callable[..., MemoryProbe]] = {"t_maze": t_maze, "repeat_previous": repeat_previous}

PROBES: dict[str, Callable[..., Probe]] = {
    "constant": constant,
    "observation": observation,
    "discount": discount,
    "action": action,
    "both": both,
    "endless": endless,
}
