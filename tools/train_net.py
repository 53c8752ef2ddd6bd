"""Fine-tune a detector: python tools/train_net.py +experiment=custom data.root=DIR"""

from detfinetune.cli import main

if __name__ == "__main__":
    main("train")
