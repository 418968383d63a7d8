"""Slots, queue, limits, token counts and load balancing policies; pure: no asyncio, no Ray, and time is an argument."""
