"""A git repository's history as a stream of authors, commits and files."""
