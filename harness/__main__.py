"""`python -m harness`, which is also what torchrun starts."""

from harness.cli import main

if __name__ == "__main__":
    main()
