"""No models of its own: Django tells only rooms with a models module that a migration ended (netops/walls.py)."""
