"""`python -m batchline` is the same as `batchline`."""

from batchline.cli import main

if __name__ == "__main__":
    main()
