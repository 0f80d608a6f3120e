"""`python -m maru.server` starts one web process."""

from maru.server.process import main

if __name__ == "__main__":
    main()
