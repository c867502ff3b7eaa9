"""What streamq costs, as ratios to the raw client and to bare asyncio in the same run."""
