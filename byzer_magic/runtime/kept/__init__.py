"""What a pool keeps for its clients, in memory and within bounds: answers that outlive them, and conversations."""
