"""Gymnasium's environments, real MuJoCo among them, as many copies side by side on the host.

Copies are stepped and reset here, one `gymnasium.Env` each, so what ends an episode is the true final observation and
no step leads from one episode into the next. A user's own `gymnasium.vector.VectorEnv` is taken as it is.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from purejaxrl_gae.environments.contract import ActionSpace, BoxActions, DiscreteActions
from purejaxrl_gae.environments.host_environment import HostCopies, HostEnvironment, HostStep, StickyCopies, copy_seeds
from purejaxrl_gae.environments.quiet import quietly
from purejaxrl_gae.errors import UserError, closest

try:
    import gymnasium
    from gymnasium import spaces
    from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
except ImportError:
    raise UserError(
        "environments of Gymnasium need gymnasium 1.1 or newer: pip install 'purejaxrl-gae[gymnasium]'"
    ) from None

MakeEnv = Callable[..., gymnasium.Env]


def from_gymnasium(
    env: Any,
    *,
    env_args: Mapping[str, Any] | None = None,
    max_episode_steps: int | None = None,
    action_repeat: int = 1,
    sticky_actions: float = 0.0,
) -> HostEnvironment:
    """A HostEnvironment from Gymnasium.

    Args:
      env: an id; a function that makes a `gymnasium.Env`; or a `gymnasium.vector.VectorEnv`. An id `ALE/…` is an Atari
        game with the usual preprocessing; see `atari_adapter`.
      env_args: for the environment's constructor; with an id only.
      max_episode_steps: overrides the time limit; with a function, cuts in addition to it.
      action_repeat: times that each action is applied; rewards add up.
      sticky_actions: probability that the previous action is repeated instead of the new one.

    Raises:
      UserError: there is no such id, a package is missing, a space is not supported, or what `reset` and `step` return
        has the wrong form; found by calling both once.
    """
    if isinstance(env, str) and env.startswith("ALE/"):
        from purejaxrl_gae.environments.atari_adapter import from_atari

        return from_atari(
            env,
            env_args=env_args,
            max_episode_steps=max_episode_steps,
            action_repeat=action_repeat,
            sticky_actions=sticky_actions,
        )
    if isinstance(env, str):
        return _from_factory(
            f"gymnasium:{env}",
            _make_by_id(env, dict(env_args or {}), max_episode_steps),
            action_repeat,
            sticky_actions,
        )
    if env_args:
        raise UserError(f"env_args is {dict(env_args)}, but env is an object; give it its arguments where it is made")
    if isinstance(env, VectorEnv):
        if max_episode_steps is not None or action_repeat != 1:
            raise UserError("max_episode_steps and action_repeat cannot change a VectorEnv; change the envs it is of")
        return _from_vector_env(env, sticky_actions)
    if isinstance(env, gymnasium.Env):
        raise UserError(f"env is a {type(env).__name__}, one copy; give a function that makes one: lambda: MyEnv()")
    if not callable(env):
        raise UserError(f"env is a {type(env).__name__}; it must be an id, a VectorEnv or a function that makes an Env")
    name = getattr(env, "__name__", type(env).__name__)
    return _from_factory(name, _make_by_function(env, max_episode_steps), action_repeat, sticky_actions)


def checked_spec(env_id: str) -> Any:
    """What Gymnasium's registry knows of an id.

    Raises:
      UserError: nothing, with the closest id.
    """
    try:
        return gymnasium.spec(env_id)
    except gymnasium.error.Error:
        hint = closest(env_id, gymnasium.registry) or "; see gymnasium.pprint_registry()"
        raise UserError(f"env is 'gymnasium:{env_id}', which Gymnasium does not know{hint}") from None


def _make_by_id(env_id: str, env_args: dict[str, Any], max_episode_steps: int | None) -> MakeEnv:
    checked_spec(env_id)

    def make(render: bool = False):
        more: dict[str, Any] = {**env_args, **({"render_mode": "rgb_array"} if render else {})}
        try:
            with quietly():
                return gymnasium.make(env_id, max_episode_steps, disable_env_checker=True, **more)
        except gymnasium.error.DependencyNotInstalled as error:
            raise UserError(
                f"env is 'gymnasium:{env_id}', which needs more packages ({_one_line(error)}): "
                "pip install 'purejaxrl-gae[gymnasium]'"
            ) from None
        except Exception as error:
            with_args = f" with env_args {env_args}" if env_args else ""
            raise UserError(
                f"env is 'gymnasium:{env_id}', which cannot be made{with_args}: {_one_line(error)}"
            ) from error

    return make


def _make_by_function(function: Callable[[], Any], max_episode_steps: int | None) -> MakeEnv:
    def make(render: bool = False):
        env = function()
        if not isinstance(env, gymnasium.Env):
            raise UserError(f"env makes a {type(env).__name__}; it must make a gymnasium.Env")
        return env if max_episode_steps is None else gymnasium.wrappers.TimeLimit(env, max_episode_steps)

    return make


def _from_factory(name: str, make: MakeEnv, action_repeat: int, sticky_actions: float) -> HostEnvironment:
    env = make()
    shape, dtype = observation_type(name, env.observation_space)
    actions = action_space(name, env.action_space)
    limit = _time_limit(env)
    _check(name, env, shape)
    env.close()

    def open_copies(num_envs, seed, render=False, training=False) -> HostCopies:
        copies = SerialCopies(name, make, num_envs, seed, shape, dtype, action_repeat, render)
        return StickyCopies(copies, seed, sticky_actions) if sticky_actions else copies

    decisions = None if limit is None else -(-limit // action_repeat)
    return HostEnvironment(name, shape, actions, decisions, open_copies, dtype)


class SerialCopies:
    """Copies that are stepped one after another; see HostCopies.

    Args:
      name: for messages.
      make: makes one `gymnasium.Env`; `render=True` one that renders.
      num_envs: N.
      seed: of the first reset.
      shape: of an observation.
      dtype: uint8 or float32.
      action_repeat: times that each action is applied.
      render: make copy 0 one that renders.
    """

    def __init__(
        self,
        name: str,
        make: MakeEnv,
        num_envs: int,
        seed: int,
        shape: tuple[int, ...],
        dtype: Any,
        action_repeat: int = 1,
        render: bool = False,
    ):
        self._name, self._seed, self._action_repeat = name, seed, action_repeat
        self._envs = [make(render=render and index == 0) for index in range(num_envs)]
        self._to_env = _actions_as_wanted(self._envs[0].action_space)
        self._observations = np.zeros((num_envs, *shape), dtype)
        self._seeded = False

    def reset(self, seed: int | None = None) -> np.ndarray:
        """See HostCopies."""
        if seed is None and not self._seeded:
            seed = self._seed
        self._seeded = True
        seeds = [None] * len(self._envs) if seed is None else copy_seeds(seed, len(self._envs))
        for index, (env, own_seed) in enumerate(zip(self._envs, seeds, strict=True)):
            self._observations[index] = self._checked(env.reset(seed=own_seed)[0])
        return self._observations.copy()

    def step(self, actions: np.ndarray) -> HostStep:
        """See HostCopies."""
        num_envs = len(self._envs)
        rewards = np.zeros(num_envs, np.float32)
        terminated, truncated = np.zeros(num_envs, bool), np.zeros(num_envs, bool)
        final_observations = np.empty_like(self._observations)
        for index, (env, action) in enumerate(zip(self._envs, self._to_env(actions), strict=True)):
            observation, rewards[index], terminated[index], truncated[index] = self._act(env, action)
            final_observations[index] = self._checked(observation)
        self._observations[:] = final_observations
        observations = self.reset_where(terminated | truncated)
        return HostStep(observations, rewards, terminated, truncated, final_observations)

    def reset_where(self, mask: np.ndarray) -> np.ndarray:
        """See HostCopies."""
        for index in np.flatnonzero(mask):
            self._observations[index] = self._checked(self._envs[index].reset()[0])
        return self._observations.copy()

    def frame(self) -> np.ndarray:
        """See HostCopies."""
        picture: Any = self._envs[0].render()
        if picture is None:
            raise UserError(f"env {self._name} shows nothing; make it with render_mode='rgb_array'")
        return np.asarray(picture, np.uint8)

    def close(self) -> None:
        """See HostCopies."""
        for env in self._envs:
            env.close()

    def _act(self, env: gymnasium.Env, action: Any) -> tuple[Any, float, bool, bool]:
        total = 0.0
        for _ in range(self._action_repeat):
            observation, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, bool(terminated), bool(truncated)

    def _checked(self, observation: Any) -> Any:
        """Refuses an observation that NumPy would silently stretch over its place."""
        shape = self._observations.shape[1:]
        if np.shape(observation) != shape:
            raise UserError(
                f"observation of {self._name} has shape {np.shape(observation)}; its observation_space says {shape}"
            )
        return observation


def _from_vector_env(env: VectorEnv, sticky_actions: float) -> HostEnvironment:
    name = str(getattr(getattr(env, "spec", None), "id", None) or type(env.unwrapped).__name__)
    mode = AutoresetMode(env.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP))
    if mode != AutoresetMode.SAME_STEP and not isinstance(env.unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
        raise UserError(
            f"env is a {type(env.unwrapped).__name__} with autoreset_mode {mode.value}; "
            "make it with autoreset_mode = AutoresetMode.SAME_STEP"
        )
    shape, dtype = observation_type(name, env.single_observation_space)
    actions = action_space(name, env.single_action_space)
    opened: list[VectorCopies] = []

    def open_copies(num_envs, seed, render=False, training=False) -> HostCopies:
        if num_envs != env.num_envs:
            raise UserError(f"num_envs is {num_envs}, but {name} is a VectorEnv of {env.num_envs} copies")
        if opened:
            opened[-1].taken_over = True
        opened[:] = [VectorCopies(name, env, mode, seed, dtype)]
        return StickyCopies(opened[0], seed, sticky_actions) if sticky_actions else opened[0]

    spec = getattr(env, "spec", None)
    limit = getattr(spec, "max_episode_steps", None)
    return HostEnvironment(name, shape, actions, limit, open_copies, dtype, env.num_envs)


class VectorCopies:
    """The copies of a VectorEnv; see HostCopies.

    Where it does not reset by itself in the step that ends an episode, it is told to reset those copies right behind
    that step: what the step returned was the true final observation, and no action is wasted on a reset.

    Args:
      name: for messages.
      env: the VectorEnv.
      mode: when it resets.
      seed: of the first reset.
      dtype: uint8 or float32.

    Attributes:
      taken_over: the VectorEnv has been opened again, and these copies are no more.
    """

    def __init__(self, name: str, env: VectorEnv, mode: AutoresetMode, seed: int, dtype: Any):
        self._name, self._env, self._mode, self._seed, self._dtype = name, env, mode, seed, dtype
        self._to_env = _actions_as_wanted(env.single_action_space, together=True)
        self._seeded = self.taken_over = False

    def reset(self, seed: int | None = None) -> np.ndarray:
        """See HostCopies."""
        if seed is None and not self._seeded:
            seed = self._seed
        self._seeded = True
        seeds = None if seed is None else copy_seeds(seed, self._env.num_envs)
        return self._array(self._env.reset(seed=seeds)[0])  # type: ignore[arg-type]

    def step(self, actions: np.ndarray) -> HostStep:
        """See HostCopies."""
        if self.taken_over:
            raise UserError(
                f"env is {self._name}, one VectorEnv, which an evaluation has taken over; to evaluate during training "
                "give a function that makes a gymnasium.Env"
            )
        outputs = self._env.step(self._to_env(actions))
        if not isinstance(outputs, tuple) or len(outputs) != 5:
            raise UserError(_wrong_step(self._name, outputs))
        observations = self._array(outputs[0])
        rewards, terminated, truncated = (np.array(values) for values in outputs[1:4])
        ended = terminated | truncated
        final_observations = observations
        if ended.any() and self._mode == AutoresetMode.SAME_STEP:
            final_observations = observations.copy()
            if "final_obs" not in outputs[4]:
                raise UserError(f"info of {self._name} has no 'final_obs'; step must report what its reset replaces")
            for index in np.flatnonzero(ended):
                final_observations[index] = outputs[4]["final_obs"][index]
        elif ended.any():
            observations = self.reset_where(ended)
        return HostStep(observations, rewards.astype(np.float32), terminated, truncated, final_observations)

    def reset_where(self, mask: np.ndarray) -> np.ndarray:
        """See HostCopies."""
        if not isinstance(self._env.unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
            raise UserError(
                f"env is {self._name}, a {type(self._env.unwrapped).__name__}, which cannot reset some copies "
                "alone, as stagger_episodes and on_nonfinite = skip need"
            )
        return self._array(self._env.reset(options={"reset_mask": mask})[0])

    def frame(self) -> np.ndarray:
        """See HostCopies."""
        frames: Any = self._env.render()
        return np.asarray(frames[0], np.uint8)

    def close(self) -> None:
        """Nothing: the VectorEnv is its maker's."""

    def _array(self, observations: Any) -> np.ndarray:
        shape = (self._env.num_envs, *(self._env.single_observation_space.shape or ()))
        if np.shape(observations) != shape:
            raise UserError(f"observations of {self._name} have shape {np.shape(observations)}; they must be {shape}")
        return np.array(observations, self._dtype)


def observation_type(name: str, space: Any) -> tuple[tuple[int, ...], Any]:
    """Shape and type of an observation: uint8 where the space says so, otherwise float32.

    Raises:
      UserError: an observation is no array.
    """
    if isinstance(space, (spaces.Dict, spaces.Tuple)) or getattr(space, "shape", None) is None:
        kind = type(space).__name__
        raise UserError(
            f"observation_space of {name} is {kind}, which is not supported; it must be a Box "
            "(gymnasium.wrappers.FlattenObservation makes one)"
        )
    return tuple(int(size) for size in space.shape), np.uint8 if space.dtype == np.uint8 else np.float32


def action_space(name: str, space: Any) -> ActionSpace:
    """The contract's action space.

    Raises:
      UserError: it is neither Discrete nor a Box.
    """
    if isinstance(space, spaces.Discrete):
        return DiscreteActions(int(space.n))
    if not isinstance(space, spaces.Box):
        kind = type(space).__name__
        raise UserError(f"action_space of {name} is {kind}, which is not supported; it must be Discrete or a Box")
    low, high = (tuple(np.asarray(bound, np.float32).reshape(-1).tolist()) for bound in (space.low, space.high))
    return BoxActions(tuple(int(size) for size in space.shape), low, high)


def _actions_as_wanted(space: Any, *, together: bool = False) -> Callable[[np.ndarray], Any]:
    """Actions `[N, ...]` as an environment takes them: of the space's type, and beginning where it begins."""
    if isinstance(space, spaces.Discrete):
        start = int(space.start)

        def discrete(actions):
            moved = actions.astype(np.int64) + start
            return moved if together else moved.tolist()

        return discrete
    return lambda actions: actions.astype(space.dtype)


def _time_limit(env: gymnasium.Env) -> int | None:
    """That of the TimeLimit around an environment, or what its spec says."""
    layer: Any = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, gymnasium.wrappers.TimeLimit):
            return int(layer._max_episode_steps)
        layer = layer.env
    return getattr(env.spec, "max_episode_steps", None)


def _check(name: str, env: gymnasium.Env, shape: tuple[int, ...]) -> None:
    """Resets and steps once; refuses what is not Gymnasium's interface."""
    outputs: Any = env.reset(seed=0)
    if not isinstance(outputs, tuple) or len(outputs) != 2:
        raise UserError(f"reset of {name} must return (observation, info); it returned {_described(outputs)}")
    _check_observation(name, "reset", outputs[0], shape)
    env.action_space.seed(0)
    try:
        outputs = env.step(env.action_space.sample())
    except ValueError as error:  # Gymnasium's own wrappers unpack five values
        if "values to unpack" not in str(error):
            raise
        raise UserError(_wrong_step(name, env.unwrapped.step(env.action_space.sample()))) from None
    if not isinstance(outputs, tuple) or len(outputs) != 5:
        raise UserError(_wrong_step(name, outputs))
    _check_observation(name, "step", outputs[0], shape)
    for field, value in zip(("reward", "terminated", "truncated"), outputs[1:4], strict=True):
        if np.shape(value) != ():
            raise UserError(f"{field} of {name} has shape {np.shape(value)}; it must be a scalar")


def _check_observation(name: str, source: str, observation: Any, shape: tuple[int, ...]) -> None:
    if isinstance(observation, (dict, tuple)):
        raise UserError(f"observation from {source} of {name} is {_described(observation)}; it must be one array")
    if np.shape(observation) != shape:
        raise UserError(
            f"observation from {source} of {name} has shape {np.shape(observation)}; its observation_space says {shape}"
        )


def _wrong_step(name: str, outputs: Any) -> str:
    return (
        f"step of {name} returns {_described(outputs)}; Gymnasium's five are needed: "
        "(observation, reward, terminated, truncated, info)"
    )


def _described(outputs: Any) -> str:
    return f"{len(outputs)} values" if isinstance(outputs, tuple) else f"a {type(outputs).__name__}"


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
