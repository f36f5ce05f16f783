"""python -m nws: the same as the command nws, where the command is not on the path."""

from nws.cli import main

if __name__ == "__main__":
    main()
