"""python -m tests.oracles.libraries: what Stable-Baselines3's PPO and sb3-contrib's TRPO do with one small rollout.

Their own classes train on a buffer that holds the stored batch. Needs sb3-contrib; see README.md.
"""

from typing import Any

import gymnasium
import numpy as np
import torch
from sb3_contrib import TRPO
from sb3_contrib.trpo import trpo as trpo_module
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from tests.oracles import inputs

NUM_STEPS, NUM_ENVS, NUM_ACTIONS = 16, 4, 2
LAYERS = {
    "policy": ("mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"),
    "value": ("mlp_extractor.value_net.0", "mlp_extractor.value_net.2", "value_net"),
}


class Nothing(gymnasium.Env):
    """The spaces of the batch, and nothing that could be stepped."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-10.0, 10.0, (NUM_ACTIONS,), np.float32)


def ours_from(name: str) -> dict[str, tuple[str, bool]]:
    """Their parameters' names below ours of one network, and whether to transpose."""
    found = {}
    for layer, theirs in enumerate(LAYERS[name]):
        found[f"{name}/Dense_{layer}/kernel"] = (f"{theirs}.weight", True)
        found[f"{name}/Dense_{layer}/bias"] = (f"{theirs}.bias", False)
    return found | ({"policy/log_std_offset": ("log_std", False)} if name == "policy" else {})


def in_our_names(prefix: str, theirs: dict[str, torch.Tensor], *networks: str) -> inputs.Numbers:
    """Parameters, or anything shaped like them, under our names."""
    found = {}
    for network in networks:
        for ours, (name, transposed) in ours_from(network).items():
            value = theirs[name].detach().numpy()
            found[f"{prefix}/{ours}"] = (value.T if transposed else value).copy()
    return found


def model_with(kind: Any, question: inputs.Numbers, **arguments: Any) -> Any:
    """A model with the batch's weights, whose rollout buffer holds the batch."""
    size = NUM_STEPS * NUM_ENVS
    environments = DummyVecEnv([Nothing] * NUM_ENVS)
    architecture = {"net_arch": {"pi": [16, 16], "vf": [16, 16]}}
    model = kind("MlpPolicy", environments, n_steps=NUM_STEPS, batch_size=size, gamma=0.99, gae_lambda=0.95,
                 policy_kwargs=architecture, device="cpu", **arguments)  # fmt: skip
    model.set_logger(logger_of_nothing())
    state = model.policy.state_dict()
    for network in LAYERS:
        for ours, (theirs, transposed) in ours_from(network).items():
            state[theirs] = torch.tensor(question[ours].T if transposed else question[ours])
    model.policy.load_state_dict(state)
    ended = question["ended"]
    starts = np.zeros(NUM_ENVS)
    for t in range(NUM_STEPS):
        observations = torch.tensor(question["observations"][t])
        actions = torch.tensor(question["actions"][t])
        with torch.no_grad():
            values, log_probs, _ = model.policy.evaluate_actions(observations, actions)
        buffer = model.rollout_buffer
        buffer.add(
            question["observations"][t], question["actions"][t], question["rewards"][t], starts, values, log_probs
        )
        starts = ended[t]
    with torch.no_grad():
        last_values = model.policy.predict_values(torch.tensor(question["next_observations"]))
    model.rollout_buffer.compute_returns_and_advantage(last_values, starts)
    return model


def logger_of_nothing():
    """A logger that writes nowhere and keeps what was recorded."""
    from stable_baselines3.common.logger import Logger

    return Logger(None, [])


def estimates(model: Any) -> inputs.Numbers:
    """What its buffer has computed, `[T, N]`."""
    buffer = model.rollout_buffer
    names = ("values", "log_probs", "advantages", "returns")
    return {name: np.array(getattr(buffer, name)).reshape(NUM_STEPS, NUM_ENVS) for name in names}


def ppo(question: inputs.Numbers) -> inputs.Numbers:
    """Three epochs of one minibatch; the first one's losses, and its gradient before any clipping."""

    def trained(**arguments):
        model = model_with(PPO, question, learning_rate=1e-2, ent_coef=0.01, vf_coef=0.5, clip_range=0.2,
                           normalize_advantage=False, **arguments)  # fmt: skip
        found = estimates(model)
        model._current_progress_remaining = 1.0
        model.train()
        return model, found

    model, answer = trained(n_epochs=1, max_grad_norm=1e9)
    gradients = {name: parameter.grad for name, parameter in model.policy.named_parameters()}
    answer |= in_our_names("gradient", gradients, "policy", "value")
    model, _ = trained(n_epochs=3, max_grad_norm=0.5)
    recorded = model.logger.name_to_value
    for name in ("policy_gradient_loss", "value_loss", "entropy_loss", "clip_fraction"):
        answer[name] = np.array(recorded[f"train/{name}"])
    return answer | in_our_names("params", model.policy.state_dict(), "policy", "value")


def trpo(question: inputs.Numbers) -> inputs.Numbers:
    """One update, with what its conjugate gradients were given and found."""
    seen: dict[str, torch.Tensor] = {}
    solve = trpo_module.conjugate_gradient_solver

    def watched(product, right_side, **arguments):
        probe = torch.tensor(np.random.default_rng(5).normal(size=right_side.numel()), dtype=torch.float32)
        seen["gradient"], seen["probe"], seen["fisher_product"] = right_side, probe, product(probe)
        seen["direction"] = solve(product, right_side, **arguments)
        return seen["direction"]

    trpo_module.conjugate_gradient_solver = watched
    model = model_with(TRPO, question, learning_rate=1e-3, target_kl=0.05, cg_max_steps=10, cg_damping=0.1,
                       n_critic_updates=3, normalize_advantage=True)  # fmt: skip
    answer = estimates(model)
    actor = [name for name, _ in model.policy.named_parameters() if "value" not in name]
    shapes = {name: parameter.shape for name, parameter in model.policy.named_parameters() if name in actor}
    model.train()
    for key, vector in seen.items():
        parts = vector.split([shape.numel() for shape in shapes.values()])
        shaped = {name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
        answer |= in_our_names(key, shaped, "policy")
    recorded = model.logger.name_to_value
    for name in ("policy_objective", "kl_divergence_loss", "value_loss", "is_line_search_success"):
        answer[name] = np.array(recorded[f"train/{name}"])
    print("TRPO:", {name: float(answer[name]) for name in ("kl_divergence_loss", "is_line_search_success")})
    return answer | in_our_names("params", model.policy.state_dict(), "policy", "value")


def main() -> None:
    """Asks both for the same batch."""
    np.random.seed(0)  # their buffers shuffle
    torch.manual_seed(0)  # their conjugate gradients start from noise of 1e-4
    rng = np.random.default_rng(4)
    question = inputs.pendulum(rng, (11, 30, 20, 3), NUM_ACTIONS)
    question = {key: value.reshape(NUM_ENVS, NUM_STEPS, *value.shape[1:]) for key, value in question.items()}
    question = {key: value.swapaxes(0, 1).copy() for key, value in question.items()}
    question["rewards"] *= np.float32(0.1)
    question["next_observations"] = rng.normal(size=(NUM_ENVS, 3)).astype(np.float32)
    question |= inputs.weights(rng, "policy", (3, 16, 16, NUM_ACTIONS)) | inputs.weights(rng, "value", (3, 16, 16, 1))
    question["policy/log_std_offset"] = np.array([-0.3, 0.2], np.float32)
    question["actions"] = question.pop("noise")
    inputs.save("sb3_ppo.npz", question | {f"expected/{key}": value for key, value in ppo(question).items()})
    inputs.save("sb3_contrib_trpo.npz", question | {f"expected/{key}": value for key, value in trpo(question).items()})


if __name__ == "__main__":
    main()
