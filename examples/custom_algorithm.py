"""A new algorithm in under 40 lines: SAC whose critics fear the ensemble and whose actor clones a little."""

from offlinekit.algos import SAC
from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.datasets import get_dataset
from offlinekit.metrics import evaluate


class CautiousSACImpl(SACImpl):
    def compute_critic_loss(self, batch, q_tpn):
        values = self.q(batch.observations, batch.actions)  # [K, B]
        disagreement = values.std(0)  # [B]
        return self.q.loss(values, q_tpn, batch.masks) + 0.1 * disagreement

    def compute_actor_loss(self, batch):
        actions, log_probs = self.policy.sample(batch.observations)
        value = self.q.values(batch.observations, actions).amin(0)
        cloning = (actions - batch.actions).square().mean(-1)
        loss = self.log_temperature.detach().exp() * log_probs - value + 2.0 * cloning
        return loss, {"cloning": cloning.detach()}


def main(n_steps=5_000, n_episodes=10):
    dataset, env = get_dataset("pendulum-mixed")
    algo = SAC(impl_class=CautiousSACImpl, seed=0)
    algo.fit(dataset, n_steps=n_steps, out=None)
    result = evaluate(algo, env, n_episodes)
    print(f"data {dataset.episode_returns().mean():.0f}")
    print(f"policy {result.mean:.0f} +- {result.standard_error:.0f}")
    return algo, result


if __name__ == "__main__":
    main()
