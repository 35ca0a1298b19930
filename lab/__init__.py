"""A whole network on one machine: namespaces, user-space wires, routers and a BGP-LS speaker. Knows no Django."""
