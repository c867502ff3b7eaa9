"""The runtime's parts, alone."""
