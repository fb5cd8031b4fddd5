"""The endpoints, a class each: read, call the domain, shape."""
