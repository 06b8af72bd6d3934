"""python -m tests.oracles.documents: what the source documents' PyTorch code gives on small batches.

The code is written anew, to do what the documents' does, in the order in which it does it, faults included; in double
precision, so that what is left between it and ours is ours. Needs PyTorch; see README.md.
"""

import math

import numpy as np
import torch
from torch.nn.functional import elu

from tests.oracles import inputs

torch.set_default_dtype(torch.float64)
GAMMA, DAMPING = 0.99, 0.1
MAX_KL, LARGE_KL = 0.01, 3.0  # the documents'; and one at which the line search shrinks the step
Layers = dict[str, torch.Tensor]


def tensors(numbers: inputs.Numbers, name: str) -> Layers:
    """The weights below a name, as leaves that take gradients."""
    return {
        key: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for key, value in numbers.items()
        if key.startswith(f"{name}/")
    }


def dense(layers: Layers, name: str, x: torch.Tensor, activation, last_is_linear: bool = True) -> torch.Tensor:
    """Dense layers with the activation behind each, or behind each but the last."""
    count = sum(key.startswith(f"{name}/") for key in layers) // 2
    for layer in range(count):
        x = x @ layers[f"{name}/Dense_{layer}/kernel"] + layers[f"{name}/Dense_{layer}/bias"]
        if layer < count - 1 or not last_is_linear:
            x = activation(x)
    return x


def named(prefix: str, layers: Layers, values) -> inputs.Numbers:
    """Values of each layer under the layer's name."""
    return {f"{prefix}/{key}": value.detach().numpy().copy() for key, value in zip(layers, values, strict=True)}


def split(vector: torch.Tensor, layers: Layers) -> list[torch.Tensor]:
    """A flat vector as the layers are shaped."""
    sizes = [layer.numel() for layer in layers.values()]
    return [part.reshape(layer.shape) for part, layer in zip(vector.split(sizes), layers.values(), strict=True)]


def flat(values) -> torch.Tensor:
    """All of them as one vector."""
    return torch.cat([value.reshape(-1) for value in values])


# --- Documents 000 and 001: TRPO with a policy of fixed deviation 1


def log_prob(actor: Layers, observations, actions):
    """Of one action dimension, which the documents do not sum over."""
    mean = dense(actor, "policy", observations, torch.tanh)
    return -0.5 * (actions - mean) ** 2 - 0.5 * math.log(2.0 * math.pi)


def mean_kl(actor: Layers, old_mean, observations):
    """KL(old || new) of Gaussians of deviation 1."""
    mean = dense(actor, "policy", observations, torch.tanh)
    return (0.5 * (old_mean - mean) ** 2).sum(dim=1).mean()


def rewards_to_go(rewards, masks):
    """G_t = r_t + mask_t gamma G_{t+1}; the mask is 0 at any end, the time limit's too."""
    found, beyond = torch.zeros_like(rewards), 0.0
    for t in reversed(range(len(rewards))):
        beyond = rewards[t] + masks[t] * GAMMA * beyond
        found[t] = beyond
    return found


def gae_advantages(rewards, masks, values, lamda: float):
    """GAE, then shifted and divided by the deviation with n - 1 and no epsilon."""
    found, advantage, next_value = torch.zeros_like(rewards), 0.0, 0.0
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + masks[t] * GAMMA * next_value - values[t]
        advantage = delta + masks[t] * GAMMA * lamda * advantage
        next_value = values[t]
        found[t] = advantage
    return (found - found.mean()) / found.std()


def fisher_product(actor: Layers, observations, vector):
    """(H + 0.1 I) v, H being the Hessian of the mean KL, by differentiating twice."""
    old_mean = dense(actor, "policy", observations, torch.tanh).detach()
    slope = flat(torch.autograd.grad(mean_kl(actor, old_mean, observations), actor.values(), create_graph=True))
    return flat(torch.autograd.grad((slope * vector).sum(), actor.values())) + DAMPING * vector


def conjugate_gradients(product, right_side, steps: int = 10):
    """Ten steps from zero, or until the squared residual is below 1e-10."""
    x, residual, direction = torch.zeros_like(right_side), right_side.clone(), right_side.clone()
    length = residual @ residual
    for _ in range(steps):
        image = product(direction)
        size = length / (direction @ image)
        x, residual = x + size * direction, residual - size * image
        length, before = residual @ residual, length
        direction = residual + length / before * direction
        if length < 1e-10:
            break
    return x


def policy_step(actor: Layers, observations, actions, advantages, max_kl: float) -> inputs.Numbers:
    """Gradient, direction, longest step and line search, with the promise that shrinks twice."""
    old_log_prob = log_prob(actor, observations, actions).detach()
    old_mean = dense(actor, "policy", observations, torch.tanh).detach()

    def surrogate():
        ratio = torch.exp(log_prob(actor, observations, actions) - old_log_prob)
        return (ratio * advantages.unsqueeze(1)).mean()

    before = surrogate()
    gradient = flat(torch.autograd.grad(before, actor.values()))
    direction = conjugate_gradients(lambda v: fisher_product(actor, observations, v), gradient)
    curvature = fisher_product(actor, observations, direction) @ direction
    longest = torch.sqrt(2.0 * max_kl / curvature) * direction
    start, promise, fraction = flat(actor.values()).detach(), gradient @ longest, 1.0
    accepted, tries = False, 0
    while tries < 10 and not accepted:
        tries += 1
        for layer, value in zip(actor.values(), split(start + fraction * longest, actor), strict=True):
            layer.data.copy_(value)
        promise = promise * fraction
        gain, kl = surrogate() - before, mean_kl(actor, old_mean, observations)
        accepted = bool(kl < max_kl and gain / promise > 0.5)
        fraction *= 0.5
    found = named("gradient", actor, split(gradient, actor)) | named("direction", actor, split(direction, actor))
    found |= named("params", actor, actor.values() if accepted else split(start, actor))
    numbers = {"surrogate": before, "curvature": curvature, "kl": kl, "gain": gain, "promise": promise}
    found |= {key: value.detach().numpy() for key, value in numbers.items()}
    return found | {"tries": np.array(tries), "accepted": np.array(accepted)}


def fit(critic: Layers, observations, targets, passes: int):
    """Steps of Adam on the mean squared error of the whole batch; the losses before each."""
    optimizer = torch.optim.Adam(critic.values(), lr=1e-3)
    losses = []
    for _ in range(passes):
        error = torch.nn.functional.mse_loss(dense(critic, "value", observations, torch.tanh).squeeze(1), targets)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        losses.append(error.item())
    return np.array(losses)


def trpo(document: str, max_kl: float) -> None:
    """One update of document 001, or of 000 with its critic's minibatch as large as the batch."""
    rng = np.random.default_rng(1)
    question = inputs.pendulum(rng, (40, 60))
    question |= inputs.weights(rng, "policy", (3, 16, 16, 1)) | inputs.weights(rng, "value", (3, 16, 16, 1))
    actor, critic = tensors(question, "policy"), tensors(question, "value")
    observations, rewards = (torch.tensor(question[name], dtype=torch.float64) for name in ("observations", "rewards"))
    masks = 1.0 - torch.tensor(question["ended"], dtype=torch.float64)
    mean = dense(actor, "policy", observations, torch.tanh).detach()
    question["actions"] = (mean.numpy() + question.pop("noise")).astype(np.float32)
    actions = torch.tensor(question["actions"], dtype=torch.float64)
    values = dense(critic, "value", observations, torch.tanh).squeeze(1).detach()
    returns = rewards_to_go(rewards, masks)
    if document == "001":
        targets = (returns - returns.mean()) / returns.std()
        advantages, passes = targets - values, 1
    else:
        targets, passes = returns, 5
        advantages = gae_advantages(rewards, masks, values, lamda=0.98)
    probe = torch.tensor(rng.normal(size=sum(layer.numel() for layer in actor.values())))
    answer = {"values": values.numpy(), "targets": targets.numpy(), "advantages": advantages.numpy()}
    answer |= named("probe", actor, split(probe, actor))
    answer |= named("fisher_product", actor, split(fisher_product(actor, observations, probe), actor))
    losses = fit(critic, observations, targets, passes)
    answer |= named("params", critic, critic.values()) | {"value_losses": losses}
    answer |= policy_step(actor, observations, actions, advantages, max_kl)
    print(document, f"{int(answer['tries'])} tries, kl {float(answer['kl']):.5f}, accepted {bool(answer['accepted'])}")
    question["max_kl"] = np.array(max_kl)
    expected = {f"expected/{key}": value for key, value in answer.items()}
    inputs.save(f"document_{document}.npz", question | expected)


# --- Document 003: PPO with a shared encoder and trajectories padded to one length


def lecture_passes(layers: Layers, batch: inputs.Numbers, passes: list[np.ndarray], mean_over: str = "all"):
    """Passes of Adam, each over the trajectories named; what the first one computed, and the losses of all.

    Args:
      layers: of encoder, policy and value; changed.
      batch: trajectories `[T, N, ...]`, padded behind the end, and pi_old.
      passes: trajectories of each pass.
      mean_over: all steps, padded ones too, as the lecture does; or those that are real.
    """
    optimizer = torch.optim.Adam(layers.values(), lr=1e-4)
    first, losses = {}, []
    for chosen in passes:
        some = {key: torch.tensor(value[:, chosen]) for key, value in batch.items()}
        done = some["ended"].double()
        mask = done.roll(1, dims=0)
        mask[0] = 0.0
        mask = 1.0 - mask
        features = dense(layers, "encoder", some["observations"].double(), elu, last_is_linear=False)
        pi = torch.softmax(dense(layers, "policy", features, elu), dim=-1)
        value = dense(layers, "value", features, elu).squeeze(-1)
        following = dense(layers, "encoder", some["next_observations"].double(), elu, last_is_linear=False)
        next_value = dense(layers, "value", following, elu).squeeze(-1)
        target = some["rewards"] + 0.99 * (1.0 - done) * next_value.detach()
        delta = mask * (target - value).detach()
        num_steps = delta.shape[0]
        ages = torch.arange(num_steps)[None, :] - torch.arange(num_steps)[:, None]
        advantage = torch.where(ages >= 0, (0.99 * 0.95) ** ages.clamp(min=0).double(), 0.0) @ delta
        actions = some["actions"].unsqueeze(-1)
        ratio = (pi.gather(-1, actions) / some["pi_old"].gather(-1, actions)).squeeze(-1)
        clipped = torch.clip(ratio, 1.0 - 100.0, 1.0 + 100.0)
        share = 1.0 if mean_over == "all" else mask.mean()
        critic = (mask * (target - value) ** 2).mean() / share
        actor = -(mask * torch.min(advantage * ratio, advantage * clipped)).mean() / share
        entropy = (mask * torch.sum(-pi * torch.log(pi + 1e-15), dim=-1)).mean() / share
        total = critic + 0.5 * actor - 1e-3 * entropy
        optimizer.zero_grad()
        total.backward()
        if not first:
            first = {"advantages": advantage.numpy(), "targets": target.numpy(), "loss": total.detach().numpy()}
            first |= named("gradient", layers, [layer.grad for layer in layers.values()])
        losses.append([critic.item(), actor.item(), entropy.item()])
        optimizer.step()
    return first, np.array(losses)


def acted(rng: np.random.Generator, question: inputs.Numbers, batch: inputs.Numbers) -> inputs.Numbers:
    """The batch with what the policy says of it, and with actions drawn from that."""
    layers = {key: value for name in ("encoder", "policy") for key, value in tensors(question, name).items()}
    features = dense(layers, "encoder", torch.tensor(batch["observations"]).double(), elu, last_is_linear=False)
    pi_old = torch.softmax(dense(layers, "policy", features, elu), dim=-1).detach().numpy()
    actions = (batch["noise"] > pi_old[..., 0]).astype(np.int64)
    return {key: value for key, value in batch.items() if key != "noise"} | {"pi_old": pi_old, "actions": actions}


def lecture() -> None:
    """One update on 16 whole trajectories; and how far it moves where padding has no part in the means."""
    rng = np.random.default_rng(3)
    question = inputs.weights(rng, "encoder", (4, 32, 32))
    question |= inputs.weights(rng, "policy", (32, 32, 2)) | inputs.weights(rng, "value", (32, 32, 1))

    def fresh():
        return {key: value for name in ("encoder", "policy", "value") for key, value in tensors(question, name).items()}

    batch = acted(rng, question, inputs.cart_poles(rng, np.full(16, 16), 16, rng.uniform(size=16) < 0.4))
    layers = fresh()
    first, losses = lecture_passes(layers, batch, [np.arange(16)] * 4)
    answer = first | {"losses": losses} | named("params", layers, layers.values())

    lengths = np.minimum(rng.geometric(1 / 20, 64), 16)  # a random policy's episodes are about 20 steps long
    padded = acted(rng, question, inputs.cart_poles(rng, lengths, 16, lengths < 16))
    passes = [rng.permutation(64)[:16] for _ in range(4)]
    moved = {}
    for mean_over in ("all", "real"):
        layers = fresh()
        before = flat(layers.values()).detach().clone()
        lecture_passes(layers, padded, passes, mean_over)
        moved[mean_over] = flat(layers.values()).detach() - before
    apart = (moved["all"] - moved["real"]).norm() / moved["all"].norm()
    print(f"padding is {1.0 - lengths.mean() / 16:.0%} of a random policy's batch; without it in the means the update")
    print(f"is {apart.item():.2%} away by norm")
    batch = {key: value for key, value in batch.items() if key != "pi_old"}
    batch["next_observations"] = batch["next_observations"][-1]
    inputs.save("document_003.npz", question | batch | {f"expected/{key}": value for key, value in answer.items()})


if __name__ == "__main__":
    trpo("001", MAX_KL)
    trpo("000", LARGE_KL)
    lecture()
