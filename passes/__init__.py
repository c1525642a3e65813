"""The science: one file per method, the functions behind them, and the layers they leave in models."""
