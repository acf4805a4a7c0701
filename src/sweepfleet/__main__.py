"""`python -m sweepfleet` is the command `sweepfleet`."""

from sweepfleet.cli import main

if __name__ == "__main__":
    main()
