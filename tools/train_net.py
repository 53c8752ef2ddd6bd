"""Fine-tune a detector: python tools/train_net.py +experiment=custom data.root=DIR"""

from detfinetune.config.load import load_train_config
from detfinetune.console import run_tool


def main(argv: list[str]) -> int:
    """Train with the overrides in `argv`; return 130 or 143 for a run stopped by a signal."""
    config = load_train_config(argv)
    # Imported here, so that --help and configuration errors do not wait for torch.
    from detfinetune.engine.train import train

    result = train(config)
    return 128 + result.stopped_by if result.stopped_by else 0


if __name__ == "__main__":
    run_tool(main)
