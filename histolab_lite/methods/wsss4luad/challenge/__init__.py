"""What the challenge gives and asks: its data, practice data on phantom slides, its measure and its leaderboard."""
