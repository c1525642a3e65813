"""The engine: sources, checkpoints, tracing, sites, recipes, surgery, validation, storage."""
