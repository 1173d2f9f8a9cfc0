"""The drill: runs of every kind while whatever carries them is killed. See `python -m drill --help`."""
