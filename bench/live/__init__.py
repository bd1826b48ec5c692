"""What a live commit of one event costs the consuming process: CPU, statements, calls."""
