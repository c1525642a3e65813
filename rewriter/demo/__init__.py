"""The bundled default: a small vision transformer trained on scikit-learn's digits, and what trains it."""
