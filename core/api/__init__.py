"""REST in the dialect of NetBox: what every endpoint shares.

A room declares a `Row` serializer for each model and a `Resource` around it (core/api/resource.py); lists, filters,
paging, bulk writes, ETags and the OpenAPI document follow from these two.
"""
