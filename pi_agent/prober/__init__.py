"""Sends the probes of a plan, and reports what came back."""
