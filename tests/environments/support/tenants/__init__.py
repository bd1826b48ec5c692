"""A database backend whose cursors set the search path, as those of django-tenants do."""
