"""NetBox's doors: a read-only facade over our inventory under /netbox/api/ for tools that speak to NetBox (pynetbox,
Ansible's nb_inventory), and the way in from a NetBox (`manage.py import_netbox`)."""

VERSION = "4.4.0"
"""The NetBox whose shapes are followed."""
