"""A database backend whose cursors set the search path, like those of django-tenants."""
