"""What measures: coverage of model libraries, speed, training, and the figures of the papers."""
