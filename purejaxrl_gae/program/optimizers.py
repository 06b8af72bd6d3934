"""The optimizers that the algorithms share, and the config fields of whatever descends by one.

They are built anew inside the program, from traced learning rates: a state must never carry traced values in closures.
Each works on the flat vector of the parameters, from outside. What computes element by element does so inside, too,
which is fastest; any other, and any that is handed in, is given the parameters in their own shapes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from purejaxrl_gae.program import adaptation
from purejaxrl_gae.program.schedules import BUILT_IN as SCHEDULES
from purejaxrl_gae.program.schedules import check_schedule, linear, schedule_of
from purejaxrl_gae.program.types import Hyperparameters, Learner, Params, Setup
from purejaxrl_gae.settings import parts
from purejaxrl_gae.settings.config import (
    Traced,
    TrainingConfig,
    require,
    require_fraction,
    require_non_negative,
    require_part,
)
from purejaxrl_gae.settings.errors import UserError


@dataclass(frozen=True)
class DescentConfig(TrainingConfig):
    """The config of an algorithm that descends along gradients, at its `learning_rate`."""

    optimizer: Any = "adam"
    """adam, adamw, rmsprop, muon, or MODULE:FUNCTION of your own, from a traced learning_rate (and adam_eps, if it
    names that) to an optax transformation of the parameters"""
    schedule: Any = "auto"
    """of the learning rate over the run: auto (linear where anneal_lr says so, else constant), linear, constant,
    cosine, warmup_cosine, kl_adaptive (divided or multiplied by 1.5 to keep the KL near desired_kl: by PPO before each
    minibatch's step, as rsl_rl and Brax do, by others after each update), or MODULE:FUNCTION of your own, from the
    progress in [0, 1] to a factor; anneal_lr counts with auto alone"""
    learning_rate: Traced = 1e-3
    """the optimizer's step size"""
    gamma: Traced = 0.99
    """discount"""
    gae_lambda: Traced = 0.95
    """decay of GAE's trace, and of V-trace's"""
    ent_coef: Traced = 0.0
    """weight of the entropy bonus"""

    @property
    def scheduled_rates(self) -> tuple[str, ...]:
        """Names the fields that the schedule's factor multiplies."""
        return ("learning_rate",)

    def validate(self) -> None:
        """See TrainingConfig.validate."""
        super().validate()
        require_part(self, "optimizer", BUILT_IN)
        require_part(self, "schedule", ("auto", *SCHEDULES))
        require_fraction(self, "gamma", "gae_lambda")
        require_non_negative(self, "learning_rate", "ent_coef")
        if self.schedule == "kl_adaptive" and not hasattr(self, "desired_kl"):
            choices = ", ".join(name for name in SCHEDULES if name != "kl_adaptive")
            raise UserError(
                f"schedule is kl_adaptive, which {self.algorithm} has no desired_kl for; "
                f"it must be one of auto, {choices}, or MODULE:FUNCTION of your own"
            )
        if not self.scheduled_rates and self.schedule not in ("auto", "constant"):
            name = parts.name_of(self.schedule)
            raise UserError(f"schedule is {name}, but nothing here has a learning rate; it must be auto or constant")


@dataclass(frozen=True)
class ActorCriticConfig(DescentConfig):
    """The config of an algorithm whose policy and value function descend along the gradient of one loss."""

    critic: Literal["joint", "trust_region"] = "joint"
    """fit the value function in one loss with the policy, or after it by a Gauss-Newton step in its own trust region"""
    vf_coef: Traced = 0.5
    """weight of the value loss, which is half the mean squared error"""
    max_grad_norm: Traced = 0.5
    """gradients longer than this are shortened to it"""
    value_trust_region: Traced = 0.01
    """epsilon of the value function's trust region"""
    desired_kl: Traced = 0.01
    """the KL of an update that kl_adaptive, of objective or schedule, aims at"""

    def validate(self) -> None:
        """See TrainingConfig.validate."""
        super().validate()
        require_non_negative(self, "vf_coef", "desired_kl")
        for name in ("max_grad_norm", "value_trust_region"):
            require(self, name, getattr(self, name) > 0.0, "greater than 0")


def adam(learning_rate: jax.Array, adam_eps: jax.Array) -> optax.GradientTransformation:
    """Makes Adam (Kingma and Ba 2015)."""
    return optax.adam(learning_rate, eps=adam_eps)


def adamw(learning_rate: jax.Array, adam_eps: jax.Array) -> optax.GradientTransformation:
    """Makes Adam with decoupled weight decay, 1e-4 times the rate (Loshchilov and Hutter 2019)."""
    return optax.adamw(learning_rate, eps=adam_eps)


def rmsprop(learning_rate: jax.Array) -> optax.GradientTransformation:
    """Makes RMSprop as in A2C's reference: decay 0.99, epsilon 1e-5."""
    return optax.rmsprop(learning_rate, decay=0.99, eps=1e-5)


def muon(learning_rate: jax.Array, adam_eps: jax.Array) -> optax.GradientTransformation:
    """Makes Muon: momentum made orthogonal for matrices (Jordan et al. 2024); for all else Adam with Nesterov's."""
    return optax.contrib.muon(learning_rate, eps=adam_eps)


Make = Callable[..., optax.GradientTransformation]
ELEMENTWISE: dict[str, Make] = {"adam": adam, "adamw": adamw, "rmsprop": rmsprop}
BUILT_IN: dict[str, Make] = {**ELEMENTWISE, "muon": muon}

ANNEALED_BY = {"anneal_clip": "clip_coef"}


def make_optimizer(
    config: Any,
    hyperparameters: Hyperparameters,
    params: Params,
    *,
    rate: str = "learning_rate",
    max_grad_norm: jax.Array | None = None,
) -> optax.GradientTransformation:
    """Makes the optimizer that a config names.

    Args:
      config: of the algorithm.
      hyperparameters: its traced values.
      params: what is optimised; only its structure and shapes are read.
      rate: name of the learning rate among the hyperparameters.
      max_grad_norm: longer gradients are shortened to it; none are where None.

    Returns:
      An optax transformation of the flat vector of the parameters.

    Raises:
      UserError: there is none of that name, or it asks for what there is not.
    """
    make = parts.find_function("optimizer", config.optimizer, BUILT_IN)
    descent = _made(make, getattr(hyperparameters, rate), hyperparameters.adam_eps)
    if make not in ELEMENTWISE.values():
        descent = on_flat_vector(descent, params)
    return descent if max_grad_norm is None else optax.chain(optax.clip_by_global_norm(max_grad_norm), descent)


def init_learner(setup: Setup, key: jax.Array, hyperparameters: Hyperparameters) -> Learner:
    """Draws fresh parameters and begins the one optimizer of all of them."""
    params = setup.network.init(key)
    optimizer = make_optimizer(setup.config, hyperparameters, params, max_grad_norm=hyperparameters.max_grad_norm)
    flat_params, _ = ravel_pytree(params)
    return Learner(params, optimizer.init(flat_params), adaptation.begin(setup.config, hyperparameters))


def _made(make: Make, learning_rate: jax.Array, adam_eps: jax.Array) -> Any:
    return parts.call("optimizer", make, {"learning_rate": learning_rate, "adam_eps": adam_eps})


def on_flat_vector(optimizer: optax.GradientTransformation, params: Params) -> optax.GradientTransformation:
    """Turns an optimizer of parameters in their own shapes into one of their flat vector."""
    unravel = ravel_pytree(params)[1]

    def init(flat):
        return optimizer.init(unravel(flat))

    def update(gradient, state, flat=None):
        own_params = None if flat is None else unravel(flat)
        changes, state = optimizer.update(unravel(gradient), state, own_params)
        return ravel_pytree(changes)[0], state

    return optax.GradientTransformation(init, update)


def check_descent(setup: Setup, hyperparameters: Hyperparameters, *names: str) -> None:
    """Finds optimizer and schedule; traces those that were handed in, which computes nothing.

    Args:
      setup: static parts.
      hyperparameters: traced values.
      *names: which of the network's parameters have an optimizer of their own; none: all together have one.

    Raises:
      UserError: there is none of that name, it raises, or it does not do what an optimizer or a schedule does.
    """
    check_schedule(setup.config)
    params = jax.eval_shape(setup.network.init, jax.eval_shape(jax.random.key, 0))
    for each in [params[name] for name in names] or [params]:
        check_optimizer(setup.config, hyperparameters, each)


def check_optimizer(config: Any, hyperparameters: Hyperparameters, params: Params) -> None:
    """Finds an optimizer; traces a step of one that was handed in, which computes nothing.

    Args:
      config: of the algorithm.
      hyperparameters: traced values.
      params: a pytree of `jax.ShapeDtypeStruct`.

    Raises:
      UserError: there is none of that name, it raises, or its step does not keep shapes and types.
    """
    make = parts.find_function("optimizer", config.optimizer, BUILT_IN)
    if make in BUILT_IN.values():
        return
    name = parts.name_of(config.optimizer)

    def one_step(learning_rate, params):
        optimizer = _made(make, learning_rate, hyperparameters.adam_eps)
        if not all(callable(getattr(optimizer, method, None)) for method in ("init", "update")):
            kind = type(optimizer).__name__
            raise UserError(f"optimizer is {name}, which returned a {kind}; it must return an optax transformation")
        state = optimizer.init(params)
        return state, optimizer.update(params, state, params)

    rate = jax.ShapeDtypeStruct((), jnp.float32)
    state, (changes, new_state) = parts.trace("optimizer", name, one_step, rate, params)
    for what, found, wanted in (("changes", changes, params), ("state", new_state, state)):
        if _form(found) != _form(wanted):
            raise UserError(f"optimizer is {name}, whose update gave {what} of another form than it was given")


def _form(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def refuse_two_schedules(given: Mapping[str, Any]) -> None:
    """Refuses flags that say two things of the learning rate; a preset's or file's anneal_lr gives way.

    Raises:
      UserError: both are given.
    """
    schedule = given.get("schedule", "auto")
    if given.get("anneal_lr") and schedule not in ("auto", "linear"):
        raise UserError(f"--schedule {schedule} and --anneal-lr are two schedules of one rate; leave one of them out")


def annealed(value: jax.Array, progress: jax.Array) -> jax.Array:
    """Falls linearly from the value to 0 over the run, of which `progress` lies behind, and stays at 0 beyond it."""
    return value * linear(progress)


def say_schedule(config: TrainingConfig, updates: int) -> str:
    """Says what goes from where to where in the updates that are left; empty where nothing does."""
    progress, said = updates / config.num_updates, []
    if getattr(config, "schedule", "constant") == "kl_adaptive":
        said.append("learning_rate follows the KL, to keep it near desired_kl")
    moving = _say_rates(config, progress) if progress < 1.0 else []
    if moving:
        said.append(f"{' and '.join(moving)} at step {config.env_steps:,}, the end that total_timesteps sets")
    return "; ".join(said)


def _say_rates(config: TrainingConfig, progress: float) -> list[str]:
    """Says of each rate that moves by a factor where it is and where it ends."""
    factors: dict[str, tuple[Callable[..., Any], str]] = {}
    if isinstance(config, DescentConfig):
        schedule, name = schedule_of(config), parts.name_of(config.schedule)
        by = "" if schedule is linear else f" by {name}"
        factors = {} if schedule is SCHEDULES["constant"] else dict.fromkeys(config.scheduled_rates, (schedule, by))
    factors |= {name: (linear, "") for flag, name in ANNEALED_BY.items() if getattr(config, flag, False)}
    said = []
    for name, (factor, by) in factors.items():
        now, end = (getattr(config, name) * float(factor(jnp.float32(at))) for at in (progress, 1.0))
        said.append(f"{name} from {now:.3g} to {end:.3g}{by}")
    return said
