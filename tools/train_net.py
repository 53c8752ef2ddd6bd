"""Fine-tune a detector: python tools/train_net.py +experiment=custom data.root=DIR"""

from detfinetune.config.load import load_train_config
from detfinetune.console import run_tool


def main(argv: list[str]) -> None:
    """Train with the overrides in `argv`."""
    config = load_train_config(argv)
    # Imported here, so that --help and configuration errors do not wait for torch.
    from detfinetune.engine.train import train

    train(config)


if __name__ == "__main__":
    run_tool(main)
