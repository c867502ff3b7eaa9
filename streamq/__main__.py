"""`python -m streamq`."""

from streamq.cli.main import main

if __name__ == "__main__":
    main()
