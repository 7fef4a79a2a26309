"""`python -m engine`: the same as the command `engine`."""

from engine.cli.main import run

if __name__ == "__main__":
    run()
