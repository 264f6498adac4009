"""The server of ``likeness serve``: sockets, journal, worker processes, cache."""
