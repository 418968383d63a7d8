"""Decisions: slots, order, queue. Pure: no asyncio, no Ray, and time is an argument."""
