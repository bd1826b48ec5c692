"""What an entity of a snapshot costs, compared with the same rows as plain inserts."""
