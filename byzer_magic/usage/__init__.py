"""What responses use: tokens, their cost, and what their number shows about the prompt; imports only texts."""
