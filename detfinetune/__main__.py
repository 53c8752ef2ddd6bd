"""`python -m detfinetune COMMAND`."""

from detfinetune.cli import main

if __name__ == "__main__":
    main()
