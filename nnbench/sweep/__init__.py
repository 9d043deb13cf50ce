"""What becomes of a checked grid: its jobs, their outcome, and the questions that can be asked of them later."""
