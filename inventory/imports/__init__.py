"""Tables of devices, interfaces and links on their way in and out: planned against what is there, shown as a diff, and
done as a whole or not at all. CSV files, the import page and `import_netbox` share it."""
