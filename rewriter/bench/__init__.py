"""Measuring original and rewritten models side by side: time, memory, the floor, and what it was measured on."""
