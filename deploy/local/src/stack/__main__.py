"""`python -m stack up|down|status|logs|reset`."""

from stack.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
