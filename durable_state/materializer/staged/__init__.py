"""States in the making: what an open snapshot or a rebuild holds, and the switch that shows it."""
