"""A run's figures, told to trackers as it goes: Weights & Biases, MLflow, TensorBoard, trackio."""

from pmd_agent.trackers.relay import Relay, relay

__all__ = ["Relay", "relay"]
