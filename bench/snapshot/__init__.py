"""What an entity of a snapshot costs, beside the same rows as plain inserts."""
