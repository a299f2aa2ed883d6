"""The challenge itself: its data, practice data on phantom slides, its scores and its leaderboard."""
